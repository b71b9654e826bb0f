"""How long a batch takes: forward, and forward plus backward.

time_steps      both, mean and deviation over batches
time_forward    forward alone, the median of as many batches as fit into a given time

Forward: evaluation mode, no gradients. Forward plus backward: training mode, cross-entropy with random labels,
gradients of all parameters; no optimiser step. The inputs are random numbers that are on the device before the clock
starts. On a GPU the clock is read after a synchronisation, so that the work is over and not merely queued.
"""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass
from statistics import mean, median, stdev
from time import perf_counter
from typing import Any

import torch
from torch import Tensor, nn

from resnet_probe.tasks import CLASSIFICATION

WARM_UP = 10


@dataclass(frozen=True)
class Times:
    """Milliseconds per batch: the mean and the sample standard deviation over batches."""

    mean_ms: float
    std_ms: float


@dataclass(frozen=True)
class Timing:
    """Times of forward, and of forward plus backward, for batches of one size."""

    batch_size: int
    forward: Times
    both: Times


def time_steps(
    model: nn.Module,
    shape: tuple[int, ...],
    *,
    batch_size: int,
    classes: int,
    batches: int,
    warm_up: int = WARM_UP,
    device: str = "cpu",
    seed: int = 0,
    progress: Callable[[int, int], None] | None = None,
) -> Timing:
    """Time a network on `batches` batches, after `warm_up` that do not count.

    The model is copied, so its weights, modes and running statistics stay as they are.

    Args:
        shape: `(C, H, W)` of one image.
        classes: number of labels to draw from.
        batches: at least 2.
        warm_up: batches before the first that counts, of each kind.

    Raises:
        ValueError: fewer than 2 batches, or the network cannot train on batches of this size.
    """
    if batches < 2:
        raise ValueError(f"{batches} timed batches have no standard deviation; give 2 or more")
    done, total = 0, 2 * (warm_up + batches)
    with torch.random.fork_rng(devices=generators(device)):
        torch.manual_seed(seed)
        copy = deepcopy(model).to(device)
        images, labels = example(shape, batch_size, classes, device)

        def timed(train: bool) -> Times:
            nonlocal done
            copy.train(train)
            taken = []
            for number in range(-warm_up, batches):
                copy.zero_grad(set_to_none=True)
                milliseconds = _milliseconds(copy, images, labels if train else None)
                if number >= 0:
                    taken.append(milliseconds)
                done += 1
                if progress:
                    progress(done, total)
            return Times(mean(taken), stdev(taken))

        return Timing(batch_size, timed(False), timed(True))


def time_forward(
    model: nn.Module, shape: tuple[int, ...], *, batch_size: int, seconds: float, device: str = "cpu"
) -> float:
    """Milliseconds that one image takes in a batch of this size: the median over batches after the first.

    Args:
        model: in evaluation mode, on the device.
        shape: `(C, H, W)` of one image.
        seconds: how long to measure; two batches at least.
    """
    with torch.random.fork_rng(devices=generators(device)):
        images, _ = example(shape, batch_size, 1, device)
    taken: list[float] = []
    while len(taken) < 2 or sum(taken) < 1000 * seconds:
        taken.append(_milliseconds(model, images, None))
    return median(taken[1:]) / batch_size


def example(shape: tuple[int, ...], batch_size: int, classes: int, device: str) -> tuple[Tensor, Tensor]:
    """Random images `(N, C, H, W)` and labels `(N,)` on the device, from torch's global generator."""
    return torch.randn((batch_size, *shape)).to(device), torch.randint(classes, (batch_size,)).to(device)


def step(model: nn.Module, images: Tensor, labels: Tensor | None) -> None:
    """One forward pass; with labels, also the loss and one backward pass.

    Raises:
        ValueError: the network cannot train on a batch of this size.
    """
    if labels is None:
        with torch.inference_mode():
            model(images)
        return
    try:
        scores = _scores(model(images))
    except ValueError as error:  # batch norm, on one value per channel
        raise ValueError(
            f"{type(model).__name__} cannot train on batches of {len(images)} ({error}); give a larger batch size"
        ) from error
    CLASSIFICATION.total_loss(scores, labels).backward()  # type: ignore[no-untyped-call]


def _scores(output: Any) -> Tensor:
    """The class scores: in training some networks put those of auxiliary heads behind them."""
    while not isinstance(output, torch.Tensor):
        output = next(iter(output.values() if isinstance(output, dict) else output))
    return output


def _milliseconds(model: nn.Module, images: Tensor, labels: Tensor | None) -> float:
    _wait()
    start = perf_counter()
    step(model, images, labels)
    _wait()
    return 1000 * (perf_counter() - start)


def _wait() -> None:
    if torch.accelerator.is_available():
        torch.accelerator.synchronize()


def generators(device: str) -> list[str]:
    """Devices whose random state `fork_rng` has to keep, besides the CPU's."""
    return [device] if device.startswith("cuda") else []
