"""One cell of a grid: a network, a recipe, and what training it leaves behind.

Cell          what to train; `describe` reads family, depth and variant from its name
Images        where the images come from, as something that another process can load too
train_cell    train it, save the weights, return its row and its curve
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from resnet_probe.analyses.grid import CURVES, GRID
from resnet_probe.analyses.grid.table import DONE

if TYPE_CHECKING:
    from lightning_fabric import Fabric

    from resnet_probe.data import Data
    from resnet_probe.training import Epoch, Keeper, Recipe


@dataclass(frozen=True)
class Description:
    """What a network's name says: its family, its depth in layers and its variant, None where it does not say."""

    family: str
    depth: int | None
    variant: str | None


def describe(arch: str) -> Description:
    """Read a name. Raises ValueError where it is one of this package's own families, but no network.

    >>> describe("resnet110-preact")
    Description(family='resnet', depth=110, variant='preact')
    """
    from resnet_probe.models import DENSE, family_of, parse_gpt, parse_lenet, parse_resnet, parse_vgg  # noqa: PLC0415 - brings torch

    family = family_of(arch)
    if family is None or arch in DENSE:
        return Description(family or arch.partition(":")[0], None, None)
    {"vgg": parse_vgg, "lenet": parse_lenet, "gpt": parse_gpt}.get(family, parse_resnet)(arch)
    match = re.fullmatch(r"(?:cifar:)?[a-z]+(\d+)(?:-(.*))?", arch)
    assert match is not None
    return Description(family, int(match[1]), match[2] or None)


@dataclass(frozen=True)
class Cell:
    """One training. `name`: unique in its grid, and the stem of its files."""

    name: str
    arch: str
    recipe: Recipe

    @property
    def labels(self) -> dict[str, Any]:
        """The columns that say which cell a row is of."""
        described = describe(self.arch)
        return {
            "cell": self.name, "arch": self.arch, **asdict(described), "style": self.recipe.style,
            "seed": self.recipe.seed,
        }  # fmt: skip


@dataclass(frozen=True)
class Images:
    """The images of a training, as the options name them.

    validation: images of the training set, drawn with `seed` and spread over the classes as they fall, that are held
        out and measured on after each epoch in place of the test set.
    """

    data: str
    root: str | None = None
    normalize: str | None = None
    size: int | None = None
    limit: int | None = None
    validation: int = 0
    seed: int = 0
    test_split: str = "test"
    task: str = "classification"

    def load(self, notify: Callable[[str], None] | None = None) -> tuple[Data, Data]:
        """Images to train on, and images to measure on after each epoch.

        Raises:
            DataError: they cannot be read.
            ValueError: more are to be held out than there are.
        """
        import torch  # noqa: PLC0415

        from resnet_probe.data import load_data  # noqa: PLC0415

        common: dict[str, Any] = {"root": self.root, "normalize": self.normalize, "size": self.size, "notify": notify}
        common["task"] = self.task
        train = load_data(self.data, split="train", limit=self.limit, **common)
        if self.validation == 0:
            return train, load_data(self.data, split=self.test_split, limit=self.limit, **common)
        if self.validation >= len(train):
            raise ValueError(f"{self.validation} images held out of {len(train)}: hold out fewer")
        order = torch.randperm(len(train), generator=torch.Generator().manual_seed(self.seed))
        held, kept = (index.sort().values for index in (order[: self.validation], order[self.validation :]))
        return train.subset(kept), replace(train.subset(held), split="validation")


def train_cell(
    cell: Cell, train: Data, test: Data, *, folder: Path, keeper: Keeper | None = None, fabric: Fabric | None = None,
    task: str = "classification", **how: Any,
) -> dict[str, Any]:  # fmt: skip
    """Train a cell and save its weights as `<name>.safetensors` in `folder`.

    Args:
        cell: what to train; its weights are drawn with the recipe's seed.
        train, test: images; `test` is measured on after each epoch, never trained on.
        keeper: keeps the states to go on from.
        fabric: the processes, launched; the first one writes.
        task: what for, as `training.fit` takes it.
        how: as `training.fit` takes it (device, compiled, progress, stop, ...).

    Returns:
        `row`, by GRID.keys, and `curve`, a list of rows by CURVES.keys.

    Raises:
        TrainingError, StateError: as `fit`. LookupError, ValueError: as `models.resolve`.
    """
    from resnet_probe import checkpoint  # noqa: PLC0415
    from resnet_probe.training import fit  # noqa: PLC0415

    channels, side = train.input_shape[0], train.input_shape[-1]
    classes = len(train.classes) + (task == "detection")  # whose classes are without the background
    untrained = checkpoint.untrained(cell.arch, seed=cell.recipe.seed, num_classes=classes, in_channels=channels)
    model = untrained.model
    history = fit(model, train, recipe=cell.recipe, task=task, test=test, keeper=keeper, fabric=fabric, **how)
    parameters = sum(parameter.numel() for parameter in model.parameters())
    curve = curve_rows(cell, history.rows)
    last = curve[-1]
    row = {
        **cell.labels, "parameters": parameters, "epochs": last["epoch"], "iterations": last["iteration"],
        **{key: last[key] for key in ("train_error", "train_loss", "test_error", "test_loss")},
        "seconds": sum(entry["seconds"] for entry in curve), "status": DONE,
    }  # fmt: skip
    if fabric is None or fabric.global_rank == 0:
        about = {
            "recipe": asdict(cell.recipe), "data": train.name, "normalize": train.normalization, "input_size": side,
            "error": last["test_error"], "measured_on": f"{len(test)} images ({test.split})", "trained_on": len(train),
        }  # fmt: skip
        if task != "classification":
            about["task"] = task
        checkpoint.save(folder / f"{cell.name}.safetensors", model, arch=untrained.arch, metadata=about)
    return {"row": {column: row[column] for column in GRID.keys}, "curve": curve}


def identity(cell: Cell, train: Data, test: Data) -> dict[str, Any]:
    """What a state of this training must have in common with it to be gone on from."""
    return {
        "network": cell.arch, "recipe": asdict(cell.recipe), "images_to_train_on": train.fingerprint,
        "images_to_measure_on": test.fingerprint, "normalisation": train.normalization,
    }  # fmt: skip


def curve_rows(cell: Cell, epochs: Iterable[Epoch]) -> list[dict[str, Any]]:
    """The curve of a training, one row per epoch by CURVES.keys."""
    rows = [{**asdict(epoch), **cell.labels} for epoch in epochs]
    return [{column: row[column] for column in CURVES.keys} for row in rows]
