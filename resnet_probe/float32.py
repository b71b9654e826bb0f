"""Float32 that is float32 on CUDA too: unless told otherwise, cuDNN rounds what it convolves to TF32, ten bits."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

__all__ = ["full_float32"]


@contextmanager
def full_float32() -> Iterator[None]:
    """Within the block, or the function that this decorates, convolutions keep all bits of float32.

    TF32 is off by a thousandth, which changes predictions, and gradients that are split no longer add up. Products of
    matrices are left as torch is set: it rounds those only where that was asked for.
    """
    import torch  # noqa: PLC0415 - what is made of tables alone needs none

    cudnn: Any = torch.backends.cudnn
    before = cudnn.conv.fp32_precision, cudnn.rnn.fp32_precision
    _allow_tf32(False)
    cudnn.conv.fp32_precision = cudnn.rnn.fp32_precision = "ieee"  # or what is set for all of torch would hold here
    try:
        yield
    finally:
        _allow_tf32(before == ("tf32", "tf32"))
        cudnn.conv.fp32_precision, cudnn.rnn.fp32_precision = before


def _allow_tf32(allowed: bool) -> None:
    """By the old setting, because torch refuses to read it where only the new ones were set."""
    import torch  # noqa: PLC0415

    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*TF32.*", category=UserWarning)
        torch.backends.cudnn.allow_tf32 = allowed
