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

    from resnet_probe.anatomy import UnitPlan
    from resnet_probe.unraveled import UnraveledNetwork

__all__ = ["AFTER_BN", "AFTER_NORM", "OUTPUT", "MeasuredLayer", "measured_layers"]

AFTER_BN, AFTER_NORM, OUTPUT = "after batch norm", "after normalisation", "layer output"


@dataclass(frozen=True)
class MeasuredLayer:
    """A layer and where it is measured.

    Attributes:
        name: module path of the layer.
        point: `after batch norm`, `after normalisation` (of another kind) or `layer output`.
        part: `branch` or `shortcut` of a residual block, else `trunk`.
        node: the node of the traced graph whose value is measured.
        channel_dim: dimension of its channels: 1 for convolutions, -1 for linear layers.
    """

    name: str
    point: str
    part: str
    node: fx.Node
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
    flow = network.anatomy.flow
    nodes = [node for node in flow.nodes if _is_layer(network, node, kind)]
    if not nodes:
        other = " or ".join(k for k in KINDS if any(_is_layer(network, n, k) for n in flow.nodes))
        raise ValueError(f"the network has no layer of kind {kind}" + (f"; give {other}" if other else ""))
    preactivated = is_preactivated(network)
    parts = _parts(network)
    found = []
    for node in nodes:
        readers = list(flow.successors(node))
        norm = readers[0] if len(readers) == 1 and not preactivated else None
        point = (_norm_point(network, norm) if norm is not None else None) or OUTPUT
        measured = node if point == OUTPUT or norm is None else norm
        dim = 1 if _is_layer(network, node, "conv") else -1
        found.append(MeasuredLayer(_name(node), point, parts.get(node, "trunk"), measured, dim))
    return _with_unique_names(found), _reason({layer.point for layer in found}, preactivated)


def is_preactivated(network: UnraveledNetwork) -> bool:
    """Whether a normalisation reads the sum of a residual block (He et al. 2016), and so begins the next layer."""
    flow = network.anatomy.flow
    return any(
        _norm_point(network, node) is not None
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


def _is_layer(network: UnraveledNetwork, node: fx.Node, kind: str) -> bool:
    from torch import nn  # noqa: PLC0415 - the package is imported for its figures without torch

    from resnet_probe.anatomy import layers_in  # noqa: PLC0415

    if not layers_in(node):
        return False
    if kind == "all":
        return True
    traced = network.anatomy.traced
    if node.op == "call_module":
        module = traced.module.get_submodule(str(node.target))
        if not isinstance(module, nn.modules.conv._ConvNd):
            return False
        size: tuple[int, ...] = tuple(module.kernel_size)
    else:
        weight = next((n for n in node.all_input_nodes[1:] if len(traced.shape(n) or ()) > 2), None)
        if weight is None:
            return False
        size = (traced.shape(weight) or ())[2:]
    return kind == "conv" or size == (3, 3)


def _norm_point(network: UnraveledNetwork, node: fx.Node) -> str | None:
    from torch import nn  # noqa: PLC0415

    if node.op == "call_module":
        module = network.anatomy.traced.module.get_submodule(str(node.target))
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            return AFTER_BN
        norms = (nn.modules.batchnorm._NormBase, nn.LayerNorm, nn.GroupNorm, nn.RMSNorm)
        return AFTER_NORM if isinstance(module, norms) else None
    name = getattr(node.target, "__name__", "")
    if name == "batch_norm":
        return AFTER_BN
    return AFTER_NORM if name in ("group_norm", "layer_norm", "instance_norm", "rms_norm") else None


def _parts(network: UnraveledNetwork) -> dict[fx.Node, str]:
    """Nodes of residual blocks -> `shortcut` if they lead to nothing but the shortcut, else `branch`."""
    found: dict[fx.Node, str] = {}
    for unit in network.units:
        if unit.kind == "block":
            branch = _leading_to(network, unit.plan, unit.plan.regions[0].branch)
            found |= {node: "branch" if node in branch else "shortcut" for node in unit.plan.regions[0].inner}
    return found


def _leading_to(network: UnraveledNetwork, plan: UnitPlan, ends: tuple[fx.Node, ...]) -> set[fx.Node]:
    wanted = set(ends)
    for node in reversed(plan.regions[0].inner):
        if any(after in wanted for after in network.anatomy.flow.successors(node)):
            wanted.add(node)
    return wanted


def _name(node: fx.Node) -> str:
    from resnet_probe.anatomy.units import call_path  # noqa: PLC0415

    return call_path(node)


def _with_unique_names(layers: list[MeasuredLayer]) -> list[MeasuredLayer]:
    times: dict[str, int] = {}
    named = []
    for layer in layers:
        number = times.get(layer.name, 0)
        times[layer.name] = number + 1
        named.append(replace(layer, name=f"{layer.name}@{number}") if number else layer)
    return named
