"""The links of a chain: a unit that can be run whole or in part, and what is run of it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from torch import nn

from .extract import Mode, Piece, runnable
from .operation import parameters_in
from .recording import BATCHES
from .units import Anatomy, UnitPlan

__all__ = ["Step", "Unit"]


@dataclass(frozen=True)
class Step:
    """One link of a chain: which unit stands there, and what is run of it.

    Attributes:
        unit: position of the unit in `UnraveledNetwork.units`.
        mode: `whole`, `shortcut` (the block is deleted), `branch`, or `bypass` (the layer is deleted).
        scale: factor on a block's residual branch.
        factors: of blocks inside the unit, name and factor on the branch, sorted; at 0 the block is deleted.
    """

    unit: int
    mode: Mode = "whole"
    scale: float = 1.0
    factors: tuple[tuple[str, float], ...] = ()


class Unit:
    """A unit that can be run whole, or in part. Made by `unravel`."""

    def __init__(self, plan: UnitPlan, anatomy: Anatomy) -> None:
        self.plan = plan
        self._anatomy = anatomy
        self._modules: dict[Step, nn.Module] = {}

    @property
    def name(self) -> str:
        """Module path, unique in the network."""
        return self.plan.name

    @property
    def kind(self) -> str:
        """`block`, `layer`, `parallel` or `other`."""
        return self.plan.kind

    @property
    def has_identity_shortcut(self) -> bool:
        """Whether deleting the unit leaves nothing to compute."""
        return self.plan.kind == "block" and self.plan.shortcut == "identity"

    @cached_property
    def is_batch_first(self) -> bool:
        """Whether batches can be put one behind the other: first dimension of input and output grow with the batch.

        False inside a transformer that keeps its tokens in the first dimension.
        """
        traced = self._anatomy.traced
        small, large = (
            [(traced.shape(node, batch) or (1,))[0] for node in (self.plan.entry, self.plan.exit)] for batch in (0, 1)
        )
        return all(a * BATCHES[1] == b * BATCHES[0] for a, b in zip(small, large, strict=True))

    @property
    def parameters(self) -> int:
        """Number of learned values in the unit."""
        if self.plan.inside:
            return sum(p.numel() for p in parameters_in(self.plan.nodes))
        return sum(p.numel() for p in self.module().parameters())

    def module(
        self, mode: Mode = "whole", scale: float = 1.0, factors: tuple[tuple[str, float], ...] = ()
    ) -> nn.Module:
        """The unit, or a part of it, as a module of one tensor. It shares the model's weights.

        Args:
            mode, scale, factors: as in `Step`.

        Raises:
            ValueError: there is no such part, or a block inside a unit reads more than one value.
        """
        key = Step(0, mode, scale, factors)
        if key not in self._modules:
            piece = Piece(self.plan, mode, scale, dict(factors))
            self._modules[key] = runnable(self._anatomy.traced, [piece], "Unit")
        return self._modules[key]

    def __repr__(self) -> str:
        return f"Unit({self.name!r}, {self.kind}, {self.plan.in_shape} -> {self.plan.out_shape})"
