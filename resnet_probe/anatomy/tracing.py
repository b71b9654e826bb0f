"""From any `nn.Module` to a data-flow graph in which nothing is overwritten.

`trace(model, shape)` runs `torch.fx`, or `torch.export` where that cannot follow, over a copy of the model that shares
its weights, turns every in-place operation into an out-of-place one, and records what each node yields for two batch
sizes, so that later steps know which nodes carry data, which carry only sizes, and how those sizes grow with the batch.
"""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Container, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, cast

import torch
from torch import Tensor, fx, nn

from .cleaning import UntraceableError, clean
from .inputs import example_of
from .operation import Operation, operation_name, unopened
from .recording import holds_tensor, record
from .summands import summands
from .symbolic import symbolic_graph

__all__ = ["Traced", "UntraceableError", "assemble", "share_tensors", "trace", "unwrap"]

# Nodes that read a tensor's shape, type or device but none of its values.
_VALUE_FREE = frozenset(
    f"{prefix}{suffix}"
    for prefix, suffix in (
        *(("new_", made) for made in ("zeros", "ones", "full", "empty", "tensor")),
        *((made, "_like") for made in ("zeros", "ones", "full", "empty", "rand", "randn")),
    )
)


@dataclass(frozen=True)
class Traced:
    """A model as an out-of-place `torch.fx` graph, with what every node yields.

    Attributes:
        module: the traced copy, in evaluation mode; its parameters and buffers are the caller's tensors.
        source: node that is fed the input: a batch `(N, C, H, W)`, or a tuple or dict of several tensors.
        result: node whose value is the model's output.
        values: per node, its value for each batch size in `BATCHES` (tensors without storage, or sizes).
        example: shapes and types of one input, as tensors without storage, see `example_of`.
        saved: names in the model's state dict.
        summands: of a sum in other words than `a + b` the nodes that yield what is added.
        output: name of the one output that `result` is, where one of several was asked for.
        returned: then what the model returns, with a node in place of each tensor.
        way: what traced it, `fx` or `export`.
        why: why it was not `fx`; empty where it was, or where `export` was asked for.
    """

    module: fx.GraphModule
    source: fx.Node
    result: fx.Node
    values: dict[fx.Node, tuple[Any, ...]]
    example: Any
    saved: frozenset[str]
    summands: dict[fx.Node, tuple[fx.Node, ...]] = field(default_factory=dict)
    output: str = ""
    returned: Any = None
    way: Literal["fx", "export"] = "fx"
    why: str = ""

    def reads(self, node: fx.Node) -> Sequence[fx.Node]:
        """The nodes that a node reads; of a sum its summands."""
        return self.summands.get(node, node.all_input_nodes)

    def carries_data(self, node: fx.Node) -> bool:
        """Whether the node yields a tensor (or a container with one) whose values are computed, not only its size."""
        return holds_tensor(self.values[node][0]) and not is_value_free(node)

    def shape(self, node: fx.Node, batch: int = 0) -> tuple[int, ...] | None:
        """Shape of the node's tensor for `BATCHES[batch]`, or None if it yields no single tensor."""
        value = self.values[node][batch]
        return tuple(value.shape) if isinstance(value, Tensor) else None

    @property
    def input_shape(self) -> tuple[int, ...]:
        """`(C, H, W)`, or whatever follows the batch dimension; empty where the model takes several tensors."""
        return tuple(self.example.shape[1:]) if isinstance(self.example, Tensor) else ()

    @property
    def outputs(self) -> int:
        """Number of tensors that the model returns."""
        return len(set(_returned(self.result)))

    @property
    def named_outputs(self) -> dict[str, fx.Node]:
        """Node of each tensor that the model returns, by name in a dict, dataclass or named tuple, else by position."""
        result = self.result
        if result.target is gathered:
            values = result.args[0]
            named = values if isinstance(values, dict) else dict(enumerate(cast(Any, values)))
        elif _returned(result) != [result]:
            named = result.kwargs or dict(zip(cast(Any, result.target)._fields, result.args, strict=True))
        else:
            named = {"0": result}
        return {str(name): node for name, node in named.items() if isinstance(node, fx.Node)}

    def operation(self, node: fx.Node) -> Operation:
        """What the node does."""
        return Operation(node, self)


def trace(
    model: nn.Module,
    example: Any,
    *,
    leaves: Sequence[str | type[nn.Module]] = (),
    way: Literal["fx", "export"] | None = None,
    output: str = "",
) -> Traced:
    """Trace `model` for inputs like an example.

    What `forward` asks about shapes (`assert x.ndim == 4`, `if x.shape[-1] > 32`) is answered, for these shapes only.
    `torch.fx` goes first; `torch.export` follows where that stops, where it has to keep modules closed that have layers
    inside, and where there are several inputs.

    Args:
        model: any module whose `forward` takes tensors and returns tensors: one, or several in a tuple, list, dict or
            dataclass. It is not changed.
        example: shape of one input without the batch dimension, e.g. `(3, 32, 32)`, or a batch: a tensor, or several in
            a tuple (the arguments of `forward`) or dict (its keyword arguments).
        leaves: module paths or classes to keep as one operation, for code that cannot be followed.
        way: the only way to go.
        output: name (or position) of the output to follow, of a model that returns several tensors; else all.

    Raises:
        UntraceableError: `forward` branches on values or on the number of images, mutates a tensor by index, or returns
            no tensor.
        ValueError: the model does not accept inputs of this shape, or the example is of another kind.
    """
    found = _trace(model, example_of(example, unwrap(model)), leaves, way)
    return _with_output(found, output) if output else found


def _trace(
    model: nn.Module, example: Any, leaves: Sequence[str | type[nn.Module]], way: Literal["fx", "export"] | None
) -> Traced:
    if way == "export" or not (way or isinstance(example, Tensor)):
        return _exported(model, example, leaves)
    try:
        found = _symbolic(model, example, leaves)
    except UntraceableError as error:
        if way == "fx" or leaves:
            raise
        try:
            return _exported(model, example, (), why=f"torch.fx {str(error).split(';')[0]}")
        except UntraceableError:
            raise error from None
    closed = unopened(found.module.graph.nodes)
    if way == "fx" or leaves or not closed:
        return found
    try:
        opened = _exported(model, example, (), why=f"torch.fx does not open {', '.join(list(closed)[:3])}")
    except UntraceableError:
        return found
    return opened if len(unopened(opened.module.graph.nodes)) < len(closed) else found


def _symbolic(model: nn.Module, example: Any, leaves: Sequence[str | type[nn.Module]]) -> Traced:
    shared = share_tensors(unwrap(model)).eval()
    return _traced(model, shared, symbolic_graph(shared, example, leaves), example)


def _exported(model: nn.Module, example: Any, leaves: Sequence[str | type[nn.Module]], why: str = "") -> Traced:
    from .exporting import exported_graph  # noqa: PLC0415 - torch.export imports torch's compiler

    shared, ran = (share_tensors(unwrap(model)).eval() for _ in range(2))  # some modules keep what they compute
    graph = exported_graph(shared, ran, example, leaves)
    return dataclasses.replace(_traced(model, shared, graph, example), way="export", why=why)


def _traced(model: nn.Module, shared: nn.Module, graph: fx.Graph, example: Any) -> Traced:
    saved = frozenset(unwrap(model).state_dict())
    module = assemble(shared, graph, type(unwrap(model)).__name__, saved=saved)
    clean(module)
    source, result = _ends(module, model)
    values = record(module, example, type(model).__name__)
    if terms := summands(module, values):  # with new nodes
        values = record(module, example, type(model).__name__)
    return Traced(module, source, result, values, example, saved, terms)


def _with_output(traced: Traced, output: str) -> Traced:
    """The network with one of its outputs."""
    named = traced.named_outputs
    if output not in named:
        raise LookupError(f"no output {output!r} of a tensor; there are {', '.join(named)}")
    (end,) = (node for node in traced.module.graph.nodes if node.op == "output")
    returned = traced.result.args[0] if traced.result.target is gathered else None
    end.args = (named[output],)
    traced.module.recompile()
    return dataclasses.replace(traced, result=named[output], output=output, returned=returned)


def assemble(
    root: nn.Module, graph: fx.Graph, name: str, *, saved: Container[str], own_modules: bool = False
) -> fx.GraphModule:
    """A `GraphModule` in evaluation mode whose state dict holds no other names than `saved`.

    `torch.fx` alone would also save the tensors that a model keeps as plain attributes, constants and buffers that are
    not persistent. With `own_modules` only the tensors are those of `root`, and not the modules with their modes.
    """
    module = fx.GraphModule(root, graph, name).eval()
    if own_modules:
        module = cast(fx.GraphModule, share_tensors(module))
    for path, part in module.named_modules():
        names = {buffer: f"{path}.{buffer}" if path else buffer for buffer in part._buffers}
        part._non_persistent_buffers_set.update(buffer for buffer, full in names.items() if full not in saved)
    return module


def unwrap(model: nn.Module) -> nn.Module:
    """The network inside `DataParallel`, `DistributedDataParallel` and `torch.compile` wrappers."""
    while True:
        if isinstance(model, (nn.DataParallel, nn.parallel.DistributedDataParallel)):
            model = model.module
        elif hasattr(model, "_orig_mod"):
            model = cast(nn.Module, model._orig_mod)
        else:
            return model


def share_tensors(model: nn.Module) -> nn.Module:
    """A structural copy of `model` whose parameters and buffers are the same tensors, without the caller's hooks.

    Hooks that torch itself needs to compute a weight (`weight_norm`, `spectral_norm`) are kept.
    """
    memo = {id(value): value for module in model.modules() for value in _tensors(module)}
    clone = copy.deepcopy(model, memo)
    for module in clone.modules():
        for name, hooks in vars(module).items():
            if name.endswith("_hooks") and isinstance(hooks, dict):
                for key in [k for k, hook in hooks.items() if not _belongs_to_torch(hook)]:
                    del hooks[key]
    return clone


def is_value_free(node: fx.Node) -> bool:
    """Whether the node only takes over shape, type or device of its input (`zeros_like`, `new_zeros`, ...)."""
    return operation_name(node) in _VALUE_FREE


def _tensors(module: nn.Module) -> Iterator[Tensor]:
    yield from (p for p in module._parameters.values() if p is not None)
    yield from (b for b in module._buffers.values() if b is not None)
    yield from (v for v in vars(module).values() if isinstance(v, Tensor))


def _belongs_to_torch(hook: Any) -> bool:
    return type(hook).__module__.startswith("torch.nn.utils")


def _ends(module: fx.GraphModule, model: nn.Module) -> tuple[fx.Node, fx.Node]:
    """Input placeholder and the one node that is returned; unused placeholders are removed."""
    placeholders = [n for n in module.graph.nodes if n.op == "placeholder"]
    if not placeholders or str(placeholders[0].target).startswith("*"):
        raise UntraceableError(
            f"forward of {type(model).__name__} names no first argument; wrap the model so that forward takes one batch"
        )
    for node in placeholders[1:]:
        if not node.users:
            module.graph.erase_node(node)
    output = next(n for n in module.graph.nodes if n.op == "output")
    tensors = list(dict.fromkeys(_returned(output.args[0])))
    if not tensors:
        raise UntraceableError(f"{type(model).__name__} returns no tensor")
    result = tensors[0]
    if len(tensors) > 1 and isinstance(output.args[0], fx.Node):
        result = output.args[0]
    elif len(tensors) > 1:
        with module.graph.inserting_before(output):
            result = module.graph.call_function(gathered, (output.args[0],))
    output.args = (result,)
    module.recompile()
    return placeholders[0], result


def _returned(value: Any) -> list[fx.Node]:
    """The nodes that yield what a model returns, in containers or in an instance of a dataclass."""
    if isinstance(value, fx.Node):
        made, kinds = value.target, (dataclasses.is_dataclass, lambda kind: issubclass(kind, tuple))
        builds = made is gathered or (isinstance(made, type) and any(is_kind(made) for is_kind in kinds))
        return _returned((*value.args, *value.kwargs.values())) if builds else [value]
    if isinstance(value, dict):
        return _returned(tuple(value.values()))
    return [node for part in value for node in _returned(part)] if isinstance(value, (tuple, list)) else []


def gathered(values: Any) -> Any:
    """Several outputs of a model, in the tuple, list or dict in which it returns them."""
    return values


torch.fx.wrap("gathered")
