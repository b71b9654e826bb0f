"""Training by stochastic gradient descent with momentum, as the papers do it, small and reproducible.

fit              train a network on data -> History
DEMO_RECIPES     settings for `fit` that were measured on the digits
SCHEDULES        how the learning rate goes after the warm-up
pad_crop_flip    the papers' augmentation, for a whole batch on its device
seeded           a block of code with its own random numbers
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from resnet_probe.data import Data

# The factor on the peak learning rate, by the share (0 to 1) of the training after the warm-up that is done.
SCHEDULES: dict[str, Callable[[float], float]] = {
    "constant": lambda done: 1.0,
    "linear": lambda done: 1.0 - done,
    "cosine": lambda done: (1.0 + math.cos(math.pi * done)) / 2,
}

_DIGITS: dict[str, Any] = {
    "epochs": 30, "learning_rate": 0.1, "batch_size": 64, "nesterov": True, "weight_decay": 5e-4, "warmup": 0.2,
    "pad": 1,
}  # fmt: skip
# Test error on the digits (355 images), mean +- standard deviation over seeds, and the worst; one core of two (x86):
DEMO_RECIPES: dict[str, dict[str, Any]] = {
    "resnet20": _DIGITS,  # 0.63 +- 0.25 %, worst 1.13 % (n = 8), 11 s
    "resnet32": _DIGITS,  # 0.85 +- 0.31 %, worst 1.13 % (n = 6), 17 s
    "resnet56": _DIGITS | {"learning_rate": 0.05},  # 0.80 +- 0.33 %, worst 1.41 % (n = 6), 35 s; 0.1 is less reliable
    "vgg11-w16": _DIGITS,  # 1.06 +- 0.42 %, worst 1.69 % (n = 8), 6 s
    "vgg16-w16": _DIGITS,  # 0.99 +- 0.54 %, worst 1.97 % (n = 8), 9 s
}


class TrainingError(ValueError):
    """A training that cannot begin, or that diverged; the message is one line."""


@dataclass(frozen=True)
class Progress:
    """Where a training stands: sent before the first step, and after every step.

    step of steps: optimiser steps taken; epoch of epochs: passes over the data finished; last: the newest finished
    epoch; seconds: since the beginning.
    """

    step: int
    steps: int
    epoch: int
    epochs: int
    last: Epoch | None
    seconds: float


@dataclass(frozen=True)
class Epoch:
    """One pass over the training data.

    epoch: counted from 1. loss: mean cross-entropy. error: in percent. Both are over the augmented images as they came
    by, in training mode, while the weights changed. learning_rate: of the last step. seconds: of this pass.
    """

    epoch: int
    loss: float
    error: float
    learning_rate: float
    seconds: float


@dataclass(frozen=True)
class History:
    """What a training did: one row per epoch, and the settings that lead to the same weights again."""

    rows: tuple[Epoch, ...]
    settings: dict[str, Any]


def fit(
    model: nn.Module,
    train: Data,
    *,
    epochs: int,
    learning_rate: float,
    batch_size: int = 128,
    momentum: float = 0.9,
    nesterov: bool = False,
    weight_decay: float = 1e-4,
    warmup: float = 0.0,
    schedule: str = "cosine",
    pad: int = 0,
    flip: bool = False,
    label_smoothing: float = 0.0,
    seed: int = 0,
    device: torch.device | str = "cpu",
    progress: Callable[[Progress], None] | None = None,
) -> History:
    """Train `model` on `train`, in place; return one row per epoch.

    learning_rate: at its peak. It rises linearly over the first `warmup` (0 to 1) of all steps, then follows
        `schedule`, a name from SCHEDULES.
    batch_size: at most this many images per step. Each epoch is a new order of all images, cut into the fewest
        batches, whose sizes differ by at most one: no image is left out, and no batch is a small rest.
    weight_decay: on all parameters, as in the paper.
    pad, flip: augmentation, see `pad_crop_flip`.
    seed: of the order, the augmentation and random layers. On a CPU the same seed, weights, settings and number of
        threads give the same weights bit for bit.
    device: where the model is moved to, and trained.
    progress: called before the first step and after every step. The network's state is not to be changed there.

    The global random state and every module's training mode are as before when this returns or raises; no gradients
    remain. Raises TrainingError for settings or data that cannot be trained on, and where the loss is no longer a
    finite number at the end of an epoch.

    Source: He et al. 2015, section 4.2. Deviations: the papers divide the learning rate by 10 at fixed iterations,
    and subtract each pixel's mean instead of each channel's.

    >>> import torch, resnet_probe.data as data
    >>> network = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 10))
    >>> history = fit(network, data.load_data("digits", split="train"), epochs=2, learning_rate=0.1)
    >>> [row.epoch for row in history.rows]
    [1, 2]
    """
    settings = {
        "epochs": epochs, "learning_rate": learning_rate, "batch_size": batch_size, "momentum": momentum,
        "nesterov": nesterov, "weight_decay": weight_decay, "warmup": warmup, "schedule": schedule, "pad": pad,
        "flip": flip, "label_smoothing": label_smoothing, "seed": seed,
    }  # fmt: skip
    _check(model, train, settings)
    data = train.to(device)
    model.to(device)
    optimizer = torch.optim.SGD(
        model.parameters(), lr=learning_rate, momentum=momentum, weight_decay=weight_decay, nesterov=nesterov
    )
    steps = epochs * steps_per_epoch(len(data), batch_size)
    begin = time.perf_counter()
    rows: list[Epoch] = []
    step = 0

    def report() -> None:
        if progress is not None:
            last = rows[-1] if rows else None
            progress(Progress(step, steps, len(rows), epochs, last, time.perf_counter() - begin))

    with seeded(seed, device), _trained(model), torch.enable_grad():
        # Drawn on the CPU whatever the device, so that the order and the crops are the same everywhere.
        generator = torch.Generator().manual_seed(seed)
        report()
        for epoch in range(1, epochs + 1):
            start = time.perf_counter()
            sums = torch.zeros(2, device=device)  # of the losses, and of the wrong predictions
            for inputs, labels in shuffled(data, batch_size, pad=pad, flip=flip, generator=generator, device=device):
                rate = learning_rate * rate_factor(step, steps, warmup=warmup, schedule=schedule)
                for group in optimizer.param_groups:
                    group["lr"] = rate
                logits = model(inputs)
                _check_logits(logits, train)
                loss = F.cross_entropy(logits, labels, label_smoothing=label_smoothing)
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                with torch.no_grad():
                    sums += torch.stack([loss * len(labels), (logits.argmax(1) != labels).sum()])
                step += 1
                if step < epoch * steps // epochs:
                    report()
            # The only moment of an epoch when the host waits for the device.
            mean_loss, wrong = (sums / len(data)).tolist()
            if not math.isfinite(mean_loss):
                raise TrainingError(
                    f"the loss is {mean_loss} in epoch {epoch} of {epochs}: the training diverged; try a learning rate "
                    f"below {learning_rate:g}, or a warm-up"
                )
            rows.append(Epoch(epoch, mean_loss, 100 * wrong, rate, time.perf_counter() - start))
            report()
    return History(tuple(rows), settings)


def steps_per_epoch(images: int, batch_size: int) -> int:
    """Return the number of batches of at most `batch_size` that hold `images` images."""
    return -(-images // batch_size)


def shuffled(
    data: Data, batch_size: int, *, pad: int, flip: bool, generator: torch.Generator, device: torch.device | str
) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield every image once in a random order, augmented and normalised, with its label.

    `data` is best on `device` already. The batches' sizes differ by at most one and are at most `batch_size`.
    """
    normalize = data.normalizer(device)
    order = torch.randperm(len(data), generator=generator).to(device)
    for index in order.tensor_split(steps_per_epoch(len(data), batch_size)):
        pixels = pad_crop_flip(data.pixels(index).to(device), pad=pad, flip=flip, generator=generator)
        yield normalize(pixels), data.labels[index]


def rate_factor(step: int, steps: int, *, warmup: float, schedule: str) -> float:
    """Return the factor (above 0, at most 1) on the peak learning rate at `step`, counted from 0, of `steps`."""
    rising = round(warmup * steps)
    if step < rising:
        return (step + 1) / rising
    return SCHEDULES[schedule]((step - rising) / (steps - rising))


def pad_crop_flip(images: Tensor, *, pad: int, flip: bool, generator: torch.Generator) -> Tensor:
    """Return images (N, C, H, W) of the same size, each moved by up to `pad` pixels and, half of them, mirrored.

    Each image is surrounded by `pad` black pixels (0) and a window of the old size is cut out at a place of its own.
    `generator` is a CPU generator; the images may be on any device.

    Source: He et al. 2015, section 4.2 (pad 4, random crop of 32, horizontal flip).
    """
    count, channels, height, width = images.shape
    if pad == 0 and not flip:
        return images
    moves = torch.randint(0, 2 * pad + 1, (2, count, 1), generator=generator)
    mirrored = torch.rand(count, 1, generator=generator) < 0.5 if flip else torch.zeros(count, 1, dtype=torch.bool)
    columns = torch.where(mirrored, torch.arange(width - 1, -1, -1), torch.arange(width))
    rows, columns = (torch.arange(height) + moves[0]).to(images.device), (columns + moves[1]).to(images.device)
    padded = F.pad(images, (pad, pad, pad, pad))
    image = torch.arange(count, device=images.device).view(-1, 1, 1, 1)
    channel = torch.arange(channels, device=images.device).view(1, -1, 1, 1)
    return padded[image, channel, rows.view(count, 1, height, 1), columns.view(count, 1, 1, width)]


@contextmanager
def seeded(seed: int, device: torch.device | str = "cpu") -> Iterator[None]:
    """Seed torch's random numbers, of the CPU and a CUDA `device`, for the block; afterwards they go on as before.

    >>> with seeded(0):
    ...     network = torch.nn.Linear(2, 2)  # the same weights each time
    """
    device = torch.device(device)
    cuda = [] if device.type != "cuda" else [torch.cuda.current_device() if device.index is None else device.index]
    with torch.random.fork_rng(cuda):
        torch.default_generator.manual_seed(seed)  # torch.manual_seed would seed the other devices too
        for index in cuda:
            torch.cuda.default_generators[index].manual_seed(seed)
        yield


@contextmanager
def _trained(model: nn.Module) -> Iterator[None]:
    """Set training mode for the block; afterwards each module has its mode again, and no gradients are left."""
    modes = {module: module.training for module in model.modules()}
    model.train()
    try:
        yield
    finally:
        model.zero_grad()
        for module, mode in modes.items():
            module.training = mode


def _check(model: nn.Module, train: Data, settings: dict[str, Any]) -> None:
    for name in ("epochs", "batch_size"):
        if settings[name] < 1:
            raise TrainingError(f"{name} {settings[name]}: it must be at least 1")
    if not 0 < settings["learning_rate"] < math.inf:
        raise TrainingError(f"learning rate {settings['learning_rate']}: it must be a number above 0")
    if not 0 <= settings["warmup"] < 1:
        raise TrainingError(f"warmup {settings['warmup']}: it is the share of all steps, from 0 to below 1")
    if settings["schedule"] not in SCHEDULES:
        raise TrainingError(f"unknown schedule {settings['schedule']!r}: give one of {', '.join(SCHEDULES)}")
    if len(train) < 2:
        raise TrainingError(f"{len(train)} images to train on: batch normalisation needs at least 2")
    if not any(parameter.requires_grad for parameter in model.parameters()):
        raise TrainingError("the network has no parameters that can be trained")


def _check_logits(logits: Tensor, train: Data) -> None:
    if logits.ndim != 2 or logits.shape[1] != len(train.classes):
        raise TrainingError(
            f"the network's output is {tuple(logits.shape)}, but {train.name} has {len(train.classes)} classes: "
            f"the output must be (images, {len(train.classes)})"
        )
