"""What an edited chain costs: parameters and multiply-adds, added up over its steps."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache

import torch

from resnet_probe.anatomy.multiply_adds import counted
from resnet_probe.unraveled import Step, UnraveledNetwork


def costs_of(network: UnraveledNetwork) -> Callable[[Sequence[Step]], tuple[int, int]]:
    """From a chain over the network's units to its parameters, and its multiply-adds for one image."""
    inputs = [network.zeros(1)]
    with torch.no_grad():
        for unit in network.units:
            inputs.append(unit.module()(inputs[-1]))

    @cache
    def cost(step: Step) -> tuple[int, int]:
        if network.is_identity(step):
            return 0, 0
        module = network.units[step.unit].module(step.mode, step.scale, step.factors)
        return sum(p.numel() for p in module.parameters()), counted(module, inputs[step.unit])[1]

    def total(steps: Sequence[Step]) -> tuple[int, int]:
        each = [cost(step) for step in steps]
        return sum(parameters for parameters, _ in each), sum(adds for _, adds in each)

    return total
