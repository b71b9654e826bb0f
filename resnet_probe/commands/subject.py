"""What a command is about: the network that `--ckpt` or `--arch` names, and the images that `--data` names."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import rich_click as click

if TYPE_CHECKING:
    from rich.console import Console

    from resnet_probe.checkpoint import Checkpoint
    from resnet_probe.data import Data
    from resnet_probe.unraveled import UnraveledNetwork


@dataclass(frozen=True)
class Subject:
    """A network with its name; `checkpoint.sha256` is empty where the weights are random."""

    checkpoint: Checkpoint
    trained: bool

    @property
    def name(self) -> str:
        """The checkpoint's file stem, or the name given with `--arch`."""
        return self.checkpoint.name

    def provenance(self) -> dict[str, Any]:
        """What the settings of a result say about the network."""
        notes = list(self.checkpoint.notes)
        return {"arch": self.checkpoint.arch, "checkpoint_sha256": self.checkpoint.sha256 or None, "notes": notes}


def load(ckpt: Path | None, arch: str | None, *, seed: int = 0) -> Subject:
    """The network of `--ckpt` (read as `--arch` if that is given too), or an untrained one of `--arch`.

    Raises:
        click.UsageError: neither is given.
        ValueError, LookupError: as `checkpoint.load` and `models.resolve`.
    """
    from resnet_probe import checkpoint

    if ckpt is not None:
        return Subject(checkpoint.load(ckpt, arch=arch), trained=True)
    if arch is None:
        raise click.UsageError("no network given; give --ckpt FILE or --arch NAME")
    return Subject(checkpoint.untrained(arch, seed=seed), trained=False)


def unraveled(subject: Subject, shape: tuple[int, ...] | None = None, device: str = "cpu") -> UnraveledNetwork:
    """The network as a chain of units, for images of the shape of the data or of the size it is made for."""
    from resnet_probe.unraveled import unravel

    loaded = subject.checkpoint
    size = loaded.input_size or 32
    return unravel(loaded.model.to(device), shape or (loaded.in_channels, size, size))


@dataclass(frozen=True)
class Wanted:
    """The options that say which images: `--data`, `--data-root`, `--normalize`, `--seed`."""

    data: str | None = None
    data_root: Path | None = None
    normalize: str | None = None
    seed: int = 0


def images(subject: Subject, screen: Console, wanted: Wanted, *, split: str, limit: int | None, device: str) -> Data:
    """The images to measure on, after a look at the unlesioned error.

    Raises:
        click.UsageError: no data is known, the classes do not fit the network, or another normalisation than the
            default gives a clearly lower error.
        DataError: the data cannot be read.
    """
    from resnet_probe.data import load_data
    from resnet_probe.evaluate.baseline import baseline

    loaded = subject.checkpoint
    own = loaded.metadata if {"arch", "format"} <= loaded.metadata.keys() else {}  # others' words may mean other things
    spec = wanted.data or own.get("data")
    if not isinstance(spec, str):
        raise click.UsageError("no images given; give --data digits, cifar10, cifar100, fake or a folder")
    described = own.get("normalize")
    chosen = wanted.normalize or (described if isinstance(described, str) else None)
    dataset = load_data(
        spec,
        root=wanted.data_root,
        split=split,
        limit=limit,
        normalize=chosen,
        size=loaded.input_size,
        seed=wanted.seed,
        notify=screen.print,
    )
    _check_fit(subject, dataset)
    settled = chosen is not None or not subject.trained
    measured = baseline(loaded.model.to(device), dataset, device=device, others=not settled)
    if measured.better is not None:
        raise click.UsageError(
            f"with normalisation {dataset.normalization!r} {loaded.name} has {measured.error:.1f} % error on "
            f"{measured.images} images, with {measured.better!r} {measured.errors[measured.better]:.1f} %; "
            f"give --normalize {measured.better} (or --normalize {dataset.normalization} to go on as it is)"
        )
    how = f"normalisation {dataset.normalization!r}" + ("" if settled else ", no other known one is clearly better")
    screen.print(f"{loaded.name}: {measured.error:.4g} % error on {measured.images} images of {dataset.name} ({how})")
    chance = 100 * (1 - 1 / len(dataset.classes))
    if subject.trained and measured.error > 0.95 * chance:
        screen.print(f"note: that is about chance ({chance:.4g} %); check --data, --normalize and --arch", style="bold")
    if not subject.trained:
        screen.print("note: no --ckpt is given, so the weights are random", style="bold")
    for note in loaded.notes:
        screen.print(f"note: {note}")
    return dataset


def more_images(
    subject: Subject, wanted: Wanted, like: Data, split: str, limit: int | None, *, whole: bool = False
) -> Data:
    """Another split of the data that `images` gave as `like`, normalised in the same way; `whole` as in `load_data`."""
    from resnet_probe.data import load_data

    return load_data(
        wanted.data or str(subject.checkpoint.metadata["data"]),
        root=wanted.data_root,
        split=split,
        limit=limit,
        normalize=like.normalization,
        size=subject.checkpoint.input_size,
        whole=whole,
        seed=wanted.seed,
    )


def described(dataset: Data) -> dict[str, Any]:
    """The images in words, for the settings of a result; the fingerprint says the rest."""
    return {"name": dataset.name, "split": dataset.split, "images": len(dataset), "folder": dataset.folder}


def pick_device(name: str) -> str:
    """`auto` is the first of CUDA, MPS and CPU that is there.

    Raises:
        click.UsageError: the device does not exist here.
    """
    import torch

    if name == "auto":
        if torch.cuda.is_available():
            return "cuda"
        return "mps" if torch.backends.mps.is_available() else "cpu"
    try:
        torch.empty(1, device=name)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise click.UsageError(f"no device {name!r} here; give --device cpu, or auto for the best there is") from error
    return name


def _check_fit(subject: Subject, dataset: Data) -> None:
    loaded, classes = subject.checkpoint, len(dataset.classes)
    if loaded.num_classes != classes:
        raise click.UsageError(
            f"{loaded.name} has {loaded.num_classes} classes and {dataset.name} has {classes}; "
            "give the data the network was trained for"
        )
    channels = dataset.input_shape[0]
    if loaded.in_channels != channels:
        raise click.UsageError(
            f"{loaded.name} takes images of {loaded.in_channels} channels and {dataset.name} has {channels}; "
            "give the data the network was trained for"
        )
