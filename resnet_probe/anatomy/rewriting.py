"""Graphs rewritten for a purpose: taps on values in the middle, and units that run as fast as they can.

Every function here returns a graph that computes what the traced one computes.
"""

from __future__ import annotations

import copy
import operator
from collections.abc import Sequence
from typing import Any, cast

import torch
from torch import Tensor, fx, nn
from torch.fx.experimental.optimization import fuse

from .operation import called_module, operation_name
from .tracing import Traced, share_tensors

__all__ = ["for_inference", "overwrite_where_unshared", "with_taps"]

TAPS = "_taps"


def with_taps(traced: Traced, nodes: Sequence[fx.Node]) -> nn.Module:
    """A copy of a traced network in which the values of `nodes` pass through the identities `_taps.0`, `_taps.1`, ...

    Weights are shared; modules are not.
    """
    root = share_tensors(traced.module)
    copies: dict[fx.Node, fx.Node] = {}
    graph = fx.Graph()
    output = graph.graph_copy(traced.module.graph, copies)
    graph.output(output)
    root.add_module(TAPS, nn.ModuleList(nn.Identity() for _ in nodes))
    for number, node in enumerate(nodes):
        with graph.inserting_after(copies[node]):
            graph.call_module(f"{TAPS}.{number}", (copies[node],))
    return fx.GraphModule(root, graph, "Tapped").eval()


def functional_batch_norm(traced: Traced) -> str | None:
    """Name of the first batch norm that calls torch's function directly, so that its mode cannot be changed."""
    nodes = (node for node in traced.module.graph.nodes if node.op == "call_function")
    return next((node.name for node in nodes if operation_name(node) == "batch_norm"), None)


def for_inference(module: nn.Module, *, fold: bool) -> nn.Module:
    """A copy of a piece of a traced network that takes channels-last maps, with batch norm folded into convolutions.

    Args:
        module: what `UnraveledNetwork.to_module` returns.
        fold: fold batch norm into the convolution before it.
    """
    module = cast(fx.GraphModule, copy.deepcopy(module))
    _one_module_per_call(module)
    _for_any_layout(module)
    computes_weights = any(part._forward_pre_hooks for part in module.modules())  # as weight_norm does
    return fuse(module, no_trace=True) if fold and not computes_weights else module


def overwrite_where_unshared(module: nn.Module) -> None:
    """Let additions and activations overwrite a value that the piece has just made and that nothing else reads."""
    module = cast(fx.GraphModule, module)
    for node in module.graph.nodes:
        own = [i for i, before in enumerate(node.args[:2]) if isinstance(before, fx.Node) and _is_own(before)]
        if not own:
            continue
        called: Any = called_module(node)
        if hasattr(called, "inplace"):
            called.inplace = True
        elif node.op == "call_function" and node.target is operator.add and len(node.kwargs) == 0:
            node.args = (node.args[own[0]], node.args[1 - own[0]])
            node.target = _add_into
    module.recompile()


def _one_module_per_call(module: fx.GraphModule) -> None:
    """Copy a module that is called several times, so that what is done for one call does not change the others."""
    called: set[str] = set()
    for node in module.graph.nodes:
        if node.op != "call_module":
            continue
        if node.target in called:
            again = copy.deepcopy(module.get_submodule(str(node.target)))
            node.target = f"{str(node.target).replace('.', '_')}_again{len(called)}"
            module.add_submodule(node.target, again)
        called.add(str(node.target))
    module.recompile()


def _for_any_layout(module: fx.GraphModule) -> None:
    """`view` as `reshape`, which takes channels-last maps too."""
    for node in module.graph.nodes:
        if node.op == "call_method" and node.target == "view" and not isinstance(node.args[1], torch.dtype):
            node.target = "reshape"
    module.recompile()


def _add_into(value: Tensor, other: Tensor) -> Tensor:
    """`value + other`, written over `value` where that has the shape and type of the sum."""
    if not (isinstance(value, Tensor) and isinstance(other, Tensor)):  # sizes are added, too
        return value + other
    same = value.shape == other.shape and value.dtype == other.dtype
    return value.add_(other) if same else value + other


def _is_own(node: fx.Node) -> bool:
    """Whether the value is new memory with one reader."""
    if len(node.users) != 1:
        return False
    if node.op == "call_function":
        return node.target is _add_into or node.target is operator.add
    return isinstance(called_module(node), (nn.modules.conv._ConvNd, nn.modules.batchnorm._BatchNorm, nn.Linear))
