"""A task by its name, or by the file and name of one's own."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from resnet_probe.factories import call, find_factory, suggest
from resnet_probe.tasks.classification import CLASSIFICATION
from resnet_probe.tasks.detection import Detection
from resnet_probe.tasks.language import Language, Masked
from resnet_probe.tasks.regression import Embedding, Regression
from resnet_probe.tasks.segmentation import Segmentation
from resnet_probe.tasks.task import Task

NAMES: Mapping[str, Callable[[], Task]] = {
    "classification": lambda: CLASSIFICATION,
    "detection": Detection,
    "segmentation": Segmentation,
    "language": Language,
    "regression": Regression,
    "embedding": Embedding,
}


def task_called(name: str) -> Task:
    """A new task of that name; `file.py:CLASS` and `package.module:CLASS` run the user's own code.

    Raises:
        LookupError: there is none of that name, or no such file or class.
        ValueError: the class is no task, or fails without arguments.
    """
    if name in NAMES:
        return NAMES[name]()
    if name.startswith("masked:") and name[7:].isdecimal():
        return Masked(int(name[7:]))
    if ":" not in name:
        raise LookupError(f"no task {name!r}{suggest(name, list(NAMES))}; one of your own is file.py:CLASS")
    task = call(name, find_factory(name, "task"))
    if not isinstance(task, Task):
        raise ValueError(
            f"{name} is {type(task).__name__}; a task is a class that extends resnet_probe.tasks.Resampled"
        )
    return task
