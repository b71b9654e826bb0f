"""What the nodes of a graph yield: shapes and sizes for two batch sizes, and what follows from them alone.

`record` runs a whole graph. `Sizes` answers, while a model is traced, what its `forward` asks about shapes
(`assert x.ndim == 4`, `if x.shape[-1] > 32`): the shape of an image is known, its values are not.
"""

from __future__ import annotations

import logging
import operator
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode
from torch.fx.proxy import TraceError
from torch.utils._pytree import tree_map_only

from .inputs import batch_of, described, tensors_in

__all__ = ["BATCHES", "Sizes", "first_line", "holds_tensor", "record", "refusal"]

BATCHES = (2, 3)  # two batch sizes tell which sizes depend on the batch, and how

# Methods and attributes of a tensor that tell its shape or its form, and none of its values.
_TELL_SHAPE = frozenset({"shape", "ndim", "size", "dim", "ndimension", "numel", "nelement"}) | {
    *("is_nested", "is_sparse", "is_quantized", "is_floating_point", "is_complex", "layout"),
}


def holds_tensor(value: Any) -> bool:
    """Whether a tensor is in `value`, looking into what `tensors_in` does."""
    return isinstance(value, Tensor) or bool(tensors_in(value))


def _changeable(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _changeable(part) for key, part in value.items()}
    if isinstance(value, list) or type(value) is tuple:
        return (list if isinstance(value, list) else tuple)(map(_changeable, value))
    return value


class _Recorder(fx.Interpreter):
    """Runs the graph and keeps what every node yields."""

    def __init__(self, module: nn.Module, graph: fx.Graph | None = None) -> None:
        super().__init__(module, garbage_collect_values=graph is None, graph=graph)
        self.seen: dict[fx.Node, Any] = {}

    def run_node(self, n: fx.Node) -> Any:
        value = super().run_node(n)
        self.seen[n] = tree_map_only(Tensor, lambda x: x.new_empty(x.shape, device="meta"), value)
        return value

    def call_function(self, target: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """With lists that a function may change, as the code made of a graph passes them."""
        return super().call_function(target, _changeable(args), _changeable(kwargs))

    def call_module(self, target: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        module = self.fetch_attr(target)
        batch_norm = nn.modules.batchnorm._BatchNorm
        fits = (
            args[0].dim() > 1 and type(module).forward is batch_norm.forward and args[0].shape[1] == module.num_features
        )
        if fits and isinstance(args[0], FakeTensor):
            return torch.empty_like(args[0])  # torch takes 15 ms to find that out, most of the time of a trace
        return super().call_module(target, args, kwargs)


def record(module: fx.GraphModule, example: Any, name: str) -> dict[fx.Node, tuple[Any, ...]]:
    """Shape and type of every node's value for both batch sizes, as tensors without storage.

    A network on the meta device is run on fake tensors; another one is really run, which is quicker: the first fake
    tensor makes torch import its compiler.

    Raises:
        ValueError: the network, called `name`, does not accept inputs of this shape.
    """
    seen = []
    device = _device(module)
    real = device.type != "meta"
    for batch in BATCHES:
        recorder = _Recorder(module)
        recorder.extra_traceback = False
        try:
            with nullcontext() if real else _fake(), torch.no_grad(), _without_log():
                recorder.run(batch_of(example, batch, device))
        except Exception as error:
            raise ValueError(refusal(name, example, first_line(error))) from error
        seen.append(recorder.seen)
    return {node: tuple(run[node] for run in seen) for node in seen[0]}


class Sizes:
    """Values of the nodes of a graph that is being made, as far as they follow from the shape of one image.

    Nothing is really computed, so no tensor of the model can change.

    Attributes:
        running: whether modules of the model are being run for an answer, and not traced.
    """

    def __init__(self, root: nn.Module, graph: fx.Graph, example: Any) -> None:
        self.running = False
        self._mode, self._graph = _fake(), graph
        self._runs = [_Recorder(root, graph) for _ in BATCHES]
        with self._mode:
            for run, batch in zip(self._runs, BATCHES, strict=True):
                run.args_iter = iter([batch_of(example, batch, _device(root))])

    def value(self, node: fx.Node) -> Any:
        """What the node yields for images of the shape, however many.

        Raises:
            TraceError: it depends on values, or on the number of images.
        """
        self._run()
        if not self._is_size(node):
            raise TraceError("it depends on values of the images")
        if not self._is_settled(node):
            raise TraceError("it depends on the number of images")
        return self._values(node)[0]

    def length(self, node: fx.Node) -> int:
        """How many entries the node's value has. Raises TraceError if that depends on the number of images."""
        self._run()
        first, second = (len(value) for value in self._values(node))
        if first != second:
            raise TraceError("it depends on the number of images")
        return first

    def _values(self, node: fx.Node) -> tuple[Any, ...]:
        return tuple(run.seen[node] for run in self._runs)

    def _run(self) -> None:
        """Run what has been recorded since the last question."""
        self.running = True
        try:
            with self._mode, torch.no_grad(), _without_log():
                for run in self._runs:
                    for each in self._graph.nodes:
                        if each not in run.env:
                            value = run.run_node(each)
                            if each.op == "get_attr":  # else an operation on weights alone would be real
                                value = tree_map_only(Tensor, self._mode.from_tensor, value)
                            run.env[each] = value
        except Exception as error:
            raise TraceError(f"what comes before it cannot be run on shapes alone: {first_line(error)}") from error
        finally:
            self.running = False

    def _is_size(self, node: fx.Node) -> bool:
        """Whether the node's value is made of shapes alone."""
        if _tells_shape(node):
            return True
        made = node.op in ("call_function", "call_method") and not holds_tensor(self._values(node)[0])
        return made and bool(node.all_input_nodes) and all(map(self._is_size, node.all_input_nodes))

    def _is_settled(self, node: fx.Node) -> bool:
        """Whether a size is the same for every number of images; of a size that is not, a part may be."""
        first, second = self._values(node)
        if first != second:
            return False
        return _tells_shape(node) or node.target is operator.getitem or all(map(self._is_settled, node.all_input_nodes))


def refusal(name: str, example: Any, reason: str) -> str:
    """What is told where a network called `name` takes no inputs of this shape."""
    shape = described(example)
    return f"{name} does not accept inputs of shape {shape}: {reason}; give the size the network was made for"


def first_line(error: BaseException) -> str:
    """What an error says, in one line."""
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__


def _tells_shape(node: fx.Node) -> bool:
    name = node.args[1] if node.target is getattr else node.target if node.op == "call_method" else None
    return name in _TELL_SHAPE


def _device(module: nn.Module) -> torch.device:
    return next(module.parameters(), torch.empty(0)).device


def _fake() -> FakeTensorMode:
    return FakeTensorMode(allow_non_fake_inputs=True)


@contextmanager
def _without_log() -> Iterator[None]:
    """Torch logs a traceback where an operation rejects its shapes; the error that it raises says it all."""
    logger = logging.getLogger("torch._subclasses.fake_tensor")
    before, logger.disabled = logger.disabled, True
    try:
        yield
    finally:
        logger.disabled = before
