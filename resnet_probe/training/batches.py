"""Every image once per epoch, in a new order, augmented and normalised, shared among processes, from any position.

Batches of one optimiser step are cut into parts (gradient accumulation), and parts among processes. Sizes differ by at
most one: no image is left out, padded or seen twice, and no batch is a small rest. All processes draw the same random
numbers, so together they see what one process sees.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from resnet_probe.data import Data
from resnet_probe.data.dataset import send
from resnet_probe.training.augment import Moves
from resnet_probe.training.objectives import Objective

if TYPE_CHECKING:
    from resnet_probe.training.recipe import Recipe

MOST_WORKERS = 8


def steps_per_epoch(images: int, batch_size: int) -> int:
    """Return the number of batches of at most `batch_size` that hold `images` images."""
    return -(-images // batch_size)


@dataclass(frozen=True)
class Part:
    """What one process computes at a time.

    inputs: normalised images (n, C, H, W). labels: (n,). Of other tasks they are what the objective makes of a batch.
    of_step: images of the whole step, in all its parts.
    """

    inputs: Any
    labels: Any
    of_step: int


class Batches:
    """The batches of a training, epoch after epoch.

    Args:
        data: images in memory, best on `device` already, or files.
        recipe: batch_size, accumulate, pad, flip, resized_crop and seed are used.
        device: where the batches are wanted.
        rank, world: the number of this process, and of all.
        workers: processes that decode and augment images for `resized_crop`.
        objective: what a batch is; classification's by default.

    Attributes:
        per_epoch: optimiser steps of one pass.
        position: steps of the current epoch that have been taken from it.
    """

    def __init__(
        self,
        data: Data,
        recipe: Recipe,
        *,
        device: torch.device | str = "cpu",
        rank: int = 0,
        world: int = 1,
        workers: int | None = None,
        objective: Objective | None = None,
    ) -> None:
        self.objective = Objective() if objective is None else objective
        self.data, self.recipe, self.device = data, recipe, torch.device(device)
        self.rank, self.world = rank, world
        self.per_epoch = steps_per_epoch(len(data), recipe.batch_size)
        self.position = 0
        self._workers = max(1, min(MOST_WORKERS, (os.cpu_count() or 1) // world)) if workers is None else workers
        # Drawn on the CPU whatever the device, so that the order and the crops are the same everywhere.
        self._generator = torch.Generator().manual_seed(recipe.seed)
        self._at_start = self._generator.get_state()

    def epoch(self) -> Iterator[list[Part]]:
        """Yield the parts of each step that is left of the current epoch; then a new epoch begins."""
        if self.position == self.per_epoch:
            self._next_epoch()
        resumed = self._generator.get_state() if self.position else None
        self._generator.set_state(self._at_start)
        order = torch.randperm(len(self.data), generator=self._generator)
        epoch_seed = int(torch.randint(2**48, (), generator=self._generator)) if self.recipe.resized_crop else 0
        if resumed is not None:
            self._generator.set_state(resumed)
        steps = order.tensor_split(self.per_epoch)[self.position :]
        loaded = self._from_workers(steps, epoch_seed) if self.recipe.resized_crop else self._from_memory(steps)
        for parts in loaded:
            self.position += 1
            yield parts

    def _next_epoch(self) -> None:
        self.position = 0
        self._at_start = self._generator.get_state()

    def state(self) -> dict[str, Any]:
        """What `restore` needs to go on with the next step."""
        if self.position == self.per_epoch:
            self._next_epoch()
        return {"position": self.position, "start": self._at_start, "now": self._generator.get_state()}

    def restore(self, state: dict[str, Any]) -> None:
        """Go on where another object's `state` was taken."""
        self.position, self._at_start = state["position"], state["start"]
        self._generator.set_state(state["now"])

    def _from_memory(self, steps: tuple[Tensor, ...]) -> Iterator[list[Part]]:
        normalize = self.data.normalizer(self.device)
        mine = slice(self.rank, None, self.world)
        for whole in steps:
            parts = []
            for index in whole.tensor_split(self.recipe.accumulate):
                moves = Moves.draw(len(index), pad=self.recipe.pad, flip=self.recipe.flip, generator=self._generator)
                index = send(index[mine], self.data.labels.device)  # noqa: PLW2901
                if moves is not None and self.world > 1:
                    moves = moves.of(mine)
                inputs, labels = self.objective.batch(self.data, index, moves, normalize, self.device)
                parts.append(Part(inputs, labels, len(whole)))
            yield parts

    def _from_workers(self, steps: tuple[Tensor, ...], epoch_seed: int) -> Iterator[list[Part]]:
        from torch.utils.data import DataLoader  # noqa: PLC0415 - only where it is used

        normalize = self.data.normalizer(self.device)
        mine = slice(self.rank, None, self.world)
        wanted = [
            [(i, epoch_seed + i) for i in index[mine].tolist()]
            for whole in steps
            for index in whole.tensor_split(self.recipe.accumulate)
        ]
        loader: Any = DataLoader(
            _Pictures(self.data),  # type: ignore[arg-type]
            batch_sampler=wanted,
            num_workers=self._workers,
            pin_memory=self.device.type == "cuda",
            generator=torch.Generator(),  # it would draw from the global one, once more where an epoch is resumed
        )
        batches = iter(loader)
        for whole in steps:
            parts = []
            for _ in range(self.recipe.accumulate):
                pixels, labels = next(batches)
                pixels = normalize(pixels.to(self.device, non_blocking=True))
                parts.append(Part(pixels, labels.to(self.device, non_blocking=True), len(whole)))
            yield parts


class _Pictures:
    """Images at random places and sizes; each with random numbers of its own, whichever process makes it."""

    def __init__(self, data: Data) -> None:
        from torchvision.transforms import v2  # noqa: PLC0415 - costs a second, and only needed here

        self.data = data
        side = data.input_shape[1:]
        self.transform = v2.Compose([v2.RandomResizedCrop(side, antialias=True), v2.RandomHorizontalFlip()])

    def __len__(self) -> int:
        return len(self.data)

    def __getitem__(self, which: tuple[int, int]) -> tuple[Tensor, int]:
        index, seed = which
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(seed)
            return self.transform(self.data.original(index)), int(self.data.labels[index])
