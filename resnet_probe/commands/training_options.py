"""What commands that train share: the values of a recipe as options, and the processes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import rich_click as click

from resnet_probe.commands import options

if TYPE_CHECKING:
    from lightning_fabric import Fabric

    from resnet_probe.data import Data
    from resnet_probe.training import Recipe

RECIPES = (
    "he2015",
    "he2016",
    "veit2016",
    "fast",
    "adam",
    "imagenet",
    "digits",
    "detection",
    "segmentation",
    "language",
)
TASKS = ("classification", "detection", "segmentation", "language")
DIGITS = "8x8 digits move by 1 pixel and are not mirrored"


_FLOAT, _COUNT = click.FLOAT, options.COUNT
_VALUES: tuple[tuple[str, dict[str, Any]], ...] = (
    ("--epochs", {"type": _FLOAT, "help": "Length in passes over the images; milestones move with it."}),
    ("--iterations", {"type": _COUNT, "help": "Length in optimiser steps."}),
    ("--learning-rate", {"type": _FLOAT, "help": "At its peak."}),
    ("--batch-size", {"type": _COUNT, "help": "Images of one optimiser step, over all processes."}),
    ("--accumulate", {"type": _COUNT, "help": "Parts that a batch is computed in, to save memory."}),
    ("--optimizer", {"type": click.Choice(("sgd", "adam", "adamw")), "help": "Optimiser."}),
    ("--momentum", {"type": _FLOAT, "help": "Of SGD."}),
    ("--nesterov/--no-nesterov", {"default": None, "help": "Nesterov's momentum."}),
    ("--weight-decay", {"type": _FLOAT, "help": "On all parameters."}),
    (
        "--schedule",
        {"type": click.Choice(("constant", "linear", "cosine", "steps")), "help": "Of the learning rate."},
    ),
    (
        "--milestones",
        {
            "callback": options.several(float, "numbers", "32000,48000"),
            "help": "Where `steps` divides the rate, in the unit of the length.",
        },
    ),
    ("--divisor", {"type": _FLOAT, "help": "By how much it divides."}),
    ("--warmup", {"type": _FLOAT, "help": "Share of all steps if below 1, else a number of steps."}),
    ("--warmup-rate", {"type": _FLOAT, "help": "Constant rate of the warm-up, in place of a linear rise."}),
    ("--warmup-error", {"type": _FLOAT, "help": "Warm up until the training error is below this, in percent."}),
    ("--label-smoothing", {"type": _FLOAT, "help": "0 to below 1."}),
    ("--pad", {"type": click.IntRange(min=0), "help": "Pixels by which images are moved at random."}),
    ("--flip/--no-flip", {"default": None, "help": "Mirror half of the images."}),
    ("--resized-crop/--no-resized-crop", {"default": None, "help": "Random part of the image, as for ImageNet."}),
    ("--survival", {"type": _FLOAT, "help": "Stochastic depth: probability that the last block takes part."}),
    ("--kept", {"type": click.IntRange(min=0), "help": "Effective paths: blocks in each batch.  [default: 23 of 54]"}),
    ("--rescale/--no-rescale", {"default": None, "help": "Scale branches at test time by their probability."}),
    ("--precision", {"type": click.Choice(options.PRECISIONS), "help": "bf16 and fp16 are mixed precision."}),
)
STYLES = ("normal", "stochastic-depth", "effective-paths")


@dataclass(frozen=True)
class Training:
    """The options of a training: those of the recipe that were given, and how it is run."""

    values: dict[str, Any]
    compiled: bool

    def recipe(
        self, name: str | None, data: str, depth: int | None, *, task: str = TASKS[0], **more: Any
    ) -> tuple[str, Recipe]:
        """The recipe of that name, or the default for the task and the data, with the values given; and its name.

        Raises:
            click.UsageError: the recipe does not use one of the values.
            TrainingError: as `training.recipe_for`.
        """
        from resnet_probe.training import recipe_for

        name = name or (task if task in RECIPES else "digits" if data == "digits" else "he2015")
        made = recipe_for(name, depth=depth, **{**self.for_data(name, data), **more})
        self.refuse_idle([made])
        return name, made

    def refuse_idle(self, recipes: Sequence[Recipe]) -> None:
        """Refuse values that none of the recipes uses.

        Raises:
            click.UsageError: there is one.
        """
        from resnet_probe.training import idle

        found = [idle(recipe, self.values) for recipe in recipes]
        for name in found[0] if found else ():
            if all(name in each for each in found):
                flag = f"--{name.replace('_', '-')}"
                raise click.UsageError(f"{flag} given, which only {found[0][name]} uses; leave it out")

    def for_data(self, name: str, data: str) -> dict[str, Any]:
        """The values given, and for digits an augmentation that leaves them legible, unless one is given."""
        legible = {"pad": 1, "flip": False} if data == "digits" and name != "digits" else {}
        return {**legible, **self.values}


def training_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Values of a recipe, and `--compile`; they reach the command as one `Training`."""
    decorators = [click.option(flags, **words) for flags, words in _VALUES]
    decorators.append(click.option("--compile", "compiled", is_flag=True, help="Pass the network to torch.compile."))
    names = [flags.split("/")[0][2:].replace("-", "_") for flags, _ in _VALUES]

    def command(**params: Any) -> Any:
        given = {name: params.pop(name) for name in names}
        values = {name: value for name, value in given.items() if value is not None}
        return function(training=Training(values, params.pop("compiled")), **params)

    command.__doc__ = function.__doc__
    command.__click_params__ = getattr(function, "__click_params__", [])  # type: ignore[attr-defined]
    wrapped: Callable[..., Any] = command
    for decorator in reversed(decorators):
        wrapped = decorator(wrapped)
    return wrapped


def origin(train: Data, test: Data, *, device: str, seed: int, recipe: str | None, **more: Any) -> dict[str, Any]:
    """Where the tables of a training come from: `tables.provenance` with the images and the recipe's name."""
    from resnet_probe.tables import provenance

    return provenance(
        arguments=options.arguments(), seed=seed, data_fingerprint=train.fingerprint, device=device,
        command=options.command_line(), **more, recipe_name=recipe, data=train.name,
        normalization=train.normalization, classes=len(train.classes), train_images=len(train), measured_on=test.split,
        test_images=len(test),
    )  # fmt: skip


def processes(recipe: Recipe, *, device: str, devices: int, num_nodes: int, accelerator: str) -> Fabric | None:
    """The launched processes of one training, or None for a single one on `device`.

    Raises:
        click.UsageError: as `accelerator_for`.
    """
    from resnet_probe.commands.request import accelerator_for

    kind = accelerator_for(devices, num_nodes, accelerator, device)
    if kind is None:
        return None
    from resnet_probe.training import fabric_for

    fabric = fabric_for(recipe, accelerator=kind, devices=devices, num_nodes=num_nodes)
    fabric.launch()
    return fabric
