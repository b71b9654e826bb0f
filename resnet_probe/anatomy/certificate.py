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
from .inputs import each_tensor, named_outputs, run, tensors_in
from .tracing import Traced
from .units import UnitPlan

__all__ = ["Certificate", "certify"]


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
def certify(units: Sequence[Runs], traced: Traced, model: nn.Module, x: Any, *, tolerance: float) -> Certificate:
    """Check on a batch that chain = model and that each block = shortcut + branch.

    What `torch.export` has traced is run on batches of 1 and 5, too.

    A very deep untrained network can overflow on the way; values that are not finite count as equal where chain and
    model agree on them, and a block that would get such values is checked on random ones.

    Args:
        units: the chain.
        traced: the network that they were found in.
        model: the model as it was given.
        x: inputs `(N, C, H, W)`, or several in a tuple or dict.
        tolerance: largest relative difference that counts as equal.

    Raises:
        ValueError: the chain does not compute what the model computes.
    """
    errors: dict[str, float] = {}
    with torch.no_grad():
        value = x
        for unit in units:
            whole = unit.module()(value)
            if unit.plan.kind == "block":
                errors[unit.name] = _block_error(unit, value, whole)
            for block in unit.plan.blocks:
                errors[block.name] = _inner_error(traced, unit.plan, block, value)
            value = whole
        chain_error = _chain_error(traced, model, x, value, tolerance)
        for size in (1, 5) if traced.way == "export" else ():  # which may take a number for the size of the batch
            order = torch.arange(size)
            value = batch = each_tensor(lambda tensor, order=order: tensor[order % len(tensor)], x)  # type: ignore[misc]
            for unit in units:
                value = unit.module()(value)
            chain_error = max(chain_error, _chain_error(traced, model, batch, value, tolerance))
    return Certificate(chain_error, errors, tolerance)


def _chain_error(traced: Traced, model: nn.Module, x: Any, got: Any, tolerance: float) -> float:
    returned = run(model, each_tensor(Tensor.clone, x))  # a model may write into its input
    expected = [named_outputs(returned)[traced.output]] if traced.output else tensors_in(returned)
    if traced.outputs == 1:  # which may stand in several places
        expected = expected[:1]
    error = max(_relative(a, b) for a, b in zip(tensors_in(got), expected, strict=True))
    if not error <= tolerance:
        raise ValueError(
            f"the unraveled network differs from {type(model).__name__} by {error:.2g} (relative), more than "
            f"{tolerance:.0e}, on a batch of {len(tensors_in(x)[0])}: its forward has side effects or randomness that "
            f"torch.{traced.way} cannot see{', or asks for the number of inputs' * (traced.way == 'export')}"
        )
    return error


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
