"""Units made fast for evaluation: batch norm folded into convolutions, channels-last, in-place where nothing is shared.

The prepared modules are copies; the network's own weights stay as they are.
"""

from __future__ import annotations

import copy
import operator
from collections.abc import Callable, Sequence
from typing import Literal, cast

import torch
from torch import Tensor, fx, nn
from torch.fx.experimental.optimization import fuse

from resnet_probe.unraveled import Step, UnraveledNetwork

__all__ = ["PRECISIONS", "FastUnits", "Precision"]

Precision = Literal["fp32", "bf16", "fp16"]
PRECISIONS: dict[str, torch.dtype] = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


class FastUnits:
    """The steps of a network as fast modules, prepared when they are first needed.

    Args:
        network: the network whose units are run.
        precision: `fp32`, or `bf16` or `fp16` for weights and activations.
        fold: fold batch norm into the convolution before it. Off for exact equality with the model.
        prepare: what is done to each module at last, such as to compile it.

    Raises:
        ValueError: unknown precision.
    """

    def __init__(
        self,
        network: UnraveledNetwork,
        *,
        precision: str = "fp32",
        fold: bool = True,
        prepare: Callable[[nn.Module], nn.Module] | None = None,
    ) -> None:
        if precision not in PRECISIONS:
            raise ValueError(f"unknown precision {precision!r}: give one of {', '.join(PRECISIONS)}")
        self.network = network
        self.dtype = PRECISIONS[precision]
        self._fold, self._finish = fold, prepare
        self._modules: dict[tuple[Step, ...], nn.Module] = {}
        self._plain: dict[int, bool] = {}

    def __call__(self, *steps: Step) -> nn.Module:
        """The module that runs the steps, one after the other."""
        if steps not in self._modules:
            self._modules[steps] = self._prepare(steps)
        return self._modules[steps]

    def is_plain(self, step: Step) -> bool:
        """Whether the step has no weights and keeps the shape, as an activation between two blocks does."""
        unit = self.network.units[step.unit]
        if step.mode != "whole" or unit.kind == "block" or unit.plan.in_shape != unit.plan.out_shape:
            return False
        if step.unit not in self._plain:
            self._plain[step.unit] = unit.parameters == 0
        return self._plain[step.unit]

    def is_batch_first(self, steps: Sequence[Step]) -> bool:
        """Whether batches can be put one behind the other for all of the steps."""
        return all(self.network.units[step.unit].is_batch_first for step in steps)

    def arrange(self, x: Tensor) -> Tensor:
        """Inputs in the precision and memory layout of the units."""
        layout = torch.channels_last if x.dim() == 4 else torch.contiguous_format
        return x.to(dtype=self.dtype, memory_format=layout)

    def _prepare(self, steps: Sequence[Step]) -> nn.Module:
        module = cast(fx.GraphModule, copy.deepcopy(self.network.with_steps(steps).to_module()))
        _one_module_per_call(module)
        _for_any_layout(module)
        if self._fold and not any(part._forward_pre_hooks for part in module.modules()):  # as weight_norm has them
            module = cast(fx.GraphModule, fuse(module, no_trace=True))
        module = module.to(dtype=self.dtype).to(memory_format=torch.channels_last).eval()
        _overwrite_where_unshared(module)
        return self._finish(module) if self._finish else module


def _one_module_per_call(module: fx.GraphModule) -> None:
    """Copy a module that the unit calls several times, so that what is done for one call does not change the others."""
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


def _overwrite_where_unshared(module: fx.GraphModule) -> None:
    """Let additions and activations overwrite a value that the unit has just made and that nothing else reads."""
    for node in module.graph.nodes:
        own = [i for i, before in enumerate(node.args[:2]) if isinstance(before, fx.Node) and _is_own(module, before)]
        if not own:
            continue
        if node.op == "call_module" and hasattr(module.get_submodule(str(node.target)), "inplace"):
            module.get_submodule(str(node.target)).inplace = True  # type: ignore[assignment]
        elif node.op == "call_function" and node.target is operator.add and len(node.kwargs) == 0:
            node.args = (node.args[own[0]], node.args[1 - own[0]])
            node.target = _add_into
    module.recompile()


def _add_into(value: Tensor, other: Tensor) -> Tensor:
    """`value + other`, written over `value` where that has the shape and type of the sum."""
    if not (isinstance(value, Tensor) and isinstance(other, Tensor)):  # sizes are added, too
        return value + other
    same = value.shape == other.shape and value.dtype == other.dtype
    return value.add_(other) if same else value + other


def _is_own(module: fx.GraphModule, node: fx.Node) -> bool:
    """Whether the value is new memory with one reader."""
    if len(node.users) != 1:
        return False
    if node.op == "call_function":
        return node.target is _add_into or node.target is operator.add
    if node.op != "call_module":
        return False
    made_by = module.get_submodule(str(node.target))
    return isinstance(made_by, (nn.modules.conv._ConvNd, nn.modules.batchnorm._BatchNorm, nn.Linear))
