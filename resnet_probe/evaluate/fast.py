"""Units made fast for evaluation: batch norm folded into convolutions, channels-last, in-place where nothing is shared.

The prepared modules are copies; the network's own weights stay as they are.
"""

from __future__ import annotations

import copy
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
        compiled: pass each unit through `torch.compile`.

    Raises:
        ValueError: unknown precision.
    """

    def __init__(
        self, network: UnraveledNetwork, *, precision: str = "fp32", fold: bool = True, compiled: bool = False
    ) -> None:
        if precision not in PRECISIONS:
            raise ValueError(f"unknown precision {precision!r}: give one of {', '.join(PRECISIONS)}")
        self.network = network
        self.dtype = PRECISIONS[precision]
        self._fold, self._compiled = fold, compiled
        self._modules: dict[Step, nn.Module] = {}

    def __call__(self, step: Step) -> nn.Module:
        """The module that runs the step."""
        if step not in self._modules:
            self._modules[step] = self._prepare(step)
        return self._modules[step]

    def arrange(self, x: Tensor) -> Tensor:
        """Inputs in the precision and memory layout of the units."""
        layout = torch.channels_last if x.dim() == 4 else torch.contiguous_format
        return x.to(dtype=self.dtype, memory_format=layout)

    def _prepare(self, step: Step) -> nn.Module:
        module = cast(fx.GraphModule, copy.deepcopy(self.network.units[step.unit].module(step.mode, step.scale)))
        _one_module_per_call(module)
        if self._fold:
            module = cast(fx.GraphModule, fuse(module, no_trace=True))
        module = module.to(dtype=self.dtype).to(memory_format=torch.channels_last).eval()
        _overwrite_where_unshared(module)
        return cast(nn.Module, torch.compile(module, dynamic=True)) if self._compiled else module


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


def _overwrite_where_unshared(module: fx.GraphModule) -> None:
    """Let activations overwrite their input where nothing else reads it and it is not the unit's input."""
    for node in module.graph.nodes:
        if node.op != "call_module":
            continue
        activation = module.get_submodule(str(node.target))
        before = node.args[0]
        if not hasattr(activation, "inplace") or not isinstance(before, fx.Node):
            continue
        if before.op == "call_module" and len(before.users) == 1:
            made_by = module.get_submodule(str(before.target))
            if isinstance(made_by, (nn.modules.conv._ConvNd, nn.modules.batchnorm._BatchNorm, nn.Linear)):
                activation.inplace = True  # type: ignore[assignment]
