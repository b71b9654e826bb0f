"""Tasks: what an output and a target become, and how that adds up over a data set.

task.py             `Task`: loss and measures of each example; `Measured`: a function of one's own
classification.py   wrong or right, changed or not, cross-entropy
"""

from resnet_probe.tasks.classification import CLASSIFICATION, EACH_LOSS, Classification
from resnet_probe.tasks.task import CEILING, Kind, Measured, Task

__all__ = ["CEILING", "CLASSIFICATION", "EACH_LOSS", "Classification", "Kind", "Measured", "Task"]
