"""The original files of CIFAR-10 and CIFAR-100, read without torchvision, whose import takes longer than they do.

read    the images of a split, from files whose MD5 sums are the published ones
fetch   the files, by torchvision's downloader
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import pickle
import urllib.error
import urllib.request
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from resnet_probe.data.errors import DataError
from resnet_probe.files import regular

PATIENCE = 15  # seconds until a server that does not answer counts as out of reach


@dataclass(frozen=True)
class Files:
    """The files of a data set.

    Attributes:
        folder: that the archive unpacks to.
        splits: split -> its files; a file is its name and its MD5 sum.
        meta: the file that names the classes, and under which key.
        labels: the key of the labels.
    """

    folder: str
    splits: Mapping[str, tuple[tuple[str, str], ...]]
    meta: tuple[str, str]
    names: str
    labels: str


# Source: the sums that torchvision checks (`torchvision/datasets/cifar.py`).
CIFAR: dict[str, Files] = {
    "cifar10": Files(
        folder="cifar-10-batches-py",
        splits={
            "train": (
                ("data_batch_1", "c99cafc152244af753f735de768cd75f"),
                ("data_batch_2", "d4bba439e000b95fd0a9bffe97cbabec"),
                ("data_batch_3", "54ebc095f3ab1f0389bbae665268c751"),
                ("data_batch_4", "634d18415352ddfa80567beed471001a"),
                ("data_batch_5", "482c414d41f54cd18b22e5b47cb7c3cb"),
            ),
            "test": (("test_batch", "40351d587109b95175f43aff81a1287e"),),
        },
        meta=("batches.meta", "5ff9c542aee3614f3951f8cda6e48888"),
        names="label_names",
        labels="labels",
    ),
    "cifar100": Files(
        folder="cifar-100-python",
        splits={
            "train": (("train", "16019d7e3df5f24257cddd939b257f8d"),),
            "test": (("test", "f0ef6b0ae62326f3e7ffdfab6717acfc"),),
        },
        meta=("meta", "7973b15100ade9c7d40fb424638fde48"),
        names="fine_label_names",
        labels="fine_labels",
    ),
}


def read(name: str, split: str, root: Path) -> tuple[np.ndarray, list[int], tuple[str, ...]] | None:
    """Return pixels, uint8 (N, 3, 32, 32), labels and names of the classes; None where a file is missing or damaged.

    root: the folder that holds the data set's own folder.
    """
    files = CIFAR[name]
    found = [_content(root / files.folder, *file) for file in (*files.splits[split], files.meta)]
    if None in found:
        return None
    *batches, meta = (_unpickled(content) for content in found if content is not None)
    pixels = np.concatenate([batch["data"] for batch in batches]).reshape(-1, 3, 32, 32)
    labels = [label for batch in batches for label in batch[files.labels]]
    return pixels, labels, tuple(meta[files.names])


def fetch(name: str, root: Path, notify: Callable[[str], None] | None) -> None:
    """Download the files to `root`; `notify` gets one line before that begins. Raises DataError where that fails."""
    from torchvision import datasets  # noqa: PLC0415  # seconds to import, and only needed here

    kind = {"cifar10": datasets.CIFAR10, "cifar100": datasets.CIFAR100}[name]
    advice = (
        f"name a data root that holds {CIFAR[name].folder}, or give a folder of images instead of the name {name!r}"
    )
    try:
        # Torchvision waits without end for a server that does not answer, so knock first.
        request = urllib.request.Request(kind.url, method="HEAD")
        with contextlib.suppress(urllib.error.HTTPError), urllib.request.urlopen(request, timeout=PATIENCE):
            pass
        if notify is not None:
            notify(f"fetching {name} (about 170 MB) from {kind.url} to {root}")
        root.mkdir(parents=True, exist_ok=True)
        talk = io.StringIO()  # torchvision draws a progress bar
        with contextlib.redirect_stdout(talk), contextlib.redirect_stderr(talk), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # as in `_unpickled`
            kind(root, download=True)
    except (OSError, RuntimeError) as error:
        reason = " ".join(str(getattr(error, "reason", None) or error).split())
        raise DataError(f"{name} is not in {root} and cannot be fetched ({reason}): {advice}") from error


def _content(folder: Path, name: str, md5: str) -> bytes | None:
    try:
        content = regular(folder / name).read_bytes()
    except FileNotFoundError:
        return None
    except ValueError as error:
        raise DataError(str(error)) from None
    return content if hashlib.md5(content, usedforsecurity=False).hexdigest() == md5 else None


def _unpickled(content: bytes) -> dict[str, Any]:
    """What one of the published files holds; unpickling runs what is in it, so its sum is checked before."""
    with warnings.catch_warnings():
        # The files were pickled by a numpy that today's numpy warns about.
        warnings.simplefilter("ignore")
        found: dict[str, Any] = pickle.loads(content, encoding="latin1")
    return found
