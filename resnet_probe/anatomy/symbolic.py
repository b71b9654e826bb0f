"""The first way of tracing: `torch.fx` runs `forward` on proxies that record what is done to them."""

from __future__ import annotations

import inspect
import sys
import sysconfig
import traceback
from collections.abc import Callable, Iterator, Sequence
from functools import partialmethod
from pathlib import Path
from typing import Any, cast

import torch
from torch import fx, nn
from torch.fx.proxy import Attribute, TraceError

from .cleaning import IN_PLACE_OPERATORS, UntraceableError
from .recording import Sizes, first_line, refusal

__all__ = ["kept_whole", "symbolic_graph"]

# Modules of torch.nn that hold blocks; fx takes everything there for one operation.
_CONTAINERS = (
    *(nn.Transformer, nn.TransformerEncoder, nn.TransformerDecoder),
    nn.TransformerEncoderLayer,
    nn.TransformerDecoderLayer,
)


def symbolic_graph(root: nn.Module, example: Any, leaves: Sequence[str | type[nn.Module]]) -> fx.Graph:
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
        tracer = _Tracer(leaves, example, open_blocks=open_blocks)
        try:
            return tracer.trace(root, concrete_args=_defaults(root))
        except Exception as error:
            stopped, at = error, tracer.stopped_in
    own = isinstance(stopped, (AssertionError, ValueError)) and not isinstance(stopped, TraceError)
    if own and (line := _line(stopped)):
        reason = f"{line} ({first_line(stopped)})"
        raise ValueError(refusal(name, example, reason)) from stopped
    raise UntraceableError(_explain(name, stopped, at)) from stopped


def kept_whole(leaves: Sequence[str | type[nn.Module]]) -> Callable[[nn.Module, str], bool]:
    """What tells of a module and its path whether it is one operation to `torch.fx`."""
    return _Tracer(leaves, None, open_blocks=True).is_leaf_module


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

    def __init__(self, leaves: Sequence[str | type[nn.Module]], example: Any, *, open_blocks: bool) -> None:
        functions, self._marked_by_timm = _timm_leaves()
        super().__init__(autowrap_functions=functions, param_shapes_constant=True)
        self._names = {leaf for leaf in leaves if isinstance(leaf, str)}
        self._classes = tuple(leaf for leaf in leaves if isinstance(leaf, type))
        self._open_blocks = open_blocks
        self._example = example
        self._sizes: Sizes | None = None
        self.stopped_in = ""

    @property
    def sizes(self) -> Sizes:
        """Answers what is asked about shapes."""
        if self._sizes is None:
            self._sizes = Sizes(self.root, self.graph, self._example)
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


def _defaults(model: nn.Module) -> dict[str, Any]:
    """Values of all arguments of `forward` but the first, so that `if mask is not None` is decided, not traced."""
    parameters = list(inspect.signature(model.forward).parameters.values())[1:]
    return {
        p.name: p.default
        for p in parameters
        if p.default is not p.empty and isinstance(p.default, (bool, int, float, str, type(None)))
    }


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
