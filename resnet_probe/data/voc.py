"""Pascal VOC in its own layout, whose lists of images torchvision reads."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from resnet_probe.data.boxes import Row, boxed, row
from resnet_probe.data.dataset import Data
from resnet_probe.data.errors import DataError
from resnet_probe.data.files import sizes
from resnet_probe.data.masks import IGNORED, mask_values, masked

# Source: Everingham et al. 2010, "The Pascal Visual Object Classes Challenge", Table 1; in alphabetical order.
CLASSES = (
    "aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow", "diningtable", "dog",
    "horse", "motorbike", "person", "pottedplant", "sheep", "sofa", "train", "tvmonitor",
)  # fmt: skip


def voc_root(folder: Path) -> Path | None:
    """The folder that holds `VOCdevkit`, where `folder` is it or `VOCdevkit` itself; None for another folder."""
    root = folder.resolve().parent if folder.resolve().name == "VOCdevkit" else folder
    return root if _years(root) else None


def load_voc(
    root: Path, *, task: str, split: str, limit: int | None, size: int | None, notify: Callable[[str], None] | None
) -> Data:
    """Read the newest year in `VOCdevkit`; the split `test` is `val` but in 2007, which has one.

    Classes are VOC's 20 in alphabetical order, from 1. Boxes count pixels from 1 in the files, and from 0 here. An
    object marked as difficult is marked as a crowd, so that it counts for nothing. Masks have 255 at the edges of
    objects.

    Raises DataError for a split without a list of images, for files that are missing or broken, and for objects of
    other classes or with a box that is empty or leaves its image.
    """
    from torchvision.datasets import VOCDetection, VOCSegmentation  # noqa: PLC0415  # seconds

    year = _years(root)[-1]
    lists = root / "VOCdevkit" / f"VOC{year}" / "ImageSets" / ("Main" if task == "detection" else "Segmentation")
    if split == "test" and not (year == "2007" and (lists / "test.txt").is_file()):
        split = "val"
    kind: Any = VOCDetection if task == "detection" else VOCSegmentation
    try:
        listed = kind(root, year=year, image_set=split)
    except (OSError, ValueError, RuntimeError):
        known = sorted(path.stem for path in lists.glob("*.txt") if path.stem in ("train", "val", "trainval", "test"))
        raise DataError(f"{lists} has no list of split {split!r}: it has {', '.join(known) or 'none'}") from None
    paths = [Path(path) for path in listed.images][:limit]
    targets = [Path(path) for path in listed.targets][:limit]
    shapes = sizes(paths)
    name = f"VOC{year}"
    if task == "detection":
        rows = [_rows(path, shape) for path, shape in zip(targets, shapes, strict=True)]
        return boxed(name, split, paths, shapes=shapes, rows=rows, classes=CLASSES)
    masks = (_mask(path, shape) for path, shape in zip(targets, shapes, strict=True))
    return masked(name, split, paths, masks, ["background", *CLASSES], size=size, notify=notify)


def _years(root: Path) -> list[str]:
    return sorted(path.name.removeprefix("VOC") for path in root.glob("VOCdevkit/VOC20??"))


def _mask(path: Path, shape: tuple[int, int]) -> Any:
    values = mask_values(path)
    if values.shape != shape or ((values > len(CLASSES)) & (values != IGNORED)).any():
        raise DataError(f"mask {path} has another size than its image, or other classes than VOC's {len(CLASSES)}")
    return values


def _rows(path: Path, shape: tuple[int, int]) -> list[Row]:
    from torchvision.datasets.voc import ET_parse, VOCDetection  # noqa: PLC0415

    try:
        objects = VOCDetection.parse_voc_xml(ET_parse(path).getroot())["annotation"].get("object", [])
        found = []
        for number, one in enumerate(objects, start=1):
            where = f"object {number} of {path}"
            if one["name"] not in CLASSES:
                raise DataError(f"{where} is of class {one['name']!r}; VOC's are {', '.join(CLASSES)}")
            x1, y1, x2, y2 = (float(one["bndbox"][side]) for side in ("xmin", "ymin", "xmax", "ymax"))
            label, difficult = CLASSES.index(one["name"]) + 1, one.get("difficult", "0") == "1"
            found.append(row(where, (x1 - 1, y1 - 1, x2, y2), shape, label, area=None, crowd=difficult))
    except DataError:
        raise
    except Exception as error:  # the parser's own types, and those of entries that are missing
        reason = " ".join(str(error).split())
        raise DataError(f"{path} is no annotation of VOC ({type(error).__name__}: {reason}); correct it") from None
    return found
