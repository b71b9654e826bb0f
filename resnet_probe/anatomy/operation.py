"""What one node of a traced graph is: the module or function it calls, and which kind of layer that makes it.

Inside `anatomy` the functions below are asked; everybody else asks an `Operation`, and so need not know how the network
was traced.
"""

from __future__ import annotations

import operator
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import torch
from torch import fx, nn
from torch._ops import OpOverload

if TYPE_CHECKING:
    from .tracing import Traced

__all__ = ["Operation", "attribute", "call_path", "called_module", "is_addition", "is_linear", "kind_name"]
__all__ += ["layers_in", "module_path", "operation_name", "parameters_in", "unopened"]

_ADDITIONS = frozenset({operator.add, torch.add, "add"})
_NORMS = (nn.modules.batchnorm._NormBase, nn.LayerNorm, nn.GroupNorm, nn.RMSNorm)
_NORM_FUNCTIONS = ("batch_norm", "instance_norm", "layer_norm", "group_norm", "rms_norm")
# Beginnings of names of functions and, in lower case, of classes.
_AFFINE = (
    *("conv", "linear", "batchnorm", "batch_norm", "avgpool", "avg_pool", "adaptiveavgpool", "adaptive_avg_pool"),
    *("add", "sub", "mul", "div", "truediv", "neg", "mean", "sum", "cat", "concat", "pad", "dropout", "identity"),
    *("view", "reshape", "permute", "transpose", "flatten", "unflatten", "contiguous", "squeeze", "unsqueeze"),
    "getitem",
)
# Functions that may take a parameter as an operand without being a learned layer (layer scale, position embedding).
_ELEMENTWISE = {"add", "sub", "mul", "div", "truediv", "pow", "cat", "concat", "stack", "where", "expand"} | {
    *("getitem", "getattr", "layer_norm", "group_norm", "batch_norm", "prelu")
}
# Operations of torch's core, and what they are called in models' code.
_OTHER_NAMES = {
    **dict.fromkeys(("slice", "select", "narrow", "index"), "getitem"),
    **{"constant_pad_nd": "pad", "to_copy": "to", "t": "transpose", "mm": "matmul"},
    "native_batch_norm_legit_no_training": "batch_norm",
}


@dataclass(frozen=True)
class Operation:
    """One operation of a traced network.

    Attributes:
        node: the node of the graph, as units and regions hold it.
        traced: the network it belongs to.

    Examples:
        >>> network.anatomy.traced.operation(unit.plan.exit).is_norm
        True
    """

    node: fx.Node
    traced: Traced = field(repr=False, compare=False)

    @property
    def name(self) -> str:
        """Path of the module that is called, or of the function inside the module whose `forward` calls it."""
        return call_path(self.node)

    @property
    def module(self) -> nn.Module | None:
        """The module that is called, in the traced copy of the network; None for functions and methods."""
        return called_module(self.node)

    @property
    def shape(self) -> tuple[int, ...] | None:
        """Shape of its value without the batch dimension, or None if it yields no single tensor."""
        shape = self.traced.shape(self.node)
        return None if shape is None else shape[1:]

    @property
    def readers(self) -> int:
        """Number of operations that read its value."""
        return len(self.node.users)

    @property
    def learned_layers(self) -> int:
        """Number of convolutions and linear layers that it applies, see `layers_in`."""
        return layers_in(self.node)

    @property
    def is_convolution(self) -> bool:
        """Whether it applies a convolution, as a module or a function."""
        return self.kernel_size is not None

    @property
    def kernel_size(self) -> tuple[int, ...] | None:
        """Size of a convolution's kernel; None for everything else."""
        if self.module is not None:
            return tuple(self.module.kernel_size) if isinstance(self.module, nn.modules.conv._ConvNd) else None
        if not layers_in(self.node):
            return None
        shapes = (self.traced.shape(source) or () for source in self.node.all_input_nodes[1:])
        weight = next((shape for shape in shapes if len(shape) > 2), None)
        return None if weight is None else weight[2:]

    @property
    def is_batch_norm(self) -> bool:
        """Whether it is a batch norm, as a module or a function."""
        if self.module is not None:
            return isinstance(self.module, nn.modules.batchnorm._BatchNorm)
        return operation_name(self.node) == "batch_norm"

    @property
    def is_norm(self) -> bool:
        """Whether it normalises: batch, instance, layer, group or RMS norm, as a module or a function."""
        if self.module is not None:
            return isinstance(self.module, _NORMS)
        return operation_name(self.node) in _NORM_FUNCTIONS


def called_module(node: fx.Node) -> nn.Module | None:
    """The module that a node calls, or None."""
    if node.op != "call_module":
        return None
    owner = node.graph.owning_module
    assert owner is not None
    return owner.get_submodule(str(node.target))


def operation_name(node: fx.Node) -> str:
    """Plain name of a node's function or method (`add`, `cat`, `flatten`); the target for other nodes."""
    if isinstance(node.target, OpOverload):
        name = node.target._schema.name.rpartition("::")[2].strip("_")
        return _OTHER_NAMES.get(name, name)
    if node.op == "call_function":
        return getattr(node.target, "__name__", str(node.target))
    return str(node.target)


def kind_name(node: fx.Node) -> str:
    """Name of the function, or of the class of the module, in lower case: `relu`, `conv2d`, `softmax`."""
    module = called_module(node)
    return operation_name(node).lower() if module is None else type(module).__name__.lower()


def module_path(node: fx.Node) -> tuple[str, ...]:
    """Path of the module in whose `forward` the node was written, as a tuple of attribute names."""
    stack = list(node.meta.get("nn_module_stack") or {})
    if node.op == "call_module" and stack:
        stack = stack[:-1]
    return tuple(stack[-1].split(".")) if stack else ()


def call_path(node: fx.Node) -> str:
    """Path of the module a node calls, or of its function inside the module that holds it."""
    if node.op == "call_module":
        stack = list(node.meta.get("nn_module_stack") or {})
        return stack[-1] if stack else str(node.target)
    return ".".join((*module_path(node), operation_name(node).strip("_")))


def is_addition(node: fx.Node) -> bool:
    """Whether the node adds two tensors, without a factor."""
    return node.op in ("call_function", "call_method") and node.target in _ADDITIONS and not node.kwargs


def is_linear(node: fx.Node) -> bool:
    """Whether its value is known to be an affine function of the one value that it reads, in evaluation mode."""
    if sum(source.op != "get_attr" for source in node.all_input_nodes) > 1 and not is_addition(node):
        return False
    name = kind_name(node).strip("_")
    if "act" in name:  # a norm that holds its activation, which may be none
        module = called_module(node)
        inside = [] if module is None else list(module.children())
        if not inside or not all(isinstance(child, nn.Identity) for child in inside):
            return False
    return name.startswith(_AFFINE)


def layers_in(node: fx.Node) -> int:
    """Number of learned layers (convolutions and linear layers) that the node applies.

    A single operation can hold several: `nn.MultiheadAttention` has two on every path, the projection into queries,
    keys and values, and the output projection.
    """
    if (module := called_module(node)) is not None:
        if isinstance(module, (*_NORMS, nn.LocalResponseNorm)):
            return 0
        if isinstance(module, nn.MultiheadAttention):
            return 2
        weights = sum(p.dim() >= 2 for p in module.parameters())
        # a parametrization, such as weight norm, can keep one weight as several tensors
        return 1 if isinstance(module, (nn.modules.conv._ConvNd, nn.Linear)) else weights
    if node.op not in ("call_function", "call_method") or operation_name(node) in _ELEMENTWISE:
        return 0
    if operation_name(node).startswith(("conv", "linear")):
        return 1  # also with a weight that was computed, as in weight standardisation
    return sum(_is_weight(source) for source in node.all_input_nodes)


def parameters_in(nodes: Iterable[fx.Node]) -> list[nn.Parameter]:
    """The parameters that these nodes use, each once."""
    found: dict[int, nn.Parameter] = {}
    for node in nodes:
        module = called_module(node)
        own = list(module.parameters()) if module is not None else []
        own += [value for source in node.all_input_nodes if isinstance(value := attribute(source), nn.Parameter)]
        found |= {id(parameter): parameter for parameter in own}
    return list(found.values())


def unopened(nodes: Iterable[fx.Node]) -> dict[str, int]:
    """Modules with modules inside that are kept as one operation: path, and number of parameters.

    What such a module adds up inside is not seen. Attention of `torch.nn` is no such module; it is one operation to
    everybody.
    """
    found = {}
    for node in nodes:
        module = called_module(node)
        if module is None or isinstance(module, nn.MultiheadAttention) or hasattr(module, "parametrizations"):
            continue
        if any(True for child in module.children() for _ in child.parameters()):
            found[call_path(node)] = sum(p.numel() for p in module.parameters())
    return found


def attribute(node: fx.Node) -> object:
    """The model's attribute that a node reads; None if it does something else."""
    if node.op != "get_attr":
        return None
    owner: object = node.graph.owning_module
    for part in str(node.target).split("."):
        owner = getattr(owner, part)
    return owner


def _is_weight(node: fx.Node) -> bool:
    value = attribute(node)
    return isinstance(value, nn.Parameter) and value.dim() >= 2
