"""Units made fast for evaluation: batch norm folded into convolutions, the fastest layout, in-place where not shared.

The prepared modules are copies; the network's own weights stay as they are.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal

import torch
from torch import Tensor, nn

from resnet_probe.anatomy import for_inference, overwrite_where_unshared
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
        """Inputs in the precision and memory layout of the units; tokens as they are."""
        if not x.is_floating_point():
            return x
        layout = self._layout(x.device) if x.dim() == 4 else torch.contiguous_format
        return x.to(dtype=self.dtype, memory_format=layout)

    def _layout(self, device: torch.device | None) -> torch.memory_format:
        """Channels last, but for float32 on CUDA without TF32, where cuDNN is several times slower so."""
        slow = device is not None and device.type == "cuda" and self.dtype == torch.float32
        return torch.contiguous_format if slow else torch.channels_last

    def _prepare(self, steps: Sequence[Step]) -> nn.Module:
        module = for_inference(self.network.with_steps(steps).to_module(), fold=self._fold)
        device = next((each.device for each in module.parameters()), None)
        module = module.to(dtype=self.dtype).to(memory_format=self._layout(device)).eval()
        overwrite_where_unshared(module)
        return self._finish(module) if self._finish else module
