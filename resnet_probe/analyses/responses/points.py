"""Which layers respond, and at which point of the data flow each is measured.

He et al. measure "after BN and before other nonlinearity": after the normalisation that reads a layer's output, if that
is all that reads it. In a pre-activation network such a normalisation is the beginning of the next layer, not the end
of this one, so there every layer is measured at its own output, as in networks without normalisation.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from resnet_probe.analyses.responses import KINDS

if TYPE_CHECKING:
    from torch import fx

    from resnet_probe.anatomy import Operation, UnitPlan
    from resnet_probe.unraveled import UnraveledNetwork

AFTER_BN, AFTER_NORM, OUTPUT = "after batch norm", "after normalisation", "layer output"


@dataclass(frozen=True)
class MeasuredLayer:
    """A layer and where it is measured.

    Attributes:
        name: module path of the layer.
        point: `after batch norm`, `after normalisation` (of another kind) or `layer output`.
        part: `branch` or `shortcut` of a residual block, else `trunk`.
        operation: the operation of the traced network whose value is measured.
        channel_dim: dimension of its channels: 1 for convolutions, -1 for linear layers.
    """

    name: str
    point: str
    part: str
    operation: Operation
    channel_dim: int = 1


def measured_layers(network: UnraveledNetwork, kind: str = "conv3x3") -> tuple[list[MeasuredLayer], str]:
    """The layers of a kind in the order of the data flow, and in one sentence why they are measured where they are.

    Args:
        network: the unraveled network.
        kind: `conv3x3` (as in the paper), `conv` (convolutions of any size) or `all` (linear layers too).

    Raises:
        ValueError: unknown kind, or the network has no such layer.
    """
    if kind not in KINDS:
        raise ValueError(f"unknown kind of layers {kind!r}: give one of {', '.join(KINDS)}")
    flow, operation = network.anatomy.flow, network.anatomy.traced.operation
    operations = [operation(node) for node in flow.nodes]
    layers = [layer for layer in operations if _is_layer(layer, kind)]
    if not layers:
        other = " or ".join(k for k in KINDS if any(_is_layer(layer, k) for layer in operations))
        raise ValueError(f"the network has no layer of kind {kind}" + (f"; give {other}" if other else ""))
    preactivated = is_preactivated(network)
    parts = _parts(network)
    found = []
    for layer in layers:
        readers = [operation(node) for node in flow.successors(layer.node)]
        norm = readers[0] if len(readers) == 1 and not preactivated else None
        point = (_norm_point(norm) if norm is not None else None) or OUTPUT
        measured = layer if point == OUTPUT or norm is None else norm
        dim = 1 if layer.is_convolution else -1
        found.append(MeasuredLayer(layer.name, point, parts.get(layer.node, "trunk"), measured, dim))
    return _with_unique_names(found), _reason({layer.point for layer in found}, preactivated)


def is_preactivated(network: UnraveledNetwork) -> bool:
    """Whether a normalisation reads the sum of a residual block (He et al. 2016), and so begins the next layer."""
    flow = network.anatomy.flow
    return any(
        network.anatomy.traced.operation(node).is_norm
        for unit in network.units
        if unit.kind in ("block", "parallel")
        for node in flow.successors(unit.plan.exit)
    )


def _reason(points: set[str], preactivated: bool) -> str:
    if preactivated:
        return (
            "pre-activation network: a normalisation belongs to the layer after it, so every layer is measured at its "
            "own output, before normalisation or addition; not comparable with networks measured after batch norm"
        )
    if points == {OUTPUT}:
        return "no normalisation follows the layers: measured at their own output, before nonlinearity or addition"
    where = " and ".join(sorted(points - {OUTPUT}))
    rest = "; layers that no normalisation follows at their own output" if OUTPUT in points else ""
    return f"measured {where}, before nonlinearity or addition{rest}"


def _is_layer(operation: Operation, kind: str) -> bool:
    if not operation.learned_layers:
        return False
    return kind == "all" or (operation.is_convolution and (kind == "conv" or operation.kernel_size == (3, 3)))


def _norm_point(operation: Operation) -> str | None:
    if operation.is_batch_norm:
        return AFTER_BN
    return AFTER_NORM if operation.is_norm else None


def _parts(network: UnraveledNetwork) -> dict[fx.Node, str]:
    """Nodes of residual blocks -> `shortcut` if they lead to nothing but the shortcut, else `branch`."""
    found: dict[fx.Node, str] = {}
    for unit in network.blocks:
        branch = _leading_to(network, unit.plan, unit.plan.regions[0].branch)
        found |= {node: "branch" if node in branch else "shortcut" for node in unit.plan.regions[0].inner}
    return found


def _leading_to(network: UnraveledNetwork, plan: UnitPlan, ends: tuple[fx.Node, ...]) -> set[fx.Node]:
    wanted = set(ends)
    for node in reversed(plan.regions[0].inner):
        if any(after in wanted for after in network.anatomy.flow.successors(node)):
            wanted.add(node)
    return wanted


def _with_unique_names(layers: list[MeasuredLayer]) -> list[MeasuredLayer]:
    times: dict[str, int] = {}
    named = []
    for layer in layers:
        number = times.get(layer.name, 0)
        times[layer.name] = number + 1
        named.append(replace(layer, name=f"{layer.name}@{number}") if number else layer)
    return named
