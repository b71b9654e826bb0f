"""The certificate of an unraveled network: what was checked numerically, on one batch."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from resnet_probe.float32 import full_float32

from .extract import Mode, values_in
from .tracing import Traced
from .units import UnitPlan

__all__ = ["Certificate", "certify", "tensors_in"]


@dataclass(frozen=True)
class Certificate:
    """What was checked numerically when the network was unraveled.

    Attributes:
        chain_error: largest difference between chain and model, relative to the largest output of the model.
        block_errors: per block, the largest difference between the block and shortcut + branch, likewise relative.
        tolerance: differences up to this count as equal.
    """

    chain_error: float
    block_errors: Mapping[str, float]
    tolerance: float

    @property
    def failed(self) -> tuple[str, ...]:
        """Blocks that are not the sum of shortcut and branch; they are not offered for surgery."""
        return tuple(name for name, error in self.block_errors.items() if not error <= self.tolerance)


class Runs(Protocol):
    """A unit that can be run whole, or in part."""

    plan: UnitPlan

    @property
    def name(self) -> str: ...

    @property
    def has_identity_shortcut(self) -> bool: ...

    def module(self, mode: Mode = "whole") -> nn.Module: ...


@full_float32()
def certify(units: Sequence[Runs], traced: Traced, model: nn.Module, x: Tensor, *, tolerance: float) -> Certificate:
    """Check on a batch that chain = model and that each block = shortcut + branch.

    A very deep untrained network can overflow on the way; values that are not finite count as equal where chain and
    model agree on them, and a block that would get such values is checked on random ones.

    Args:
        units: the chain.
        traced: the network that they were found in.
        model: the model as it was given.
        x: inputs `(N, C, H, W)`.
        tolerance: largest relative difference that counts as equal.

    Raises:
        ValueError: the chain does not compute what the model computes.
    """
    with torch.no_grad():
        expected = tensors_in(model(x.clone()))  # a model may write into its input
        errors = {}
        for unit in units:
            whole = unit.module()(x)
            if unit.plan.kind == "block":
                errors[unit.name] = _block_error(unit, x, whole)
            for block in unit.plan.blocks:
                errors[block.name] = _inner_error(traced, unit.plan, block, x)
            x = whole
    if traced.outputs == 1:  # which may stand in several places
        expected = expected[:1]
    chain_error = max(_relative(a, b) for a, b in zip(tensors_in(x), expected, strict=True))
    if not chain_error <= tolerance:
        raise ValueError(
            f"the unraveled network differs from {type(model).__name__} by {chain_error:.2g} (relative), more than "
            f"{tolerance:.0e}: its forward has side effects or randomness that torch.fx cannot see"
        )
    return Certificate(chain_error, errors, tolerance)


def tensors_in(output: Any) -> list[Tensor]:
    """The tensors that a model returns, also where they stand in tuples and dicts."""
    if isinstance(output, Mapping):
        output = tuple(output.values())
    if isinstance(output, (tuple, list)):
        return [tensor for value in output for tensor in tensors_in(value)]
    return [output] if isinstance(output, Tensor) else []


def _inner_error(traced: Traced, plan: UnitPlan, block: UnitPlan, x: Tensor) -> float:
    """Largest relative difference between a block inside a unit and shortcut + branch, on what reaches it."""
    region = block.regions[0]
    assert region.shortcut is not None
    whole, shortcut, *branch = values_in(traced, plan, (block.exit, region.shortcut, *region.branch), x)
    return _relative(shortcut + sum(branch[1:], branch[0]), whole)


def _block_error(unit: Runs, x: Tensor, whole: Tensor) -> float:
    """Largest relative difference between the block and shortcut + branch."""
    if not x.isfinite().all():
        x = torch.randn(x.shape, generator=torch.Generator().manual_seed(0)).to(x)
        whole = unit.module()(x)
    shortcut = x if unit.has_identity_shortcut else unit.module("shortcut")(x)
    return _relative(shortcut + unit.module("branch")(x), whole)


def _relative(got: Tensor, expected: Tensor) -> float:
    """Largest difference over the largest magnitude; infinite for another shape, or a NaN that only one has."""
    if got.shape != expected.shape:
        return float("inf")
    same = (got == expected) | (got.isnan() & expected.isnan())
    scale = expected.abs().nan_to_num(0.0, posinf=0.0).max().clamp_min(1e-30)
    error = ((got - expected).masked_fill(same, 0.0).abs().max() / scale).item()
    return float("inf") if math.isnan(error) else error
