"""How a tree of variants is run: made ready once, then chunk by chunk."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any, cast

import torch
from torch import Tensor, nn

from resnet_probe.anatomy import reaching
from resnet_probe.evaluate.calibrate import (
    ChunkPlan,
    cache_chunk,
    calibrate,
    default_memory,
    is_out_of_memory,
    memory_bound,
)
from resnet_probe.evaluate.engine import run_tree
from resnet_probe.evaluate.fast import FastUnits
from resnet_probe.evaluate.placed import run_placed
from resnet_probe.evaluate.tree import Tree, grow
from resnet_probe.unraveled import Step, UnraveledNetwork

__all__ = ["CompiledExecutor", "Executor"]


class Executor:
    """Runs variants of a network as a tree, unit by unit, on one device.

    Of a network that is a part of a model, the part is run so, and what is around it once for each variant.

    Args:
        network: whose units are run; its model must be on the device.
        variants: the steps of each.
        device: where to compute.
        precision: `fp32`, `bf16` or `fp16`; of a part, within it.
        fold: fold batch norm into convolutions.
        run: runs the model around a part on inputs and targets.
    """

    def __init__(
        self,
        network: UnraveledNetwork,
        variants: Sequence[Sequence[Step]],
        device: torch.device,
        *,
        precision: str = "fp32",
        fold: bool = True,
        run: Callable[[nn.Module, Any, Any], Any] = lambda model, inputs, targets: model(inputs),
    ) -> None:
        self.device, self._run_model = device, run
        self.tree = self._grown(network, variants)
        self.units = FastUnits(network, precision=precision, fold=fold, prepare=self.prepare)
        self.budget = ChunkPlan(1, 1)

    def prepare(self, module: nn.Module) -> nn.Module:
        """What is done to each unit, when it is first needed."""
        return module

    @staticmethod
    def _grown(network: UnraveledNetwork, variants: Sequence[Sequence[Step]]) -> Tree:
        """The tree of the variants, each cut at every value that it returns."""
        return grow([steps[:tap] for steps in variants for tap in network.taps], network.is_identity)

    def plan(
        self, images: Any, count: int, *, chunk: int | None = None, memory: int | None = None, most: int | None = None
    ) -> ChunkPlan:
        """Images per pass: as told, or what fits the cache (CPU), or as calibrated; never more than the memory allows.

        On a CPU nothing is timed, so that a run that is repeated ends in the same table to the last digit.

        Args:
            images: some of them, to calibrate with.
            count: images of the data set.
            chunk: images per pass, where that is told.
            memory: bytes that activations may take; None is what the device can spare.
            most: images of one pass, at most; variants are stacked all the same.

        Raises:
            ValueError: the memory does not hold one image.
        """
        units = self.units
        at_most = memory_bound(units.network, self.tree, units.dtype, memory or default_memory(self.device))
        if chunk is None and (self.device.type == "cpu" or most):
            chunk = cache_chunk(units.network, units.dtype)
        if chunk is not None:
            chunk = min(chunk, at_most)
            return ChunkPlan(min(chunk, most or chunk), chunk)
        if units.network.place is not None:
            images = reaching(*units.network.place, images)
        return calibrate(units, images, count=count, at_most=at_most, device=self.device)

    def intact(self, inputs: Any, targets: Any) -> Any:
        """Outputs of the network itself."""
        network = self.units.network
        (output,) = self._outputs(self._grown(network, [network.steps]), inputs, targets, stack=1)
        return output

    def _outputs(self, tree: Tree, inputs: Any, targets: Any, *, stack: int) -> list[Any]:
        """Outputs of all variants of a tree."""
        network = self.units.network

        def part(x: Tensor) -> list[Any]:
            values, each = run_tree(tree, self.units, x, stack=stack), len(network.taps)
            return [network.returns(values[i : i + each]) for i in range(0, len(values), each)]

        if network.place is None:
            return part(inputs)
        return list(run_placed(network.place, part, self._run_model, inputs, targets))

    def run(self, images: Any, targets: Any) -> Iterator[tuple[list[Any], Any]]:
        """Outputs of all variants, in the order of the tree, with their targets.

        Images that do not fit the memory after all are halved, and so are those that follow.

        Args:
            images: a chunk, `(N, C, H, W)`, or a list of what the model around a part takes.
            targets: of the images, in the same order.
        """
        parts = [(images, targets)]
        while parts:
            x, y = parts.pop()
            if len(x) > self.budget.stack:
                half = len(x) // 2
                parts += [(x[half:], y[half:]), (x[:half], y[:half])]
                continue
            try:
                outputs = self._outputs(self.tree, x, y, stack=self.budget.stack)
            except RuntimeError as error:
                if self.budget.stack == 1 or not is_out_of_memory(error):
                    raise
                outputs = None
            if outputs is not None:
                yield outputs, y
                continue
            # here the error and the values that its traceback holds are gone
            if self.device.type == "cuda":
                torch.cuda.empty_cache()
            self.budget = replace(self.budget, stack=self.budget.stack // 2)
            parts.append((x, y))


class CompiledExecutor(Executor):
    """Passes each unit through `torch.compile`, for batches of any size."""

    def prepare(self, module: nn.Module) -> nn.Module:
        """The unit, compiled when it first runs."""
        return cast(nn.Module, torch.compile(module, dynamic=True))
