"""Sums in other words than `+`: `torch.add(x, f, alpha=a)`, `x - f`, `addcmul`, `lerp`, the sum of a stack.

Such a sum stays the operation that it is, so that an intact network computes to the last bit what its model computes.
Beside it stand nodes that yield its summands, for whoever takes the sum apart.
"""

from __future__ import annotations

import operator
from collections.abc import Mapping
from typing import Any

from torch import Tensor, fx

from .operation import operation_name

__all__ = ["summands"]

# Operands by position; keywords may name them too.
_OPERANDS = {
    "add": ("input", "other"),
    "sub": ("input", "other"),
    "subtract": ("input", "other"),
    "addcmul": ("input", "tensor1", "tensor2"),
    "lerp": ("input", "end", "weight"),
}


def summands(module: fx.GraphModule, values: Mapping[fx.Node, tuple[Any, ...]]) -> dict[fx.Node, tuple[fx.Node, ...]]:
    """Per sum in other words the nodes that yield its summands, some of them new ones in the graph.

    Args:
        module: the traced network.
        values: what its nodes yield; only tensors of one shape are summands.
    """
    found = {}
    for node in list(module.graph.nodes):
        if node.op in ("call_function", "call_method") and operation_name(node) in (*_OPERANDS, "sum"):
            with module.graph.inserting_before(node):
                if terms := _summands(node, module.graph, values):
                    found[node] = terms
    if found:
        module.recompile()
    return found


def _summands(node: fx.Node, graph: fx.Graph, values: Mapping[fx.Node, tuple[Any, ...]]) -> tuple[fx.Node, ...] | None:
    """The summands; None of a plain `a + b`, and of what is no sum of tensors of one shape."""

    def call(function: Any, *args: Any) -> fx.Node:
        made = graph.call_function(function, args)
        made.meta = dict(node.meta)
        return made

    name = operation_name(node)
    if name == "sum":
        return _stacked(node)
    given: dict[str, Any] = {**dict(zip(_OPERANDS[name], node.args, strict=False)), **node.kwargs}
    x, y, *more = (given.pop(word, None) for word in _OPERANDS[name])
    factor = given.pop("alpha", given.pop("value", 1))
    plain = name == "add" and factor == 1 and not node.kwargs
    if plain or given or not (_like(x, node, values) and _like(y, node, values)):
        return None
    if name == "lerp":
        weight = more[0]
        rest = call(operator.sub, 1, weight) if isinstance(weight, fx.Node) else 1 - weight
        return call(operator.mul, x, rest), call(operator.mul, y, weight)
    if name == "addcmul":
        y = call(operator.mul, y, more[0])
    if name.startswith("sub"):
        factor = -factor
    return x, y if factor == 1 else call(operator.mul, y, factor)


def _like(operand: Any, node: fx.Node, values: Mapping[fx.Node, tuple[Any, ...]]) -> bool:
    """Whether the operand is a tensor of the node's shape."""
    if not isinstance(operand, fx.Node):
        return False
    mine, its = values[node][0], values[operand][0] if operand in values else None
    return isinstance(mine, Tensor) and isinstance(its, Tensor) and mine.shape == its.shape


def _stacked(node: fx.Node) -> tuple[fx.Node, ...] | None:
    """The tensors that are stacked, if the node sums the stack along the same dimension."""
    stack = node.args[0] if node.args else None
    if not isinstance(stack, fx.Node) or operation_name(stack) != "stack" or len(stack.users) > 1:
        return None
    along = node.kwargs.get("dim", node.args[1] if len(node.args) > 1 else None)
    dim = stack.kwargs.get("dim", stack.args[1] if len(stack.args) > 1 else 0)
    terms = stack.args[0] if stack.args else stack.kwargs.get("tensors")
    fits = along in (dim, [dim], (dim,)) and set(node.kwargs) <= {"dim"} and len(node.args) < 3
    return tuple(terms) if fits and isinstance(terms, (list, tuple)) and len(set(terms)) > 1 else None
