"""Tasks: what an output and a target become, and how that adds up over a data set.

task.py             `Task`: loss and measures of each example; `Measured`: a function of one's own
score.py            `Score`: what a network's examples add up to
classification.py   wrong or right, changed or not, cross-entropy
resampled.py        `Resampled`: tasks whose figures are no mean over examples, with intervals by resampling
segmentation.py     a class for each pixel: pixel error, intersection over union
detection.py        boxes: mean average precision, the losses of the model
language.py         the next token: error, cross-entropy, perplexity
regression.py       numbers, and vectors that are compared by their cosine
registry.py         a task by its name, or by the file and name of one's own
"""

from resnet_probe.tasks.classification import CLASSIFICATION, EACH_LOSS, Classification
from resnet_probe.tasks.detection import Detection
from resnet_probe.tasks.language import Language
from resnet_probe.tasks.registry import NAMES, task_called
from resnet_probe.tasks.resampled import Resampled
from resnet_probe.tasks.score import Score
from resnet_probe.tasks.segmentation import Segmentation
from resnet_probe.tasks.task import CEILING, Kind, Measured, Task

__all__ = [
    "CEILING",
    "CLASSIFICATION",
    "EACH_LOSS",
    "NAMES",
    "Classification",
    "Detection",
    "Kind",
    "Language",
    "Measured",
    "Resampled",
    "Score",
    "Segmentation",
    "Task",
    "task_called",
]
