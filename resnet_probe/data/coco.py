"""Annotations in COCO's layout: boxes for detection, masks for segmentation."""

from __future__ import annotations

import json
import re
import warnings
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from resnet_probe.data.boxes import Row, boxed, row
from resnet_probe.data.dataset import Data
from resnet_probe.data.errors import DataError
from resnet_probe.data.files import sizes
from resnet_probe.data.masks import IGNORED, masked
from resnet_probe.files import regular
from resnet_probe.limits import MOST_ANNOTATIONS, MOST_CLASSES

GAP = "(none)"  # the name of a number between two categories that is none


def is_coco(folder: Path) -> bool:
    """Whether a folder has annotations in COCO's layout."""
    return bool(_annotation_files(folder)) or (folder / "annotations.json").is_file()


def load_coco(
    folder: Path, *, task: str, split: str, limit: int | None, size: int | None, notify: Callable[[str], None] | None
) -> Data:
    """Read `annotations/instances_SPLIT*.json` and `SPLIT*/`, or `annotations.json` and `images/`.

    The folder of the images is the one that the file of annotations is named after, as in `instances_val2017.json` and
    `val2017`, in the folder or in its `images`; or else `images` itself. The split `test` is `val` where it has no
    annotations. Images come in the order of their ids; `limit` keeps the first. Those without objects stay.

    A class is its category's id, and ids that are no category have the name "(none)", as in torchvision's networks
    trained on COCO, which have 91 classes for 80 categories; where an id is 0, which is the background's number, each
    class is its id + 1. A crowd keeps its mark in boxes, and is like any object of its class in masks. A pixel of
    objects of two classes counts for nothing (255), as in torchvision's references/segmentation.

    Raises DataError that names the file, and the annotation where it is one: files that are missing or of another form,
    ids that occur twice or do not exist, boxes that are empty or leave their image, and images of another size than
    their entry says.

    Source: Lin et al. 2014, "Microsoft COCO"; cocodataset.org, "Data format".
    """
    file, pictures, told = _found(folder, split)
    listed = _Annotations.read(file)
    entries = listed.images[:limit]
    paths = [_picture(file, pictures, entry) for entry in entries]
    shapes = sizes(paths)
    for entry, (height, width) in zip(entries, shapes, strict=True):
        if (entry.get("height", height), entry.get("width", width)) != (height, width):
            raise DataError(
                f"image {entry['file_name']} has {width} x {height} pixels, and {entry.get('width')} x "
                f"{entry.get('height')} in {file}; give the images that were annotated"
            )
    name = folder.resolve().name
    classes = listed.classes
    if task == "segmentation":
        if len(classes) >= IGNORED:
            raise DataError(f"{file} has categories up to {len(classes)}; masks hold classes up to {IGNORED - 1}")
        masks = (_mask(listed, entry, shape) for entry, shape in zip(entries, shapes, strict=True))
        return masked(name, told, paths, masks, ["background", *classes], size=size, notify=notify)
    rows = [
        [_row(listed, each, shape) for each in listed.objects[entry["id"]]]
        for entry, shape in zip(entries, shapes, strict=True)
    ]
    return boxed(name, told, paths, shapes=shapes, rows=rows, classes=classes)


@dataclass(frozen=True)
class _Annotations:
    """What a file says. images: in the order of their ids. objects: image's id -> its objects. classes: from 1 on."""

    file: Path
    images: list[dict[str, Any]]
    objects: Mapping[Any, list[dict[str, Any]]]
    classes: list[str]
    shift: int  # from a category's id to its class

    @classmethod
    def read(cls, file: Path) -> _Annotations:
        content = _content(file)
        images, objects, categories = (
            list(_entries(file, content, part, key))
            for part, key in (("images", "file_name"), ("annotations", "image_id"), ("categories", "name"))
        )
        if not images:
            raise DataError(f"{file} has no images; give annotations of some")
        ids = [each["id"] for each in categories]
        if wrong := [each for each in ids if not 0 <= each < MOST_CLASSES]:
            raise DataError(f"{file} has a category with id {wrong[0]}; give ids from 0 to {MOST_CLASSES - 1}")
        shift = int(0 in ids)
        named = {each["id"] + shift: str(each["name"]) for each in categories}
        of_image: dict[Any, list[dict[str, Any]]] = defaultdict(list)
        known = {each["id"] for each in images}
        for each in objects:
            where = f"annotation {each['id']} of {file}"
            if each["image_id"] not in known:
                raise DataError(
                    f"{where} is of image {each['image_id']}, which the file does not list; add or remove it"
                )
            if each.get("category_id") not in ids:
                raise DataError(
                    f"{where} is of category {each.get('category_id')}, which the file does not list; add or correct it"
                )
            of_image[each["image_id"]].append(each)
        classes = [named.get(number, GAP) for number in range(1, max(named, default=0) + 1)]
        return cls(file, sorted(images, key=lambda each: each["id"]), of_image, classes, shift)


def _content(file: Path) -> dict[str, Any]:
    try:
        size = regular(file).stat().st_size
        if size > MOST_ANNOTATIONS:
            raise DataError(
                f"{file} has {size:,} bytes; annotations of at most {MOST_ANNOTATIONS:,} are read: split it"
            )
        content = json.loads(file.read_bytes())
    except OSError as error:
        raise DataError(f"cannot read {file}: {error.strerror}") from None
    except (ValueError, RecursionError) as error:
        if isinstance(error, DataError):
            raise
        raise DataError(
            f"{file} is no JSON ({' '.join(str(error).split())}); give annotations in COCO's form"
        ) from None
    if not isinstance(content, dict):
        raise DataError(f"{file} holds a {type(content).__name__}; give annotations in COCO's form, an object")
    return content


def _entries(file: Path, content: dict[str, Any], part: str, key: str) -> Iterator[dict[str, Any]]:
    """The entries of one part of the file, each with an id of its own and `key`."""
    listed = content.get(part)
    if not isinstance(listed, list):
        raise DataError(f"{file} has no list of {part}; give annotations in COCO's form, of instances")
    for number, entry in enumerate(listed):
        if not isinstance(entry, dict) or not isinstance(entry.get("id"), int) or key not in entry:
            raise DataError(f"{file}: entry {number} of {part} lacks a whole number as id, or {key}; add it")
        yield entry
    if twice := [one for one, count in Counter(entry["id"] for entry in listed).items() if count > 1]:
        raise DataError(f"{file}: the id {twice[0]} occurs twice in {part}; give each its own")


def _row(told: _Annotations, one: dict[str, Any], shape: tuple[int, int]) -> Row:
    where, box = f"annotation {one['id']} of {told.file}", one.get("bbox")
    if not isinstance(box, list) or len(box) != 4 or not all(isinstance(each, (int, float)) for each in box):
        raise DataError(f"{where} has the bbox {box}; give four numbers: x, y, width, height")
    x, y, wide, high = box
    corners = (x, y, x + wide, y + high)
    label = one["category_id"] + told.shift
    return row(where, corners, shape, label, area=one.get("area"), crowd=bool(one.get("iscrowd", 0)))


def _mask(told: _Annotations, entry: dict[str, Any], shape: tuple[int, int]) -> np.ndarray:
    try:
        from pycocotools import mask as coco  # noqa: PLC0415
    except ImportError:
        raise DataError("masks in COCO's form need the package pycocotools; install resnet-probe[detection]") from None
    height, width = shape
    drawn = np.zeros(shape, np.uint8)
    for one in told.objects[entry["id"]]:
        found = one.get("segmentation")
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of numpy, about code of pycocotools
                coded = found if _is_packed(found) else coco.frPyObjects(found, height, width)
                inside = coco.decode(coco.merge(coded) if isinstance(coded, list) else coded).astype(bool)
            if inside.shape != shape:
                raise ValueError(f"{inside.shape[1]} x {inside.shape[0]} pixels, not {width} x {height}")
        except Exception as error:  # pycocotools raises a bare Exception, among others
            raise DataError(
                f"annotation {one['id']} of {told.file} has a segmentation that cannot be read "
                f"({' '.join(str(error).split())[:80]}); give polygons or run lengths"
            ) from None
        label = one["category_id"] + told.shift
        drawn[inside & (drawn != 0) & (drawn != label)] = IGNORED
        drawn[inside & (drawn == 0)] = label
    return drawn


def _is_packed(segmentation: Any) -> bool:
    """Whether run lengths are a string already, as pycocotools writes them."""
    return isinstance(segmentation, dict) and isinstance(segmentation.get("counts"), (str, bytes))


def _picture(file: Path, folder: Path, entry: dict[str, Any]) -> Path:
    path = folder / str(entry["file_name"])
    if not path.is_file():
        raise DataError(f"image {entry['id']} of {file} is not there: {path}; add the file, or remove its entry")
    return path


def _annotation_files(folder: Path) -> dict[str, Path]:
    """Name of the images' folder (val2017) -> file of annotations."""
    return {path.stem.removeprefix("instances_"): path for path in sorted(folder.glob("annotations/instances_*.json"))}


def _found(folder: Path, split: str) -> tuple[Path, Path, str]:
    """The file of annotations, the folder of the images, and the split that they are."""
    files = _annotation_files(folder)
    if not files:
        if split not in ("test", "all"):
            raise DataError(
                f"folder {folder} has no split {split!r}: its annotations.json is read as the split 'test'; name files "
                "annotations/instances_SPLIT.json"
            )
        return folder / "annotations.json", _first_folder([folder / "images", folder]), "all"
    for wanted in (split, *(["val"] if split == "test" else [])):
        mine = [name for name in files if re.fullmatch(rf"{re.escape(wanted)}[\d_-]*", name)]
        if len(mine) > 1:
            raise DataError(f"folder {folder} has several annotations of split {wanted}: {', '.join(mine)}; keep one")
        if mine:
            places = [folder / mine[0], folder / "images" / mine[0], folder / wanted, folder / "images"]
            return files[mine[0]], _first_folder(places), wanted
    raise DataError(f"folder {folder} has no annotations of split {split!r}: it has {', '.join(files)}")


def _first_folder(places: Iterable[Path]) -> Path:
    places = list(places)
    found = next((place for place in places if place.is_dir()), None)
    if found is None:
        raise DataError(f"no folder with the images: give {' or '.join(map(str, places))}")
    return found
