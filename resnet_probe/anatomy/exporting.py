"""The second way of tracing: `torch.export` runs `forward` on tensors without storage and records every operation.

What it yields is made the graph that the first way would have made: parameters are the model's own, sums are `a + b`,
and what a layer of `torch.nn` did is a call of that layer again.

Source: the documentation of `torch.export`, non-strict mode and export IR.
"""

from __future__ import annotations

import inspect
import io
import operator
import warnings
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import redirect_stderr
from dataclasses import fields, is_dataclass
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch._ops import OpOverload
from torch.export import Dim, ExportedProgram
from torch.export.graph_signature import InputKind

from .cleaning import UntraceableError
from .inputs import batch_of, each_tensor, run, tensors_in
from .recording import first_line
from .symbolic import kept_whole

__all__ = ["exported_graph"]

_INSIDE = "network"  # path of the model in what is exported
# Copies and names of the same value; nothing is overwritten, so that they compute nothing.
_SAME = frozenset({"aten::alias", "aten::clone", "aten::contiguous", "aten::lift_fresh_copy"})
_RESHAPES = frozenset({"aten::view", "aten::reshape", "aten::_unsafe_view"})


def exported_graph(
    root: nn.Module, network: nn.Module, example: Any, leaves: Sequence[str | type[nn.Module]] = ()
) -> fx.Graph:
    """The graph of a network for any number of inputs like an example, with calls of the layers of `root`.

    Args:
        root: a copy of the network, whose modules are called; tensors that are constants of the code are added to it.
        network: another copy, which is run and may be changed by that.
        example: see `example_of`.
        leaves: module paths or classes to keep as one operation; each has to be a function of one tensor.

    Raises:
        UntraceableError: `forward` branches on values or on the number of inputs, or uses what torch cannot export.
    """
    returned: list[Any] = []
    flat = _Flat(network, example, returned.append)
    device = next(network.parameters(), torch.empty(0)).device
    fast = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        silence = redirect_stderr(io.StringIO())  # torch logs, and prints graphs of, what it then raises
        with torch.no_grad(), warnings.catch_warnings(action="ignore"), silence:
            given = tensors_in(batch_of(example, 2, device))
            sizes = {"tensors": tuple({0: Dim("batch")} for _ in given)}
            program = torch.export.export(flat, tuple(given), dynamic_shapes=sizes, strict=False)
            if any(_writes(node) for node in program.graph.nodes):
                program = program.run_decompositions({})
    except Exception as error:
        raise UntraceableError(f"torch.export stopped: {first_line(error)}") from error
    finally:
        torch.backends.mha.set_fastpath_enabled(fast)
    graph = _Importer(program, root, example).graph(returned[-1])
    _call_layers(graph, root, leaves)
    return graph


class _Flat(nn.Module):
    """A network as a function from tensors to the tensors that it returns, in whatever these stand."""

    def __init__(self, network: nn.Module, example: Any, keep: Callable[[Any], None]) -> None:
        super().__init__()
        self.network = network
        self._example, self._keep = example, keep

    def forward(self, *tensors: Tensor) -> tuple[Tensor, ...]:
        given = iter(tensors)
        returned = run(self.network, each_tensor(lambda _: next(given), self._example))
        self._keep(returned)  # an attribute would be taken away again by torch
        return tuple(tensors_in(returned))


def _writes(node: fx.Node) -> bool:
    return isinstance(node.target, OpOverload) and node.target._schema.is_mutable


class _Importer:
    """Copies the graph of an exported program; its lifted inputs become attributes of a model."""

    def __init__(self, program: ExportedProgram, root: nn.Module, example: Any) -> None:
        self.new = fx.Graph()
        self.copies: dict[fx.Node, Any] = {}
        self.program = program
        source = self.new.placeholder("x")
        given = iter(self._inputs(source, example))
        lifted = {spec.arg.name: spec for spec in program.graph_signature.input_specs}
        for node in program.graph.nodes:
            if node.op == "placeholder":
                spec = lifted[node.name]
                if spec.kind is InputKind.USER_INPUT:
                    self.copies[node] = next(given)
                else:
                    self.copies[node] = self._attribute(root, spec.target, program.constants.get(spec.target))

    def graph(self, returned: Any) -> fx.Graph:
        """The graph, with the output in the form in which the model returns it."""
        (output,) = (node for node in self.program.graph.nodes if node.op == "output")
        names = [spec.arg.name for spec in self.program.graph_signature.output_specs if spec.kind.name == "USER_OUTPUT"]
        by_name = {node.name: node for node in output.all_input_nodes}
        results = [by_name[name] for name in names]
        needed = _ancestors(results)
        for node in self.program.graph.nodes:
            if node in needed and node not in self.copies:
                self.copies[node] = self._copy(node)
        self.new.output(self._rebuilt(returned, iter([self.copies[node] for node in results])))
        return self.new

    def _inputs(self, node: fx.Node, example: Any) -> Iterator[fx.Node]:
        if isinstance(example, Tensor):
            yield node
            return
        pairs = example.items() if isinstance(example, Mapping) else enumerate(example)
        for key, part in pairs:
            yield from self._inputs(self.new.call_function(operator.getitem, (node, key)), part)

    def _attribute(self, root: nn.Module, target: str, constant: Any) -> fx.Node:
        path = target.removeprefix(f"{_INSIDE}.")
        try:
            operator.attrgetter(path)(root)
        except AttributeError:
            path = path.replace(".", "_")
            root.register_buffer(path, constant, persistent=False)
        return self.new.create_node("get_attr", path)

    def _copy(self, node: fx.Node) -> Any:
        name = node.target._schema.name if isinstance(node.target, OpOverload) else ""
        if name in _SAME:
            return self.copies[node.all_input_nodes[0]]
        if name == "aten::copy":  # into new memory, which has no derivative
            into, value = (self.copies[each] for each in node.args[:2])  # type: ignore[index]
            typed = self._tagged(self.new.call_method("type_as", (value, into)), node)
            return self._tagged(self.new.call_method("expand_as", (typed, into)), node)
        copy = self._tagged(self.new.node_copy(node, lambda n: self.copies[n]), node)
        if name == "aten::add" and not node.kwargs and all(isinstance(arg, fx.Node) for arg in node.args):
            copy.target = operator.add
        elif name in _RESHAPES:
            copy.target = torch.reshape
        return copy

    def _tagged(self, made: fx.Node, node: fx.Node) -> fx.Node:
        made.meta = {"nn_module_stack": _stack(node), "val": node.meta.get("val")}
        return made

    def _rebuilt(self, value: Any, nodes: Iterator[fx.Node]) -> Any:
        """What the model returned, with nodes in place of tensors; what is neither is None."""
        if isinstance(value, Tensor):
            return next(nodes)
        if is_dataclass(value) and not isinstance(value, type):
            parts = {each.name: self._rebuilt(getattr(value, each.name), nodes) for each in fields(value)}
            return self.new.call_function(type(value), (), parts)
        if isinstance(value, Mapping):
            return {key: self._rebuilt(part, nodes) for key, part in value.items()}
        if isinstance(value, (tuple, list)):
            each = [self._rebuilt(part, nodes) for part in value]
            return self.new.call_function(type(value), tuple(each)) if hasattr(value, "_fields") else type(value)(each)
        return value if isinstance(value, (bool, int, float, str)) else None


def _ancestors(nodes: Sequence[fx.Node]) -> set[fx.Node]:
    seen = set(nodes)
    stack = list(nodes)
    while stack:
        fresh = set(stack.pop().all_input_nodes) - seen
        seen |= fresh
        stack.extend(fresh)
    return seen


def _stack(node: fx.Node) -> dict[str, tuple[str, Any]]:
    """The modules that a node stands in, as `torch.fx` names them: by path, and with a number when called again."""
    stack = {}
    for key, (path, kind) in (node.meta.get("nn_module_stack") or {}).items():
        _, again, number = key.rpartition("@")
        name = path.removeprefix(f"{_INSIDE}.")
        if name != path:
            stack[f"{name}{again}{number}" if again else name] = (name, kind)
    return stack


def _call_layers(graph: fx.Graph, root: nn.Module, leaves: Sequence[str | type[nn.Module]]) -> None:
    """Replace what one call of a layer did by that call, where it is a function of one tensor."""
    is_layer = kept_whole(leaves)
    calls: dict[tuple[str, str], list[fx.Node]] = defaultdict(list)
    for node in graph.nodes:
        for key, (path, _) in (node.meta.get("nn_module_stack") or {}).items():
            module = root.get_submodule(path)
            if is_layer(module, path) and _takes_one(module):
                calls[key, path].append(node)
                break
    for (key, path), nodes in calls.items():
        ends = _ends(nodes, root, path)
        if ends is None:
            continue
        given, result = ends
        with graph.inserting_before(result):
            call = graph.call_module(path, (given,))
        stack = result.meta["nn_module_stack"]
        call.meta["nn_module_stack"] = {k: v for i, (k, v) in enumerate(stack.items()) if i <= list(stack).index(key)}
        result.replace_all_uses_with(call)
        for node in reversed(nodes):
            if not node.users:
                graph.erase_node(node)


def _takes_one(module: nn.Module) -> bool:
    """Whether one argument is enough for it."""
    arguments = inspect.signature(module.forward).parameters.values()
    return sum(each.default is each.empty and each.kind is not each.VAR_KEYWORD for each in arguments) == 1


def _ends(nodes: Sequence[fx.Node], root: nn.Module, path: str) -> tuple[fx.Node, fx.Node] | None:
    """The one tensor that these nodes read and the one that others read of them; None if there are more."""
    inside = set(nodes)
    module = root.get_submodule(path)
    own = {id(tensor) for tensor in (*module.parameters(), *module.buffers())}
    read = {before for node in nodes for before in node.all_input_nodes} - inside
    read = {node for node in read if not (_is_size(node) or id(_value(node, root)) in own)}
    results = {node for node in nodes if any(user not in inside for user in node.users)}
    return (read.pop(), results.pop()) if len(read) == len(results) == 1 else None


def _value(node: fx.Node, root: nn.Module) -> Any:
    """The attribute that a node reads, if it reads one."""
    return operator.attrgetter(str(node.target))(root) if node.op == "get_attr" else None


def _is_size(node: fx.Node) -> bool:
    return isinstance(node.meta.get("val"), (int, torch.SymInt))
