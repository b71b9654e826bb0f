"""Images with boxes for detection, or with a class for each pixel for segmentation."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from resnet_probe.data.canvases import canvases
from resnet_probe.data.coco import is_coco, load_coco
from resnet_probe.data.dataset import Data
from resnet_probe.data.errors import DataError
from resnet_probe.data.masks import has_masks, load_masks
from resnet_probe.data.text import load_text
from resnet_probe.data.voc import load_voc, voc_root
from resnet_probe.files import is_kernel

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

    A folder holds annotations in COCO's layout (see `coco.load_coco`), `VOCdevkit` (`voc.load_voc`) or, for
    segmentation, `images` and `masks` (`masks.load_masks`). Images for detection keep their own sizes.

    limit: keep the first ones. The other arguments, and what is raised, are those of `load_data`.
    """
    if task == "language":
        return load_text(spec, split=split, limit=limit, context=size)
    if spec == "canvases":
        data = canvases(split, task=task, limit=limit)
    else:
        data = _in_folder(Path(spec).expanduser(), task, split=split, limit=limit, size=size, notify=notify)
    return data if normalize is None else replace(data, normalization=normalize)


def _in_folder(folder: Path, task: str, **how: Any) -> Data:
    if is_kernel(folder) or not folder.is_dir():
        raise DataError(f"no data {str(folder)!r} for {task}: give canvases or a folder that exists")
    if task == "detection" and how["size"] is not None:
        raise DataError(f"size {how['size']} given for detection, whose images keep their sizes; leave it out")
    if is_coco(folder):
        return load_coco(folder, task=task, **how)
    if root := voc_root(folder):
        return load_voc(root, task=task, **how)
    if task == "segmentation" and has_masks(folder):
        return load_masks(folder, **how)
    layouts = "annotations/instances_SPLIT.json or annotations.json (COCO), or VOCdevkit"
    raise DataError(
        f"folder {folder} has no annotations for {task}: expected {layouts}"
        f"{', or images and masks' if task == 'segmentation' else ''}"
    )
