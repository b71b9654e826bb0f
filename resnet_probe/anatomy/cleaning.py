"""A traced graph made clean: no checks, no identities, and nothing that overwrites a tensor.

Which operations write in place is decided once, before any of them is rewritten.
"""

from __future__ import annotations

import operator
import sys
from typing import Any

import torch
from torch import Tensor, fx, nn

from .operation import called_module

__all__ = ["IN_PLACE_OPERATORS", "UntraceableError", "clean"]

IN_PLACE_OPERATORS = {
    operator.iadd: operator.add,
    operator.isub: operator.sub,
    operator.imul: operator.mul,
    operator.itruediv: operator.truediv,
    operator.ifloordiv: operator.floordiv,
    operator.imatmul: operator.matmul,
    operator.ipow: operator.pow,
}


class UntraceableError(ValueError):
    """`torch.fx` could not follow the model's `forward`; the message names the line and what to do."""


def clean(module: fx.GraphModule) -> None:
    """Take out what computes nothing, and turn every in-place operation into an out-of-place one.

    Modules lose their flag `inplace`, so `module` must not share them with the caller's model.

    Raises:
        UntraceableError: an in-place operation without an out-of-place counterpart.
    """
    _remove_checks(module)
    _remove_identities(module)
    _make_out_of_place(module)


def _remove_checks(module: fx.GraphModule) -> None:
    """Drop assertions on sizes, then everything that nothing uses."""
    for node in reversed(module.graph.nodes):
        if node.op == "call_function" and node.target in (torch._assert, getattr(torch, "_check", None)):
            module.graph.erase_node(node)
    # fx keeps calls of modules in case they have side effects; a network in evaluation mode has none that count
    for node in reversed(module.graph.nodes):
        dead = not node.users and node.op not in ("placeholder", "output")
        if dead and not _mutates(node):
            module.graph.erase_node(node)


def _remove_identities(module: fx.GraphModule) -> None:
    """An `nn.Identity` on a shortcut leaves it an identity shortcut; so does the 0 that Python's `sum` begins with."""
    for node in list(module.graph.nodes):
        if type(called_module(node)) is nn.Identity:
            same = node.args[0]
        elif node.target is operator.add and type(node.args[0]) is int and node.args[0] == 0:
            same = node.args[1]
        else:
            continue
        node.replace_all_uses_with(same)
        module.graph.erase_node(node)


def _mutates(node: fx.Node) -> bool:
    """Whether the node writes into its first argument."""
    if (called := called_module(node)) is not None:
        return bool(getattr(called, "inplace", False))
    if node.op == "call_function":
        if node.target in IN_PLACE_OPERATORS or node.target is operator.setitem:
            return True
        return bool(node.kwargs.get("inplace")) or _out_of_place_function(node.target) is not None
    return node.op == "call_method" and _is_in_place_name(str(node.target))


def _is_in_place_name(name: str) -> bool:
    return name.endswith("_") and not name.endswith("__")


def _out_of_place_function(target: Any) -> Any | None:
    """`torch.relu` for `torch.relu_`, and so on; None if the function is no in-place one."""
    name = getattr(target, "__name__", "")
    if not _is_in_place_name(name):
        return None
    home = sys.modules.get(getattr(target, "__module__", None) or "", None)
    for place in (home, torch.nn.functional, torch):
        if callable(found := getattr(place, name[:-1], None)):
            return found
    return None


def _make_out_of_place(module: fx.GraphModule) -> None:
    """Rewrite each in-place operation; later readers of the overwritten tensor read the new value, as they did before.

    Raises:
        UntraceableError: an assignment into a slice (`x[...] = y`), which has no out-of-place counterpart here.
    """
    order = {node: i for i, node in enumerate(module.graph.nodes)}
    mutating = [node for node in module.graph.nodes if _mutates(node)]  # known before any is made to stop
    for part in module.modules():
        if getattr(part, "inplace", False) is True:
            part.inplace = False  # type: ignore[assignment]  # the copy's, not the caller's
    for node in mutating:
        if node.target is operator.setitem:
            raise UntraceableError(
                f"{_place(node)} assigns into a part of a tensor, which cannot be unraveled; "
                "build the tensor with torch.cat, torch.where or F.pad instead"
            )
        overwritten = node.args[0] if node.args else node.kwargs.get("input")
        if node.op == "call_function" and node.kwargs.get("inplace"):
            node.kwargs = {k: v for k, v in node.kwargs.items() if k != "inplace"}
        elif node.op == "call_function" and node.target in IN_PLACE_OPERATORS:
            node.target = IN_PLACE_OPERATORS[node.target]  # type: ignore[index]
        elif node.op == "call_function":
            node.target = _out_of_place_function(node.target)  # type: ignore[assignment]
        elif node.op == "call_method":
            node.target = str(node.target)[:-1]
            if not callable(getattr(Tensor, node.target, None)):
                raise UntraceableError(
                    f"{_place(node)} calls {node.target}_(), which has no out-of-place counterpart; "
                    "build the tensor anew instead"
                )
        if isinstance(overwritten, fx.Node) and not _is_size(overwritten):
            late = [user for user in overwritten.users if order[user] > order[node]]
            for user in late:
                user.replace_input_with(overwritten, node)
    module.recompile()


def _is_size(node: fx.Node) -> bool:
    """Whether the node is a number or shape read from a tensor, or reckoned from such; `n += 1` makes a new one."""
    if node.op == "call_method":
        return node.target in ("size", "dim", "numel")
    if node.op == "call_function" and node.target is getattr:
        return node.args[1] in ("shape", "ndim")
    reckoned = node.op == "call_function" and getattr(node.target, "__module__", "") in (
        "_operator",
        "math",
        "builtins",
    )
    return reckoned and bool(node.all_input_nodes) and all(map(_is_size, node.all_input_nodes))


def _place(node: fx.Node) -> str:
    """Where in the model a node stands, for messages."""
    stack = node.meta.get("nn_module_stack") or {}
    return f"forward of {list(stack)[-1]!r}" if stack else "forward"
