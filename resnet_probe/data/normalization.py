"""Normalisation, in one place: what is stored becomes what a network takes.

| stored | brought to | then, channel by channel (dimension 1) |
|---|---|---|
| uint8 pixels (N, C, H, W) | 0..1, divided by 255 | minus a mean, divided by a standard deviation |
| uint16, int16 or int32 pixels (N, C, H, W) from 0 to 65,535 | 0..1, divided by 65,535 | the same |
| floats (N, ...) | float32, as they are | the same |
| int64 tokens (N, T) | as they are | nothing: the normalisation must be "none" |

NORMALIZATIONS        the known ones, by name
parse_normalization   a name, or "mean;std", to numbers
normalizations_for    the known ones that fit a number of channels
BRIGHTEST             the value of a pixel that becomes 1, by type
normalizer            what is stored, on a device, to what a network takes, on the same device
"""

from __future__ import annotations

import difflib
import math
from collections.abc import Callable

import torch
from torch import Tensor

from resnet_probe.data.errors import DataError

MeanStd = tuple[tuple[float, ...], tuple[float, ...]]

BRIGHTEST = {torch.uint8: 255, torch.uint16: 65535, torch.int16: 65535, torch.int32: 65535}

# Values are for pixels in 0..1; one value serves any number of channels.
NORMALIZATIONS: dict[str, MeanStd | None] = {
    "none": None,  # pixels stay in 0..1, floats as they are
    "cifar10": ((0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616)),  # the training images, all pixels together
    # The same mean, but the standard deviation inside single images, averaged: what many public CIFAR-10 checkpoints
    # were trained with since github.com/kuangliu/pytorch-cifar.
    "kuangliu": ((0.4914, 0.4822, 0.4465), (0.2023, 0.1994, 0.2010)),
    "cifar100": ((0.5071, 0.4865, 0.4409), (0.2673, 0.2564, 0.2762)),  # the training images
    "imagenet": ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),  # torchvision's classification references
    "half": ((0.5,), (0.5,)),  # pixels in -1..1
    "digits": ((0.3052,), (0.3760,)),  # the training images of load_data("digits")
}


def parse_normalization(text: str, *, pixels: bool = True) -> MeanStd | None:
    """Return the mean and the standard deviation that `text` stands for, or None for "none".

    `text` is a name from NORMALIZATIONS, or numbers for pixels in 0..1 as "mean;std", each one value or one value per
    channel: "0.5,0.5,0.5;0.25,0.25,0.25" or "0.5;0.25". For floats (not `pixels`) the mean may be any number.

    Raises DataError for an unknown name or numbers that cannot be a mean and a standard deviation.

    Examples:
        >>> parse_normalization("0.5;0.25")
        ((0.5,), (0.25,))
    """
    text = text.strip()
    if text in NORMALIZATIONS:
        return NORMALIZATIONS[text]
    if ";" not in text:
        close = difflib.get_close_matches(text, NORMALIZATIONS, n=1)
        hint = f"; did you mean {close[0]!r}?" if close else ""
        raise DataError(
            f'unknown normalisation {text!r}: give one of {", ".join(NORMALIZATIONS)}, or numbers as "mean;std"{hint}'
        )
    means = "for pixels in 0..1 (means within 0..1" if pixels else "(finite means"
    fault = DataError(
        f"normalisation {text!r} is not mean;std: give two lists of the same number of values {means}, deviations "
        'above 0), such as "0.5,0.5,0.5;0.25,0.25,0.25"'
    )
    try:
        mean, std = (tuple(float(value) for value in part.split(",")) for part in text.split(";"))
    except ValueError:
        raise fault from None
    allowed = all(0 <= m <= 1 if pixels else math.isfinite(m) for m in mean)
    if len(mean) != len(std) or not allowed or not all(0 < s < math.inf for s in std):
        raise fault
    return mean, std


def normalizations_for(channels: int) -> tuple[str, ...]:
    """Return the names from NORMALIZATIONS that can be applied to images with `channels` channels."""
    return tuple(name for name, known in NORMALIZATIONS.items() if known is None or len(known[0]) in (1, channels))


def normalizer(known: MeanStd | None, device: torch.device | str = "cpu") -> Callable[[Tensor], Tensor]:
    """Return a function from what is stored, on `device`, to what a network takes, by the table of this module.

    For uint8 the operations are torchvision's ToTensor and Normalize in the same order, so the result is equal bit for
    bit. The constants go to the device once, here: the function itself never makes the host wait. It changes nothing
    that is stored.
    """
    constants = known and [torch.tensor(values, dtype=torch.float32).to(device) for values in known]

    def normalize(stored: Tensor) -> Tensor:
        if stored.dtype == torch.int64:
            return stored
        values = stored.to(torch.float32, copy=True)
        if (brightest := BRIGHTEST.get(stored.dtype)) is not None:
            values.div_(brightest)
        if constants is not None:
            mean, std = (each.view(-1, *[1] * (stored.dim() - 2)) for each in constants)
            values.sub_(mean).div_(std)
        return values

    return normalize
