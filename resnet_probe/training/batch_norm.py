"""Batch norm over the images of all processes, on any device.

torch has it for GPUs only. With it, several processes train as one process does with the same batch; without it, each
normalises over its own images, as He et al. 2015 did with two GPUs.
"""

from __future__ import annotations

import torch
import torch.distributed
from torch import Tensor, nn
from torch.distributed.nn.functional import all_reduce


class SharedBatchNorm(nn.modules.batchnorm._BatchNorm):
    """Batch norm whose mean and variance are those of all processes' images together, however many each has."""

    def _check_input_dim(self, x: Tensor) -> None:
        pass

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, ...) -> the same shape."""
        if not self.training or not torch.distributed.is_initialized():
            return super().forward(x)
        over = [0, *range(2, x.dim())]
        values = x.float()
        count = torch.full((1,), x.numel() / x.shape[1], device=x.device)
        sums = all_reduce(torch.cat([values.sum(over), values.square().sum(over), count]))
        total = sums[-1]
        mean, square = (sums[:-1] / total).chunk(2)
        variance = (square - mean.square()).clamp(min=0)  # rounding can make it negative
        if self.running_mean is not None and self.running_var is not None and self.num_batches_tracked is not None:
            with torch.no_grad():
                self.num_batches_tracked.add_(1)
                share = self.momentum if self.momentum is not None else 1 / float(self.num_batches_tracked)
                self.running_mean.lerp_(mean, share)
                self.running_var.lerp_(variance * total / (total - 1), share)
        shape = (1, -1, *[1] * (x.dim() - 2))
        result = (values - mean.view(shape)) * torch.rsqrt(variance.view(shape) + self.eps)
        if self.affine:
            result = result * self.weight.view(shape) + self.bias.view(shape)
        return result.to(x.dtype)


def share_batch_norm(model: nn.Module) -> None:
    """Let every batch norm of `model`, in place, count the images of all processes; its weights and names stay."""
    for module in model.modules():
        if type(module) in (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d):
            module.__class__ = SharedBatchNorm


def own_batch_norm(model: nn.Module, kinds: dict[str, type[nn.Module]]) -> None:
    """Give the batch norms of `model` the classes back that they had."""
    for name, kind in kinds.items():
        model.get_submodule(name).__class__ = kind
