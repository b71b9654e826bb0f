"""One forward pass recorded unit by unit, and vectors pulled back through the parts of each unit.

    tape = record(network, images)
    tape.pull(link, "branch", vectors)      # F^T g for each of the vectors g at the unit's output

Every link of the chain keeps the graph of its own shortcut and branch (or of the whole unit), cut off from the others
at the trunk points, so that what reaches a trunk point can be sent on through either part.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn

from resnet_probe.gradients.statistics import BatchNorm, with_batch_norm
from resnet_probe.unraveled import Step, Unit, UnraveledNetwork

Part = Literal["whole", "shortcut", "branch"]


@dataclass(frozen=True)
class Link:
    """One step of the chain as it was run.

    Attributes:
        unit: the unit that stands there.
        entry: value before the step, `(N * w, ...)` with w = 1 unless the network cuts images into windows.
        parts: the value each part yielded from `entry`: "shortcut" and "branch" of a block, "whole" of anything else.
            A part that passes its input on unchanged has None.
        weights: the unit's parameters by the model's names, as leaves of the graph; empty unless asked for.
    """

    unit: Unit
    entry: Tensor
    parts: dict[Part, Tensor | None]
    weights: dict[str, Tensor]

    @property
    def is_block(self) -> bool:
        """Whether paths divide here."""
        return "branch" in self.parts


@dataclass(frozen=True)
class Tape:
    """A recorded forward pass.

    Attributes:
        links: the steps of the chain, from the input.
        output: what the network yields, `(N, classes)`.
        images: N.
        stack: how many images' vectors are pulled back in one call, at least one vector.
    """

    links: tuple[Link, ...]
    output: Tensor
    images: int
    stack: int

    @property
    def blocks(self) -> int:
        """Number of links where paths divide."""
        return sum(link.is_block for link in self.links)

    def pull(self, link: Link, part: Part, vectors: Sequence[Tensor]) -> list[Tensor]:
        """Multiply vectors at the unit's output by the part's transposed Jacobian.

        Args:
            link: of this tape.
            part: "shortcut" or "branch" of a block, else "whole".
            vectors: each of the unit's output shape.

        Returns:
            As many vectors of the entry's shape.
        """
        value = link.parts[part]
        if value is None:
            return list(vectors)
        pulled = (found[0] for found in self.derivatives(value, [link.entry], vectors))
        return [torch.zeros_like(link.entry) if found is None else found for found in pulled]

    def derivatives(
        self, value: Tensor, inputs: Sequence[Tensor], vectors: Sequence[Tensor]
    ) -> Iterator[list[Tensor | None]]:
        """Products of each vector with the Jacobian of `value` by each input; None where there is no dependence."""
        together = max(1, self.stack // self.images)
        for start in range(0, len(vectors), together):
            some = vectors[start : start + together]
            yield from _products(value, inputs, some)


def record(
    network: UnraveledNetwork,
    images: Tensor,
    *,
    batch_norm: BatchNorm = "eval",
    stack: int = 32,
    parameters: bool = False,
) -> Tape:
    """Run the chain on a batch and keep, for each unit, what is needed to go back through its parts.

    Args:
        network: the chain; deleted blocks and scaled branches count as they stand.
        images: `(N, C, H, W)`, in the network's type and on its device.
        batch_norm: "eval", or "train" for the batch's own statistics.
        stack: images' worth of vectors to pull back in one call; small stacks stay in a processor's cache.
        parameters: whether derivatives by the units' parameters are wanted too.

    Raises:
        LookupError: an unknown batch norm mode.
    """
    value = images.detach()
    links = []
    for step in network.steps:
        unit = network.units[step.unit]
        entry = value.detach().requires_grad_()
        splits = divides(network, step)
        wanted: tuple[Part, ...] = ("shortcut", "branch") if splits else ("whole",)
        parts: dict[Part, Tensor | None] = {}
        weights: dict[str, Tensor] = {}
        for part in wanted:
            passes_on = unit.has_identity_shortcut if part == "shortcut" else network.is_identity(step)
            module = None if passes_on else with_batch_norm(_module(unit, step, part), batch_norm)
            parts[part] = None if module is None else _run(module, entry, weights, learned=parameters)
        links.append(Link(unit, entry, parts, weights if parameters else {}))
        found = [entry if part is None else part for part in parts.values()]
        value = (found[0] + found[1] if splits else found[0]).detach()
    return Tape(tuple(links), value, len(images), stack)


def divides(network: UnraveledNetwork, step: Step) -> bool:
    """Whether paths part at a step: at a residual block that is whole."""
    return step.mode == "whole" and network.units[step.unit] in network.blocks


def longest_path(network: UnraveledNetwork) -> int:
    """Residual branches on the longest path of a chain: its blocks, without those that were deleted."""
    return sum(divides(network, step) for step in network.steps)


def _module(unit: Unit, step: Step, part: Part) -> nn.Module:
    if part == "whole":
        return unit.module(step.mode, step.scale, step.factors)
    return unit.module(part, step.scale if part == "branch" else 1.0)


def _run(module: nn.Module, entry: Tensor, weights: dict[str, Tensor], *, learned: bool) -> Tensor:
    """The module's value with its graph; unless `learned`, its weights are constants, which saves memory and time.

    Leaves that stand for the weights are added to `weights`, so that two parts of a unit share them.
    """
    own = {
        name: weights.setdefault(name, value.detach().requires_grad_(learned))
        for name, value in module.named_parameters()
    }
    with torch.enable_grad():
        return torch.func.functional_call(module, own, (entry,))  # type: ignore[no-any-return]


def _products(value: Tensor, inputs: Sequence[Tensor], vectors: Sequence[Tensor]) -> list[list[Tensor | None]]:
    """Per vector the products with each input's Jacobian, in one call of autograd."""
    if not value.requires_grad:
        return [[None for _ in inputs] for _ in vectors]
    options: dict[str, Any] = {"retain_graph": True, "allow_unused": True}
    if len(vectors) == 1:  # needs no batching rule
        return [list(torch.autograd.grad(value, inputs, vectors[0], **options))]
    with warnings.catch_warnings():  # operations without a batching rule fall back to a loop, and say so
        warnings.filterwarnings("ignore", message=".*(batching rule|vmap).*", category=UserWarning)
        stacked = torch.autograd.grad(value, inputs, torch.stack(list(vectors)), is_grads_batched=True, **options)
    return [[None if found is None else found[number] for found in stacked] for number in range(len(vectors))]
