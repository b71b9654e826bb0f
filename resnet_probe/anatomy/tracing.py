"""From any `nn.Module` to a data-flow graph in which nothing is overwritten.

`trace(model, shape)` runs `torch.fx` over a copy of the model that shares its weights, turns every in-place operation
into an out-of-place one, and records what each node yields for two batch sizes, so that later steps know which nodes
carry data, which carry only sizes, and how those sizes grow with the batch.
"""

from __future__ import annotations

import copy
import inspect
import sys
import sysconfig
import traceback
from collections.abc import Callable, Container, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partialmethod
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, fx, nn
from torch.fx.proxy import Attribute, TraceError

from .cleaning import IN_PLACE_OPERATORS, UntraceableError, clean
from .operation import Operation, operation_name
from .recording import Sizes, first_line, holds_tensor, record, refusal
from .summands import summands

__all__ = ["Traced", "UntraceableError", "assemble", "share_tensors", "trace", "unwrap"]

# Nodes that read a tensor's shape, type or device but none of its values.
_VALUE_FREE = frozenset(
    f"{prefix}{suffix}"
    for prefix, suffix in (
        *(("new_", made) for made in ("zeros", "ones", "full", "empty", "tensor")),
        *((made, "_like") for made in ("zeros", "ones", "full", "empty", "rand", "randn")),
    )
)


# Modules of torch.nn that hold blocks; fx takes everything there for one operation.
_CONTAINERS = (
    *(nn.Transformer, nn.TransformerEncoder, nn.TransformerDecoder),
    nn.TransformerEncoderLayer,
    nn.TransformerDecoderLayer,
)


@dataclass(frozen=True)
class Traced:
    """A model as an out-of-place `torch.fx` graph, with what every node yields.

    Attributes:
        module: the traced copy, in evaluation mode; its parameters and buffers are the caller's tensors.
        source: node that is fed the input batch `(N, C, H, W)`.
        result: node whose value is the model's output.
        values: per node, its value for each batch size in `BATCHES` (tensors without storage, or sizes).
        input_shape: `(C, H, W)`, or whatever follows the batch dimension.
        saved: names in the model's state dict.
        summands: of a sum in other words than `a + b` the nodes that yield what is added.
    """

    module: fx.GraphModule
    source: fx.Node
    result: fx.Node
    values: dict[fx.Node, tuple[Any, ...]]
    input_shape: tuple[int, ...]
    saved: frozenset[str]
    summands: dict[fx.Node, tuple[fx.Node, ...]] = field(default_factory=dict)

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
    def outputs(self) -> int:
        """Number of tensors that the model returns."""
        return len(self.result.all_input_nodes) if self.result.target is gathered else 1

    def operation(self, node: fx.Node) -> Operation:
        """What the node does."""
        return Operation(node, self)


def trace(model: nn.Module, shape: Sequence[int], *, leaves: Sequence[str | type[nn.Module]] = ()) -> Traced:
    """Trace `model` for inputs of shape `(N, *shape)`.

    What `forward` asks about that shape (`assert x.ndim == 4`, `if x.shape[-1] > 32`) is answered, for this shape only.

    Args:
        model: any module whose `forward` takes one tensor and returns tensors: one, or several in a tuple, list or
            dict. It is not changed.
        shape: shape of one input without the batch dimension, e.g. `(3, 32, 32)`.
        leaves: module paths or classes to keep as one operation, for code that `torch.fx` cannot follow.

    Raises:
        UntraceableError: `forward` branches on values or on the number of images, mutates a tensor by index, or returns
            no tensor.
        ValueError: the model does not accept inputs of this shape.
    """
    shared = share_tensors(unwrap(model)).eval()
    graph = _graph(shared, leaves, tuple(shape))
    saved = frozenset(unwrap(model).state_dict())
    module = assemble(shared, graph, type(unwrap(model)).__name__, saved=saved)
    clean(module)
    source, result = _ends(module, model)
    values = record(module, tuple(shape), type(model).__name__)
    if terms := summands(module, values):  # with new nodes
        values = record(module, tuple(shape), type(model).__name__)
    return Traced(module, source, result, values, tuple(shape), saved, terms)


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


def _graph(root: nn.Module, leaves: Sequence[str | type[nn.Module]], shape: tuple[int, ...]) -> fx.Graph:
    """Trace into timm's no-trace blocks and torch's transformers if that works, else around.

    Most of timm's are marked for in-place operations only.
    """
    if isinstance(root, fx.GraphModule) and not leaves:
        return root.graph  # traced before; its nodes know the modules they came from, its code does not
    known = {name for name, _ in root.named_modules()}
    name = type(root).__name__
    if unknown := sorted({leaf for leaf in leaves if isinstance(leaf, str)} - known):
        raise UntraceableError(
            f"cannot trace {name}: it has no module {unknown[0]!r}; leaves are paths of named_modules()"
        )
    closable = "timm.models" in sys.modules or any(isinstance(module, _CONTAINERS) for module in root.modules())
    for open_blocks in (True, False) if closable else (True,):
        tracer = _Tracer(leaves, shape, open_blocks=open_blocks)
        try:
            return tracer.trace(root, concrete_args=_defaults(root))
        except Exception as error:
            stopped, at = error, tracer.stopped_in
    own = isinstance(stopped, (AssertionError, ValueError)) and not isinstance(stopped, TraceError)
    if own and (line := _line(stopped)):
        reason = f"{line} ({first_line(stopped)})"
        raise ValueError(refusal(name, shape, reason)) from stopped
    raise UntraceableError(_explain(name, stopped, at)) from stopped


class _Proxy(fx.Proxy):
    """A proxy that records `x += y` as it is; `torch.fx` makes it `x = x + y`, and other names of x stay behind.

    Sizes are numbers where they are asked for as such.
    """

    tracer: _Tracer

    def __getattr__(self, k: str) -> Attribute:
        return _Attribute(self, k)

    def __len__(self) -> int:
        return self.tracer.sizes.length(self.node)

    def __int__(self) -> int:
        return int(self.tracer.sizes.value(self.node))

    def _write(self, operation: Callable[..., Any], other: Any) -> Any:
        return self.tracer.create_proxy("call_function", operation, (self, other), {})


for _operation in IN_PLACE_OPERATORS:
    setattr(_Proxy, f"__{_operation.__name__}__", partialmethod(_Proxy._write, _operation))


class _Attribute(_Proxy, Attribute):
    """What `x.shape` is until it is used."""

    __getattr__ = _Proxy.__getattr__


class _Tracer(fx.Tracer):
    """A tracer that keeps timm's untraceable modules, and those the caller names, as single operations.

    Attributes:
        stopped_in: path of the innermost module that an exception came from, empty for the model itself.
    """

    def __init__(self, leaves: Sequence[str | type[nn.Module]], shape: tuple[int, ...], *, open_blocks: bool) -> None:
        functions, self._marked_by_timm = _timm_leaves()
        super().__init__(autowrap_functions=functions, param_shapes_constant=True)
        self._names = {leaf for leaf in leaves if isinstance(leaf, str)}
        self._classes = tuple(leaf for leaf in leaves if isinstance(leaf, type))
        self._open_blocks = open_blocks
        self._shape = shape
        self._sizes: Sizes | None = None
        self.stopped_in = ""

    @property
    def sizes(self) -> Sizes:
        """Answers what is asked about shapes."""
        if self._sizes is None:
            self._sizes = Sizes(self.root, self.graph, self._shape)
        return self._sizes

    def to_bool(self, obj: fx.Proxy) -> bool:
        return bool(self.sizes.value(obj.node))

    def iter(self, obj: fx.Proxy) -> Iterator[fx.Proxy]:
        return iter([cast(Any, obj)[i] for i in range(self.sizes.length(obj.node))])

    def call_module(
        self, m: nn.Module, forward: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Any:
        if self._sizes is not None and self._sizes.running:
            return forward(*args, **kwargs)
        try:
            return super().call_module(m, forward, args, kwargs)
        except Exception:
            self.stopped_in = self.stopped_in or self.path_of_module(m)
            raise

    def getattr(self, attr: str, attr_val: Any, parameter_proxy_cache: dict[str, fx.Proxy]) -> Any:
        if self._sizes is not None and self._sizes.running:
            return attr_val
        return super().getattr(attr, attr_val, parameter_proxy_cache)

    def proxy(self, node: fx.Node) -> fx.Proxy:
        return _Proxy(node, self)

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        if module_qualified_name in self._names or isinstance(m, self._classes):
            return True
        if isinstance(m, _CONTAINERS):
            return not self._open_blocks
        if isinstance(m, self._marked_by_timm):
            has_layers_inside = any(True for child in m.children() for _ in child.parameters())
            return not (self._open_blocks and has_layers_inside)
        return super().is_leaf_module(m, module_qualified_name)


def _timm_leaves() -> tuple[tuple[Any, ...], tuple[type[nn.Module], ...]]:
    """Functions and modules that timm itself declares untraceable, if the model's code has loaded timm."""
    if "timm.models" not in sys.modules:
        return (), ()
    from timm.models import get_notrace_functions, get_notrace_modules  # noqa: PLC0415 - optional, already loaded

    return tuple(get_notrace_functions()), tuple(get_notrace_modules())


def _tensors(module: nn.Module) -> Iterator[Tensor]:
    yield from (p for p in module._parameters.values() if p is not None)
    yield from (b for b in module._buffers.values() if b is not None)
    yield from (v for v in vars(module).values() if isinstance(v, Tensor))


def _belongs_to_torch(hook: Any) -> bool:
    return type(hook).__module__.startswith("torch.nn.utils")


def _defaults(model: nn.Module) -> dict[str, Any]:
    """Values of all arguments of `forward` but the first, so that `if mask is not None` is decided, not traced."""
    parameters = list(inspect.signature(model.forward).parameters.values())[1:]
    return {
        p.name: p.default
        for p in parameters
        if p.default is not p.empty and isinstance(p.default, (bool, int, float, str, type(None)))
    }


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
    if not output.all_input_nodes:
        raise UntraceableError(f"{type(model).__name__} returns no tensor")
    result = output.all_input_nodes[0]
    if len(output.all_input_nodes) > 1:
        with module.graph.inserting_before(output):
            result = module.graph.call_function(gathered, (output.args[0],))
    output.args = (result,)
    module.recompile()
    return placeholders[0], result


def gathered(values: Any) -> Any:
    """Several outputs of a model, in the tuple, list or dict in which it returns them."""
    return values


def _explain(name: str, error: Exception, at: str) -> str:
    """One line: which line of the model's code stopped the trace, why, and what to do; `at` is the module it is in."""
    if not (line := _line(error)):
        return f"cannot trace {name}: {first_line(error)}"
    way = f"keep the module it stands in as one operation: --leaf {at}, or unravel(..., leaves=[{at!r}])"
    if not at:  # the model itself as one operation would have no units
        way = "move it into a module of its own and keep that whole: --leaf PATH, or unravel(..., leaves=['its.path'])"
    stopped = f"cannot trace {name}: {line}, stopped it ({first_line(error)})"
    return f"{stopped}; make that line independent of the data, or {way}"


def _line(error: Exception) -> str:
    """The innermost line of a model's own code that an error came from; empty if there is none."""
    frames = [f for f in traceback.extract_tb(error.__traceback__) if _is_of_a_model(Path(f.filename))]
    return f"line {frames[-1].lineno} of {frames[-1].filename}, `{frames[-1].line}`" if frames else ""


def _is_of_a_model(file: Path) -> bool:
    """Whether code in the file can be a model's own: it is not torch's, Python's or ours."""
    if Path(torch.__file__).parent in file.parents or file.parent == Path(__file__).parent:
        return False
    standard = Path(sysconfig.get_path("stdlib"))
    return "site-packages" in file.parts or standard not in file.parents


torch.fx.wrap("gathered")
