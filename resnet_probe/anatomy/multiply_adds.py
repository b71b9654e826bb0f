"""Multiply-adds: what one pass through a network costs, counted while it runs.

The unit is one multiplication with its addition, half of what torch's `FlopCounterMode` calls FLOPs and what He et al.
2015 call FLOPs. Convolutions, linear layers, matrix products and attention are counted; additions, norms, activations
and pooling are not.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

__all__ = ["counted"]


def counted(function: Callable[[Tensor], Tensor], x: Tensor) -> tuple[Tensor, int]:
    """Run a module on a batch and return its output with the multiply-adds of the whole batch.

    Works on the meta device, where nothing is computed but shapes.

    Examples:
        >>> counted(torch.nn.Linear(3, 4), torch.zeros(2, 3))[1]
        24
    """
    # no_grad and not inference_mode, under which the counter sees nothing (pytorch issue 126268); nor does it see the
    # products inside the fused kernels of attention
    fused = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        with torch.no_grad(), sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
            out = function(x)
    finally:
        torch.backends.mha.set_fastpath_enabled(fused)
    return out, counter.get_total_flops() // 2
