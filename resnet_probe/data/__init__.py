"""Labelled images: a data set's name, a folder or code of one's own becomes batches, normalised in one place.

load_data         a name (NAMES), a folder or a factory -> Data
from_dataset      any Dataset or iterable of (input, target) -> Data
with_classes      the labels of a network that knows more classes
Data              images in a fixed order: batches, subsets, shards, fingerprint
NORMALIZATIONS    the known means and standard deviations
DataError         what cannot be read, and what to do about it
"""

from __future__ import annotations

import difflib
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from resnet_probe.data.annotated import TASKS, load_annotated
from resnet_probe.data.classes import can_match, read_classes, with_classes
from resnet_probe.data.dataset import Data, spread
from resnet_probe.data.errors import DataError
from resnet_probe.data.folder import load_folder
from resnet_probe.data.masks import IGNORED
from resnet_probe.data.named import cifar, cifar_in, digits, fake
from resnet_probe.data.normalization import NORMALIZATIONS, normalizations_for, parse_normalization
from resnet_probe.data.own import from_dataset, is_own, load_own
from resnet_probe.files import is_kernel

__all__ = [
    "IGNORED",
    "NAMES",
    "NORMALIZATIONS",
    "Data",
    "DataError",
    "can_match",
    "from_dataset",
    "is_own",
    "load_data",
    "normalizations_for",
    "parse_normalization",
    "read_classes",
    "with_classes",
]

# What each name gives, in one line for help texts.
NAMES: dict[str, str] = {
    "digits": "scikit-learn's handwritten digits, 1 x 8 x 8, 10 classes, part of the installation",
    "cifar10": "CIFAR-10, 3 x 32 x 32, 10 classes, fetched when it is not there",
    "cifar100": "CIFAR-100, 3 x 32 x 32, 100 classes, fetched when it is not there",
    "canvases": "digits scattered on canvases, 3 x 96 x 96, for --task detection and segmentation",
    "fake": "random bytes, 3 x 32 x 32, 10 classes",
}


def load_data(
    spec: str | os.PathLike[str],
    *,
    root: str | os.PathLike[str] | None = None,
    split: str = "test",
    limit: int | None = None,
    normalize: str | None = None,
    size: int | None = None,
    whole: bool = False,
    seed: int = 0,
    task: str = "classification",
    notify: Callable[[str], None] | None = None,
) -> Data:
    """Return the images that `spec` names.

    spec: a name from NAMES; or a folder: with class folders in it, with split folders that hold class folders, or
        with the original files of CIFAR-10 or CIFAR-100; or `file.py:factory` or `package.module:factory`, code of the
        user's own that runs (see `own.load_own`). A name goes first: write "./digits" for a folder "digits".
    root: where CIFAR's files are, or are fetched to; the user's cache folder by default.
    split: "train" or "test", or the name of a split folder.
    limit: keep this many images, spread evenly over the classes in stored order (see `dataset.spread`).
    normalize: a name from NORMALIZATIONS, or "mean;std"; by default the data set's own, for folders "imagenet".
    size: side in pixels of square images to cut from a folder's images of other sizes, or of fake images; the other
        data sets have one size and keep it.
    whole: where squares of `size` would be cut from a folder's images, keep the larger squares that they are cut from
        (256 for 224), to take crops from.
    seed: of the fake images.
    task: what the labels are for; with another than "classification" they are those of `annotated.load_annotated`.
    notify: gets one line before anything is fetched, where images are resized, where a split lacks classes of another
        one, and where a name hides a folder.

    Raises DataError for a spec, split, limit, normalisation or size that does not exist, and for files that are
    missing or broken; LookupError or ValueError for a factory that is missing or fails.

    Examples:
        >>> load_data("digits").input_shape
        (1, 8, 8)
    """
    name = os.fspath(spec)
    for what, value in (("limit", limit), ("size", size)):
        if value is not None and value < 1:
            raise DataError(f"{what} {value}: it must be at least 1; leave it out for no {what}")
    parse_normalization(normalize or "none", pixels=not is_own(name))  # before files are read, which may take long
    if is_own(name):
        return load_own(name, split=split, limit=limit, normalization=normalize)
    if name in NAMES and Path(name).is_dir() and notify is not None:
        notify(f"note: {name} is the data set of that name; give ./{name} for the folder")
    if task in TASKS:
        return load_annotated(
            name, task=task, split=split, limit=limit, normalize=normalize, size=size, notify=notify
        )  # fmt: skip
    if name == "canvases":
        raise DataError(f"canvases are for the tasks {' and '.join(TASKS[:2])}, not {task}; give --task {TASKS[0]}")
    if name == "digits":
        data = digits(split)
    elif name == "fake":
        data = fake(split, seed=seed, size=size)
    elif name in NAMES:
        data = cifar(name, split, root=_root(root), download=True, notify=notify)
    else:
        folder = _existing_folder(name)
        original = cifar_in(folder)
        if original is None:
            return load_folder(
                folder, split=split, limit=limit, normalization=normalize or "imagenet", size=size, whole=whole,
                notify=notify,
            )  # fmt: skip
        data = cifar(original, split, root=folder, download=False)
    if limit is not None and limit < len(data):
        data = data.subset(spread(data.labels, limit))
    return data if normalize is None else replace(data, normalization=normalize)


def _root(root: str | os.PathLike[str] | None) -> Path:
    if root is not None:
        return Path(root).expanduser()
    from platformdirs import user_cache_path  # noqa: PLC0415  # only needed here

    return user_cache_path("resnet-probe") / "data"


def _existing_folder(spec: str) -> Path:
    folder = Path(spec).expanduser()
    if spec and is_kernel(folder):
        raise DataError(f"data {spec!r} is of the kernel; give {', '.join(NAMES)} or a folder of images")
    if spec and folder.is_dir():
        return folder
    if spec and folder.exists():
        raise DataError(f"data {spec!r} is a file: give the folder that holds class folders (unpack an archive first)")
    known = [*NAMES, *(str(folder.parent / entry.name) for entry in folder.parent.glob("*/"))]
    close = difflib.get_close_matches(spec, known, n=1, cutoff=0.7)
    hint = f"; did you mean {close[0]!r}?" if close else ""
    raise DataError(f"no data {spec!r}: give {', '.join(NAMES)}, a folder that exists or file.py:factory{hint}")
