"""Data sets that are asked for by name: digits, CIFAR-10, CIFAR-100 and random images."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import torch

from resnet_probe.data.cifar import CIFAR, fetch, read
from resnet_probe.data.dataset import Data
from resnet_probe.data.errors import DataError

SPLITS = ("train", "test")


def digits(split: str) -> Data:
    """Return scikit-learn's handwritten digits, (N, 1, 8, 8): 1,442 to train and 355 to test.

    Of each class, every fifth image in stored order is a test image, so the split is stratified and depends on no
    library's random numbers. The values 0 to 16 become 0 to 255, rounded. Both splits have the same writers.

    Source: E. Alpaydin and C. Kaynak, "Optical Recognition of Handwritten Digits", UCI Machine Learning Repository.
    """
    _check_split("digits", split)
    values, labels = _scikit_learns_digits()
    turn = np.array([np.count_nonzero(labels[:i] == label) for i, label in enumerate(labels)])
    chosen = (turn % 5 == 4) == (split == "test")
    pixels = ((values[chosen] * 255 + 8) // 16).astype(np.uint8).reshape(-1, 1, 8, 8)
    return Data(
        name="digits",
        split=split,
        images=torch.from_numpy(pixels),
        labels=torch.from_numpy(labels[chosen]),
        classes=tuple("0123456789"),
        normalization="digits",
    )


def fake(split: str, *, seed: int, size: int | None) -> Data:
    """Return 1,000 images of random bytes, (1000, 3, 32, 32) or `size` pixels wide and high, in 10 balanced classes.

    The same seed gives the same bytes on every machine; the splits differ.
    """
    _check_split("fake", split)
    side = 32 if size is None else size
    shape = (1000, 3, side, side)
    # The raw stream of a bit generator is fixed by numpy's promise; the distributions drawn from it are not.
    words = np.random.PCG64([seed, SPLITS.index(split)]).random_raw(-(-int(np.prod(shape)) // 8))
    pixels = words.astype("<u8").view(np.uint8)[: int(np.prod(shape))].reshape(shape)
    labels = torch.arange(len(pixels)) % 10
    classes = tuple(f"class{label}" for label in range(10))
    return Data("fake", split, torch.from_numpy(pixels), labels, classes, normalization="none")


def cifar(name: str, split: str, *, root: Path, download: bool, notify: Callable[[str], None] | None = None) -> Data:
    """Return CIFAR-10 or CIFAR-100 ("cifar10", "cifar100") from its original files, (N, 3, 32, 32).

    root: the folder that holds `cifar-10-batches-py` or `cifar-100-python`, or that folder itself.
    download: whether to fetch what is missing; `notify` gets one line before that begins.

    Raises DataError where the files are missing or damaged and cannot be fetched.

    Source: A. Krizhevsky, "Learning Multiple Layers of Features from Tiny Images", 2009.
    """
    _check_split(name, split)
    if root.name == CIFAR[name].folder:
        root = root.parent
    found = read(name, split, root)
    if found is None and download:
        fetch(name, root, notify)
        found = read(name, split, root)
    if found is None:
        raise DataError(
            f"the files in {root / CIFAR[name].folder} are incomplete or damaged: remove the folder and ask for {name} "
            f"by name to fetch it again"
        )
    pixels, labels, classes = found
    return Data(name, split, torch.from_numpy(pixels), torch.tensor(labels), classes, normalization=name)


def cifar_in(folder: Path) -> str | None:
    """Return "cifar10" or "cifar100" where `folder` is, or holds, the folder of its original files, else None."""
    for name, files in CIFAR.items():
        if folder.name == files.folder or (folder / files.folder).is_dir():
            return name
    return None


def _scikit_learns_digits() -> tuple[np.ndarray, np.ndarray]:
    """Values 0 to 16 (1797, 64) and labels, from the file in scikit-learn, whose import would take seconds."""
    package = find_spec("sklearn")
    assert package is not None
    assert package.origin is not None
    with gzip.open(Path(package.origin).parent / "datasets" / "data" / "digits.csv.gz") as file:
        table = np.loadtxt(file, delimiter=",", dtype=np.int64)
    return table[:, :-1], table[:, -1]


def _check_split(name: str, split: str) -> None:
    if split not in SPLITS:
        raise DataError(f"{name} has no split {split!r}: it has {', '.join(SPLITS)}")
