"""Data sets that are asked for by name: digits, CIFAR-10, CIFAR-100 and random images."""

from __future__ import annotations

import contextlib
import io
import urllib.error
import urllib.request
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from resnet_probe.data.dataset import Data
from resnet_probe.data.errors import DataError

SPLITS = ("train", "test")
CIFAR_FOLDERS = {"cifar10": "cifar-10-batches-py", "cifar100": "cifar-100-python"}
PATIENCE = 15  # seconds until a server that does not answer counts as out of reach


def digits(split: str) -> Data:
    """Return scikit-learn's handwritten digits, (N, 1, 8, 8): 1,442 to train and 355 to test.

    Of each class, every fifth image in stored order is a test image, so the split is stratified and depends on no
    library's random numbers. The values 0 to 16 become 0 to 255, rounded. Both splits have the same writers.

    Source: E. Alpaydin and C. Kaynak, "Optical Recognition of Handwritten Digits", UCI Machine Learning Repository.
    """
    from sklearn.datasets import load_digits  # noqa: PLC0415  # a second to import, and only needed here

    _check_split("digits", split)
    values, labels = load_digits(return_X_y=True)
    turn = np.array([np.count_nonzero(labels[:i] == label) for i, label in enumerate(labels)])
    chosen = (turn % 5 == 4) == (split == "test")
    pixels = ((values[chosen].astype(np.int64) * 255 + 8) // 16).astype(np.uint8).reshape(-1, 1, 8, 8)
    return Data(
        name="digits",
        split=split,
        images=torch.from_numpy(pixels),
        labels=torch.from_numpy(labels[chosen].astype(np.int64)),
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
    """Return CIFAR-10 or CIFAR-100 ("cifar10", "cifar100") as torchvision reads it, (N, 3, 32, 32).

    root: the folder that holds `cifar-10-batches-py` or `cifar-100-python`, or that folder itself.
    download: whether to fetch what is missing; `notify` gets one line before that begins.

    Raises DataError where the files are missing or damaged and cannot be fetched.

    Source: A. Krizhevsky, "Learning Multiple Layers of Features from Tiny Images", 2009.
    """
    from torchvision import datasets  # noqa: PLC0415  # only needed here

    _check_split(name, split)
    if root.name == CIFAR_FOLDERS[name]:
        root = root.parent
    kind = {"cifar10": datasets.CIFAR10, "cifar100": datasets.CIFAR100}[name]
    with warnings.catch_warnings():
        # The files were pickled by a numpy that today's numpy warns about.
        warnings.simplefilter("ignore")
        try:
            found = kind(root, train=split == "train")
        except RuntimeError:  # torchvision's word for missing or failing its checksum
            place = root / CIFAR_FOLDERS[name]
            if not download:
                raise DataError(
                    f"the files in {place} are incomplete or damaged: remove the folder and ask for {name} by name "
                    f"to fetch it again"
                ) from None
            _fetch(name, kind, root, notify)
            found = kind(root, train=split == "train")
    pixels = torch.from_numpy(np.ascontiguousarray(found.data.transpose(0, 3, 1, 2)))
    return Data(name, split, pixels, torch.tensor(found.targets), tuple(found.classes), normalization=name)


def cifar_in(folder: Path) -> str | None:
    """Return "cifar10" or "cifar100" where `folder` is, or holds, the folder of its original files, else None."""
    for name, inner in CIFAR_FOLDERS.items():
        if folder.name == inner or (folder / inner).is_dir():
            return name
    return None


def _fetch(name: str, kind: type, root: Path, notify: Callable[[str], None] | None) -> None:
    advice = (
        f"name a data root that holds {CIFAR_FOLDERS[name]}, or give a folder of images instead of the name {name!r}"
    )
    try:
        # Torchvision waits without end for a server that does not answer, so knock first.
        request = urllib.request.Request(kind.url, method="HEAD")  # type: ignore[attr-defined]
        with contextlib.suppress(urllib.error.HTTPError), urllib.request.urlopen(request, timeout=PATIENCE):
            pass
        if notify is not None:
            notify(f"fetching {name} (about 170 MB) from {kind.url} to {root}")  # type: ignore[attr-defined]
        root.mkdir(parents=True, exist_ok=True)
        talk = io.StringIO()  # torchvision draws a progress bar
        with contextlib.redirect_stdout(talk), contextlib.redirect_stderr(talk):
            kind(root, download=True)
    except (OSError, RuntimeError) as error:
        reason = " ".join(str(getattr(error, "reason", None) or error).split())
        raise DataError(f"{name} is not in {root} and cannot be fetched ({reason}): {advice}") from error


def _check_split(name: str, split: str) -> None:
    if split not in SPLITS:
        raise DataError(f"{name} has no split {split!r}: it has {', '.join(SPLITS)}")
