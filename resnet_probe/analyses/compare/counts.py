"""What a network costs: parameters, multiply-adds for one input, and depth."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from resnet_probe.unraveled import UnraveledNetwork


@dataclass(frozen=True)
class Costs:
    """What a network costs.

    Attributes:
        parameters: learned values that take part in evaluation; shared ones count once, auxiliary heads do not.
        multiply_adds: for one input of the network's input shape.
        depth: convolutions and linear layers on the longest path from input to output. Projection shortcuts are not on
            it, as the residual branch beside them is longer: ResNet-56 is 56, VGG-16 is 16.
    """

    parameters: int
    multiply_adds: int
    depth: int


def costs(network: UnraveledNetwork) -> Costs:
    """Parameters, multiply-adds and depth of a network as it was unraveled; edits do not count.

    Args:
        network: the unraveled network; if its weights are on the meta device, nothing is computed but shapes.

    Examples:
        >>> costs(unravel(resolve("resnet56"), (3, 32, 32))).depth
        56
    """
    from resnet_probe.anatomy.multiply_adds import counted  # noqa: PLC0415 - importing this module must not import torch

    model = network.anatomy.traced.module
    return Costs(
        parameters=sum(p.numel() for p in model.parameters()),
        multiply_adds=counted(model, network.zeros(1))[1],
        depth=sum(len(unit.plan.layer_polynomial) - 1 for unit in network.units),
    )
