"""How a network is trained: every value by name, and the recipes of the papers.

Recipe       all values of one training, checked
RECIPES      the papers' values, ours for the digits, and where each comes from
recipe_for   a recipe by name, for a network, with values of one's own
idle         values of one's own that a recipe does not use
rate_factor  the learning rate at every step, as a factor on its peak
"""

from __future__ import annotations

import difflib
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

OPTIMIZERS = ("sgd", "adam", "adamw")
PRECISIONS = {"fp32": "32-true", "bf16": "bf16-mixed", "fp16": "16-mixed"}  # ours -> Lightning Fabric's
STYLES = {
    "normal": "all blocks, always",
    "stochastic-depth": "each block is left out of a mini-batch with a probability that grows with depth",
    "effective-paths": "a fixed number of blocks, drawn anew, takes part in each mini-batch",
}

# The factor on the peak learning rate, by the share (0 to 1) of the training after the warm-up that is done.
SCHEDULES: dict[str, Callable[[float], float]] = {
    "constant": lambda done: 1.0,
    "linear": lambda done: 1.0 - done,
    "cosine": lambda done: (1.0 + math.cos(math.pi * done)) / 2,
    "steps": lambda done: 1.0,  # divided at milestones, see `rate_factor`
}


class TrainingError(ValueError):
    """A training that cannot begin, cannot go on, or diverged; the message is one line."""


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """All values of one training.

    epochs or iterations: how long, in passes over the images or in optimiser steps; one of the two.
    learning_rate: at its peak.
    batch_size: images of one optimiser step, over all processes; at most, see `resnet_probe.training.batches`.
    accumulate: parts that a batch is computed in, one after another, to save memory.
    optimizer: `sgd` (with momentum, nesterov), `adam` or `adamw`. weight_decay: on all parameters, as in the papers.
    schedule: a name of SCHEDULES. milestones: for `steps`, where the rate is divided by `divisor`, in the unit of the
        length (iterations, or epochs).
    warmup: below 1 a share of all steps, from 1 on a number of them. The rate rises linearly over them, or stays at
        `warmup_rate` if that is given.
    warmup_error: train with `warmup_rate` until the training error of the last 50 steps is below this, in percent.
    label_smoothing: 0 to below 1.
    pad, flip: augmentation of images in memory, see `pad_crop_flip`. resized_crop: a random part of the image, of
        random size, and a flip, as is usual for ImageNet; in place of pad and flip.
    style: a key of STYLES. survival: of stochastic depth, the probability that the last block takes part. kept: of
        effective paths, the number of blocks that take part. rescale: whether branches are scaled at test time by
        their probability to take part.
    precision: `fp32`; `bf16` or `fp16` compute in mixed precision.
    seed: of the order, the augmentation, the style and random layers.

    Raises TrainingError for values that cannot be trained with.
    """

    epochs: float | None = None
    iterations: int | None = None
    learning_rate: float
    batch_size: int = 128
    accumulate: int = 1
    optimizer: str = "sgd"
    momentum: float = 0.9
    nesterov: bool = False
    weight_decay: float = 1e-4
    schedule: str = "cosine"
    milestones: tuple[float, ...] = ()
    divisor: float = 10.0
    warmup: float = 0.0
    warmup_rate: float | None = None
    warmup_error: float | None = None
    label_smoothing: float = 0.0
    pad: int = 0
    flip: bool = False
    resized_crop: bool = False
    style: str = "normal"
    survival: float = 0.5
    kept: int | None = None
    rescale: bool = True
    precision: str = "fp32"
    seed: int = 0

    def __post_init__(self) -> None:
        object.__setattr__(self, "milestones", tuple(self.milestones))
        _check(self)

    def steps(self, per_epoch: int) -> int:
        """All optimiser steps, where a pass over the images has `per_epoch`."""
        if self.iterations is not None:
            return self.iterations
        assert self.epochs is not None
        return max(1, round(self.epochs * per_epoch))

    def rate(self, step: int, per_epoch: int) -> float:
        """The learning rate at `step`, counted from 0, apart from a warm-up that depends on the training error."""
        steps = self.steps(per_epoch)
        rising = self.warmup_steps(steps)
        if self.warmup_rate is not None and self.warmup_error is None:
            if step < rising:
                return self.warmup_rate
            rising = 0
        unit = 1 if self.iterations is not None else per_epoch
        return self.learning_rate * rate_factor(
            step,
            steps,
            rising=rising if self.warmup_rate is None else 0,
            schedule=self.schedule,
            milestones=[round(at * unit) for at in self.milestones],
            divisor=self.divisor,
        )

    def warmup_steps(self, steps: int) -> int:
        """Steps of the warm-up, out of `steps`."""
        return round(self.warmup * steps) if self.warmup < 1 else min(round(self.warmup), steps - 1)


# Values with a source; everything else is the default of Recipe.
_CIFAR: dict[str, Any] = {  # He et al. 2015, section 4.2, "CIFAR-10 and Analysis"
    "iterations": 64_000, "schedule": "steps", "milestones": (32_000, 48_000), "learning_rate": 0.1,
    "batch_size": 128, "momentum": 0.9, "weight_decay": 1e-4, "pad": 4, "flip": True,
}  # fmt: skip
_DIGITS: dict[str, Any] = {  # ours, measured: see DEMO_RECIPES
    "epochs": 30, "learning_rate": 0.1, "batch_size": 64, "nesterov": True, "weight_decay": 5e-4, "warmup": 0.2,
    "pad": 1,
}  # fmt: skip
RECIPES: dict[str, dict[str, Any]] = {
    "he2015": _CIFAR,  # from 110 layers on with a warm-up, see recipe_for
    # He et al. 2016, appendix: as 2015, and 0.01 in the first 400 iterations for all networks.
    "he2016": _CIFAR | {"warmup": 400, "warmup_rate": 0.01},
    # Veit et al. 2016, section 4: a pre-activation ResNet-110; the paper gives no values of its own.
    "veit2016": _CIFAR | {"warmup": 400, "warmup_rate": 0.01},
    # Ours: few epochs at a high rate that falls linearly to 0, in bf16. Its accuracy is in docs/training.md.
    "fast": {
        "epochs": 15, "schedule": "linear", "learning_rate": 0.2, "batch_size": 128, "nesterov": True,
        "weight_decay": 5e-4, "warmup": 0.2, "pad": 4, "flip": True, "precision": "bf16",
    },
    # What tutorials do: Adam at the rate of its paper (Kingma and Ba 2015, algorithm 1), which never falls.
    "adam": {
        "epochs": 30, "optimizer": "adam", "schedule": "constant", "learning_rate": 1e-3, "batch_size": 128,
        "weight_decay": 0.0, "pad": 4, "flip": True,
    },
    # torchvision's references/classification/train.py by its defaults on eight GPUs, for images of many sizes.
    "imagenet": {
        "epochs": 90, "schedule": "steps", "milestones": (30, 60), "learning_rate": 0.1, "batch_size": 256,
        "momentum": 0.9, "weight_decay": 1e-4, "resized_crop": True,
    },
    "digits": _DIGITS,
    # Ours, for networks trained from nothing on small images. Detection is torchvision's references/detection with few
    # epochs and a cosine; with SGD the few pixels of objects move a segmentation slowly (docs/training.md).
    "detection": {"epochs": 10, "learning_rate": 0.03, "batch_size": 8, "weight_decay": 1e-4, "warmup": 0.1},
    "segmentation": {
        "epochs": 10, "optimizer": "adamw", "learning_rate": 3e-3, "batch_size": 8, "weight_decay": 0.01, "warmup": 0.1,
    },
    # Ours, for a small transformer from nothing: AdamW, as GPT-2's successors have it.
    "language": {
        "epochs": 4, "optimizer": "adamw", "learning_rate": 2e-3, "batch_size": 16, "weight_decay": 0.01, "warmup": 0.1,
    },
}  # fmt: skip
WARMUP_FROM_DEPTH = 110  # He et al. 2015, section 4.2: 0.01 until the training error is below 80 %
_LONG_WARMUP: dict[str, Any] = {"warmup_rate": 0.01, "warmup_error": 80.0}

# Test error on the digits (355 images), mean +- standard deviation over seeds, and the worst; one core of two (x86):
DEMO_RECIPES: dict[str, dict[str, Any]] = {
    "resnet20": _DIGITS,  # 0.60 +- 0.41 %, worst 1.41 % (n = 8), 11 s
    "resnet32": _DIGITS,  # 0.70 +- 0.34 %, worst 1.41 % (n = 8), 17 s
    "resnet56": _DIGITS | {"learning_rate": 0.05},  # 0.80 +- 0.33 %, worst 1.41 % (n = 6), 35 s; 0.1 is less reliable
    "vgg11-w16": _DIGITS,  # 1.09 +- 0.28 %, worst 1.41 % (n = 8), 6 s
    "vgg16-w16": _DIGITS,  # 0.95 +- 0.21 %, worst 1.13 % (n = 8), 9 s
}


def recipe_for(name: str, *, depth: int | None = None, **values: Any) -> Recipe:
    """The recipe `name` of RECIPES, with `values` in place of its own.

    depth: of the network in layers; `he2015` warms up from 110 layers on, as the paper does.

    Another length (`epochs`, `iterations`) moves the milestones and the warm-up with it, unless they are given too.

    Raises TrainingError for an unknown recipe or value.

    Examples:
        >>> recipe_for("he2015", epochs=20).milestones
        (10.0, 15.0)
    """
    if name not in RECIPES:
        raise TrainingError(f"unknown recipe {name!r}: give one of {', '.join(RECIPES)}{_hint(name, RECIPES)}")
    known = {field.name for field in fields(Recipe)}
    if unknown := [value for value in values if value not in known]:
        raise TrainingError(f"a recipe has no {unknown[0]!r}: it has {', '.join(sorted(known))}")
    base = dict(RECIPES[name])
    if name == "he2015" and depth is not None and depth >= WARMUP_FROM_DEPTH:
        base |= _LONG_WARMUP
    lengths = [key for key in ("epochs", "iterations") if values.get(key) is not None]
    if lengths:
        whole = base.pop("iterations", None) or base.pop("epochs", None)
        base.pop("epochs", None)
        factor = values[lengths[0]] / whole
        base["milestones"] = tuple(at * factor for at in base.get("milestones", ()))
        if base.get("warmup", 0) >= 1:
            base["warmup"] /= whole  # the same share of the steps
    return Recipe(**(base | values))


def idle(recipe: Recipe, given: Mapping[str, Any]) -> dict[str, str]:
    """Which of the values given have no effect in the recipe, each with what would use it.

    Examples:
        >>> idle(recipe_for("adam", momentum=0.5), {"momentum": 0.5})
        {'momentum': 'the optimizer sgd'}
    """
    warms_up = recipe.warmup > 0 or recipe.warmup_error is not None
    users = {
        "survival": (recipe.style == "stochastic-depth", "the style stochastic-depth"),
        "kept": (recipe.style == "effective-paths", "the style effective-paths"),
        "rescale": (recipe.style != "normal", "the style stochastic-depth or effective-paths"),
        "milestones": (recipe.schedule == "steps", "the schedule steps"),
        "divisor": (recipe.schedule == "steps", "the schedule steps"),
        "momentum": (recipe.optimizer == "sgd", "the optimizer sgd"),
        "nesterov": (recipe.optimizer == "sgd", "the optimizer sgd"),
        "warmup_rate": (warms_up, "a warmup or a warmup error"),
        "pad": (not recipe.resized_crop, "a recipe without resized crops"),
        "flip": (not recipe.resized_crop, "a recipe without resized crops"),
    }
    return {name: user for name, (used, user) in users.items() if name in given and not used}


def rate_factor(
    step: int, steps: int, *, rising: int, schedule: str, milestones: Sequence[int] = (), divisor: float = 10.0
) -> float:
    """Return the factor (above 0, at most 1) on the peak learning rate at `step`, counted from 0, of `steps`.

    rising: steps over which the rate rises linearly from near 0 to its peak; then `schedule`, a name of SCHEDULES,
        goes over the steps that are left.
    milestones: with the schedule `steps`, from each of these steps on the rate is `divisor` times smaller.

    Examples:
        >>> [rate_factor(step, 100, rising=0, schedule="steps", milestones=(32, 48)) for step in (31, 32, 48)]
        [1.0, 0.1, 0.01]
    """
    if step < rising:
        return (step + 1) / rising
    factor = SCHEDULES[schedule]((step - rising) / (steps - rising))
    return factor / divisor ** sum(step >= at for at in milestones) if schedule == "steps" else factor


def _hint(name: str, known: Mapping[str, object]) -> str:
    close = difflib.get_close_matches(name, known, n=1)
    return f"; did you mean {close[0]!r}?" if close else ""


def _check(recipe: Recipe) -> None:  # noqa: PLR0912 - one line for each value
    if (recipe.epochs is None) == (recipe.iterations is None):
        raise TrainingError("give the length of the training as epochs or as iterations, one of the two")
    for name in ("epochs", "iterations", "batch_size", "accumulate"):
        value = getattr(recipe, name)
        if value is not None and not (value > 0 if name == "epochs" else value >= 1):
            raise TrainingError(f"{name} {value}: it must be {'above 0' if name == 'epochs' else 'at least 1'}")
    for name in ("learning_rate", "warmup_rate", "divisor"):
        value = getattr(recipe, name)
        if value is not None and not 0 < value < math.inf:
            raise TrainingError(f"{name.replace('_', ' ')} {value}: it must be a number above 0")
    if not 0 <= recipe.warmup < math.inf:
        raise TrainingError(f"warmup {recipe.warmup}: it is a share of all steps below 1, or a number of steps")
    if recipe.warmup_error is not None and (recipe.warmup_rate is None or not 0 < recipe.warmup_error <= 100):
        raise TrainingError(
            f"warmup_error {recipe.warmup_error}: it is a training error in percent, and needs a warmup_rate"
        )
    if not 0 <= recipe.label_smoothing < 1:
        raise TrainingError(f"label_smoothing {recipe.label_smoothing}: it must be from 0 to below 1")
    for name in ("momentum", "weight_decay", "pad"):
        if not 0 <= getattr(recipe, name) < math.inf:
            raise TrainingError(f"{name} {getattr(recipe, name)}: it must be 0 or more")
    if recipe.nesterov and recipe.optimizer == "sgd" and recipe.momentum == 0:
        raise TrainingError("nesterov needs a momentum above 0")
    if not 0 < recipe.survival <= 1:
        raise TrainingError(f"survival {recipe.survival}: it is a probability above 0 and at most 1")
    if recipe.kept is not None and recipe.kept < 0:
        raise TrainingError(f"kept {recipe.kept}: it is a number of blocks, 0 or more")
    for name, allowed in (
        ("schedule", SCHEDULES), ("optimizer", OPTIMIZERS), ("style", STYLES), ("precision", PRECISIONS),
    ):  # fmt: skip
        value = getattr(recipe, name)
        if value not in allowed:
            raise TrainingError(f"unknown {name} {value!r}: give one of {', '.join(allowed)}")
    if recipe.milestones and recipe.schedule != "steps":
        object.__setattr__(recipe, "milestones", ())  # they say nothing about other schedules
