"""A task by its name."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from resnet_probe.tasks.classification import CLASSIFICATION
from resnet_probe.tasks.detection import Detection
from resnet_probe.tasks.segmentation import Segmentation
from resnet_probe.tasks.task import Task

NAMES: Mapping[str, Callable[[], Task]] = {
    "classification": lambda: CLASSIFICATION,
    "detection": Detection,
    "segmentation": Segmentation,
}


def task_called(name: str) -> Task:
    """A new task of that name.

    Raises:
        ValueError: there is none.
    """
    if name not in NAMES:
        raise ValueError(f"no task {name!r}; give {', '.join(NAMES)}")
    return NAMES[name]()
