"""Images with boxes for detection, or with a class for each pixel for segmentation."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from resnet_probe.data.canvases import canvases
from resnet_probe.data.dataset import Data
from resnet_probe.data.errors import DataError
from resnet_probe.data.text import load_text

TASKS = ("detection", "segmentation", "language")


def load_annotated(
    spec: str | Path,
    *,
    task: str,
    split: str = "test",
    limit: int | None = None,
    normalize: str | None = None,
    size: int | None = None,
    notify: Callable[[str], None] | None = None,
) -> Data:
    """Return the images of `spec`, "canvases" or a folder, with labels for the `task`, one of TASKS.

    Detection: `labels` float32 (N, M, 7), a row for each annotated object: x1, y1, x2, y2 in pixels of the stored
    image, class, area, iscrowd (0 or 1); unused rows are -1. Classes count from 1, as in torchvision's models, whose 0
    is the background, and `classes` names them from 1 on. Segmentation: `labels` uint8 (N, H, W), 255 where no class
    is given; `classes` begins with "background". Language: as `text.load_text`, `size` tokens in a window.

    limit: keep the first ones. The other arguments, and what is raised, are those of `load_data`.
    """
    if task == "language":
        return load_text(spec, split=split, limit=limit, context=size)
    if spec != "canvases":
        raise DataError(f"{task} of {spec}: give canvases")
    data = canvases(split, task=task)
    if limit is not None and limit < len(data):
        data = data.subset(slice(limit))
    return data if normalize is None else replace(data, normalization=normalize)
