"""What an edited chain costs: parameters and multiply-adds, added up over its steps."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch

from resnet_probe.anatomy.multiply_adds import counted
from resnet_probe.unraveled import Step, UnraveledNetwork

__all__ = ["costs_of"]


def costs_of(network: UnraveledNetwork) -> Callable[[Sequence[Step]], tuple[int, int]]:
    """From a chain over the network's units, with blocks deleted, to its parameters and multiply-adds for one image."""
    like = next(network.anatomy.traced.module.parameters(), torch.empty(0))
    x = torch.zeros((1, *network.input_shape), dtype=like.dtype, device=like.device)
    known: dict[tuple[int, str], tuple[int, int]] = {}
    for number, unit in enumerate(network.units):
        out, adds = counted(unit.module(), x)
        known[number, "whole"] = unit.parameters, adds
        if unit.kind == "block":
            left = unit.module("shortcut")
            rest = 0 if unit.has_identity_shortcut else counted(left, x)[1]
            known[number, "shortcut"] = sum(p.numel() for p in left.parameters()), rest
        x = out

    def total(steps: Sequence[Step]) -> tuple[int, int]:
        each = [known[step.unit, step.mode] for step in steps]
        return sum(parameters for parameters, _ in each), sum(adds for _, adds in each)

    return total
