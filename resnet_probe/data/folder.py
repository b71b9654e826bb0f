"""A folder of images: class folders in it, or split folders that hold class folders."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import torch

from resnet_probe.data.dataset import Data, spread
from resnet_probe.data.errors import DataError
from resnet_probe.data.files import ImageFiles, around, sizes
from resnet_probe.files import is_kernel

SPLITS = ("train", "test", "val", "valid", "validation")
SUFFIXES = (".jpg", ".jpeg", ".png", ".ppm", ".bmp", ".pgm", ".tif", ".tiff", ".webp")
SIDE = 224  # pixels: for images of differing sizes where no size is asked for, as evaluations on ImageNet use
MEMORY = 2 * 2**30  # bytes of pixels up to which a folder is held in memory


def load_folder(
    folder: Path,
    *,
    split: str,
    limit: int | None,
    normalization: str,
    size: int | None,
    whole: bool = False,
    memory: int = MEMORY,
    notify: Callable[[str], None] | None = None,
) -> Data:
    """Read images from class folders, labels in the alphabetical order of the folders' names.

    The number of classes is the number of class folders, over all splits together, also where one is empty. Files
    whose name starts with a dot and files that are no images by suffix are left out; folders inside class folders
    belong to the class. Every image is read as RGB, without regard to EXIF rotation.

    Where all images have one size, and it is `size` or no size is asked for, pixels stay as they are. Otherwise
    `files.resize_and_crop` makes squares of `size` (224 where none is asked for); with `whole` the larger squares that
    these would be cut from (256 for 224). Up to `memory` bytes of pixels are decoded at once, which also finds broken
    files before any work is done; more are decoded batch by batch. `notify` gets a line where images are resized, and
    where this split lacks classes that another one has.

    Raises DataError for a folder that is missing, empty, without class folders or without the split, and for an image
    that cannot be read.
    """
    root, split, names = _class_folders(folder, split)
    notify = notify or (lambda line: None)
    absent = [name for name in names if not (root / name).is_dir()]
    if absent:
        notify(f"note: split {split} of {folder} has no class folder {', '.join(absent)}, which another split has")
    paths, labels = [], []
    for label, name in enumerate(names):
        found = _images(root / name)
        paths += found
        labels += [label] * len(found)
    if not paths:
        raise DataError(
            f"the class folders of {root} ({_listed(names)}) hold no images: expected files with {', '.join(SUFFIXES)}"
        )
    truth = torch.tensor(labels, dtype=torch.int64)
    if limit is not None:
        chosen = spread(truth, limit)
        paths, truth = [paths[i] for i in chosen.tolist()], truth[chosen]
    images, resized = _one_size(tuple(paths), size, whole)
    if resized:
        notify(f"note: {split} {resized}{', as no size is given' if size is None else ''}")
    in_memory = images.height * images.width * 3 * len(images) <= memory
    return Data(
        name=folder.resolve().name,
        split=split,
        images=images.decode() if in_memory else images,
        labels=truth,
        classes=tuple(names),
        normalization=normalization,
        folder=True,
        resized=resized,
    )


def _class_folders(folder: Path, split: str) -> tuple[Path, str, list[str]]:
    """Return the folder that holds the class folders, the split that it is, and the names of the classes."""
    splits = {name: names for name in _folders(folder) if name in SPLITS and (names := _folders(folder / name))}
    if splits:
        if split not in splits:
            raise DataError(f"folder {folder} has no split {split!r}: it has {', '.join(splits)}")
        # A class that one split lacks must not shift the labels of the others.
        return folder / split, split, sorted(set().union(*splits.values()))
    # Without split folders there is one set of images; calling all of it "train" would let it be tested on itself.
    if split not in ("test", "all"):
        raise DataError(
            f"folder {folder} has no split {split!r}: its class folders lie directly in it, which is read as the split "
            f"'test'; sort them into folders named {', '.join(SPLITS[:3])}"
        )
    names = _folders(folder)
    if names and set(names) <= set(SPLITS):
        raise DataError(
            f"the split folders of {folder} ({', '.join(names)}) have no class folders: put the images of each class "
            f"into a folder with its name, inside each of them"
        )
    if not names:
        state = "has no class folders" if any(folder.iterdir()) else "is empty"
        raise DataError(f"folder {folder} {state}: put the images of each class into a folder with its name")
    return folder, "all", names


def _one_size(paths: tuple[Path, ...], size: int | None, whole: bool) -> tuple[ImageFiles, str]:
    """The files as images of one size, and in words what is done to them for that."""
    found = sorted(set(sizes(paths)), key=lambda shape: shape[0] * shape[1])
    height, width = found[0]
    if len(found) == 1 and (size is None or (height, width) == (size, size)):
        return ImageFiles(paths, height, width), ""
    crop = SIDE if size is None else size
    shorter = around(crop)
    side = shorter if whole else crop
    which = " to ".join(dict.fromkeys(f"{wide} x {high}" for high, wide in (found[0], found[-1])))
    words = (
        f"images of {which} pixels are resized to a shorter side of {shorter} and cut to the central {side} x {side}"
    )
    return ImageFiles(paths, side, side, crop=crop, whole=whole), words


def _folders(folder: Path) -> list[str]:
    try:
        return sorted(entry.name for entry in folder.iterdir() if entry.is_dir() and not entry.name.startswith("."))
    except OSError as error:
        raise DataError(f"cannot list folder {folder}: {error.strerror}") from error


def _images(folder: Path) -> list[Path]:
    """The images in a folder and in the folders in it, each folder once, however many links lead to it."""
    found: dict[str, list[str]] = {}
    seen: set[str] = set()
    for inside, below, names in os.walk(folder, followlinks=True):
        place = Path(inside)
        if (real := os.path.realpath(place)) in seen or is_kernel(place):
            below.clear()
            continue
        seen.add(real)
        below.sort()
        found[inside] = sorted(name for name in names if name.lower().endswith(SUFFIXES) and not name.startswith("."))
    return [Path(inside, name) for inside in sorted(found) for name in found[inside]]


def _listed(names: list[str], most: int = 5) -> str:
    return ", ".join(names[:most]) + (", …" if len(names) > most else "")
