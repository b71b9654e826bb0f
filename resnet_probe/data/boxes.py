"""Annotated objects as rows of numbers, checked one by one."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from resnet_probe.data.canvases import EMPTY, ROWS
from resnet_probe.data.dataset import Data
from resnet_probe.data.errors import DataError
from resnet_probe.data.files import ImageFiles
from resnet_probe.data.folder import MEMORY
from resnet_probe.limits import MOST_LABELS

TOLERANCE = 1.0  # pixels by which a box may leave its image, since annotations are rounded; that part is cut off

Row = tuple[float, float, float, float, int, float, int]


def row(where: str, corners: Sequence[Any], shape: tuple[int, int], label: int, *, area: Any, crowd: bool) -> Row:
    """Return an object as `Data.labels` has it: x1, y1, x2, y2, class, area, iscrowd.

    Args:
        where: the object and its file, for the error.
        corners: x1, y1, x2, y2 in pixels; x1 and y1 are inside of the box, x2 and y2 just outside.
        shape: height and width of the image, in pixels.
        label: class, from 1.
        area: in pixels; None for that of the box.
        crowd: whether it is several objects that are not told apart, or one that does not count.

    Raises:
        DataError: the corners are no numbers, or the box is empty or outside of the image.
    """
    height, width = shape
    numbers = [*corners, 0.0 if area is None else area]
    if not all(isinstance(each, (int, float)) and math.isfinite(each) for each in numbers):
        raise DataError(f"{where} has corners {list(corners)} and area {area}; give finite numbers, or remove it")
    x1, y1, x2, y2 = (float(each) for each in corners)
    if x1 < -TOLERANCE or y1 < -TOLERANCE or x2 > width + TOLERANCE or y2 > height + TOLERANCE:
        raise DataError(
            f"{where} has a box from ({x1:g}, {y1:g}) to ({x2:g}, {y2:g}), outside of its image of {width} x {height} "
            "pixels; correct or remove it"
        )
    x1, y1, x2, y2 = max(x1, 0.0), max(y1, 0.0), min(x2, float(width)), min(y2, float(height))
    if x1 >= x2 or y1 >= y2:
        raise DataError(f"{where} has an empty box, ({x1:g}, {y1:g}) to ({x2:g}, {y2:g}); correct or remove it")
    return x1, y1, x2, y2, label, float((x2 - x1) * (y2 - y1) if area is None else area), int(crowd)


def boxed(
    name: str, split: str, paths: Sequence[Path], *, shapes: Sequence[tuple[int, int]], rows: Sequence[Sequence[Row]],
    classes: Sequence[str],
) -> Data:  # fmt: skip
    """Return images with their objects; images of one size are held in memory where they fit, others stay files.

    Args:
        name, split: of the data.
        paths: of the images.
        shapes: (height, width) of each.
        rows: of each image.
        classes: names of the classes from 1 on.

    Raises:
        DataError: an image cannot be read, or the objects would fill the memory.
    """
    most = max(map(len, rows))
    if len(rows) * max(most, 1) * ROWS * 4 > MOST_LABELS:
        raise DataError(
            f"{len(rows):,} images of {name} with up to {most:,} objects take more than {MOST_LABELS:,} bytes as a "
            "table; give a limit on the images, or remove objects"
        )
    labels = torch.full((len(rows), max(most, 1), ROWS), EMPTY)
    for image, objects in zip(labels, rows, strict=True):
        if objects:
            image[: len(objects)] = torch.tensor(objects)
    height, width = max(high for high, _ in shapes), max(wide for _, wide in shapes)
    images = ImageFiles(tuple(paths), height, width)
    held = len(set(shapes)) == 1 and height * width * 3 * len(paths) <= MEMORY
    return Data(name, split, images.decode() if held else images, labels, tuple(classes), "none", folder=True)
