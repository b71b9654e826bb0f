"""Units that normalise with the batch's own statistics, as in training, without touching the model's modules."""

from __future__ import annotations

from typing import Literal

from torch import nn
from torch.nn.modules.batchnorm import _NormBase

from resnet_probe.anatomy import share_tensors

BatchNorm = Literal["eval", "train"]
BATCH_NORMS = ("eval", "train")


def with_batch_norm(module: nn.Module, mode: BatchNorm) -> nn.Module:
    """The module with batch norm in evaluation or training mode.

    In training mode every batch norm uses the mean and variance of the batch it is given, and the gradient flows
    through them, as in a training step. Nothing is written back: running statistics stay as they are, for the
    returned copy has none. Everything else, dropout above all, stays in evaluation mode, so that a forward pass is a
    function of the batch alone.

    Args:
        module: part of an unraveled network, in evaluation mode; it is not changed.
        mode: "eval" or "train".

    Returns:
        The module itself for "eval", else a copy that shares its weights.

    Raises:
        LookupError: an unknown mode.
    """
    if mode not in BATCH_NORMS:
        raise LookupError(f"no batch norm mode {mode!r}; choose one of {', '.join(BATCH_NORMS)}")
    if mode == "eval" or not any(isinstance(part, _NormBase) for part in module.modules()):
        return module
    copied = share_tensors(module)
    for part in copied.modules():
        if isinstance(part, _NormBase):
            # without running statistics torch normalises with the batch's, in evaluation mode too
            part.track_running_stats = False
            for name in ("running_mean", "running_var", "num_batches_tracked"):
                if name in part._buffers:
                    part._buffers[name] = None
    return copied
