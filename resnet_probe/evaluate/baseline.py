"""The unlesioned error, and whether another normalisation of the images would give a clearly lower one.

The wrong mean and standard deviation lower a network's accuracy without any other sign, so every analysis begins here.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from resnet_probe.anatomy import named_outputs, scores_in
from resnet_probe.data import NORMALIZATIONS, Data, normalizations_for
from resnet_probe.float32 import full_float32
from resnet_probe.tasks import CLASSIFICATION

__all__ = ["Baseline", "baseline"]

SAMPLE = 1000  # images on which normalisations are compared
CLEAR = 3.0  # standard errors


@dataclass(frozen=True)
class Baseline:
    """Error of the intact network on (a sample of) the data.

    Attributes:
        images: how many images were used.
        errors: per normalisation that was tried the error in percent; the one of the data first.
        better: another normalisation with a clearly lower error, or None.
    """

    images: int
    errors: dict[str, float]
    better: str | None

    @property
    def error(self) -> float:
        """Error with the normalisation of the data, in percent."""
        return next(iter(self.errors.values()))


@full_float32()
def baseline(
    model: nn.Module, data: Data, *, device: str = "cpu", batch_size: int = 64, others: bool = True
) -> Baseline:
    """Measure the error of `model` on up to 1,000 images, under the data's normalisation and the other known ones.

    "Clearly lower" means: of the images on which two normalisations disagree about being right, the difference is more
    than three standard errors (McNemar 1947), and the error differs by at least one percentage point.

    Args:
        model: network in evaluation mode, on `device`.
        data: labelled images.
        others: also try the other known normalisations that fit the number of channels.

    Raises:
        ValueError: the model returns no single tensor.
    """
    if len(data) > SAMPLE:
        data = data.subset(torch.linspace(0, len(data) - 1, SAMPLE).long().tolist())
    wrong = {data.normalization: _wrong(model, data, device, batch_size)}
    if others and data.is_pixels:  # the known ones are for pixels
        for name in normalizations_for(data.input_shape[0]):
            if NORMALIZATIONS[name] != (data.mean, data.std) and name != data.normalization:
                wrong[name] = _wrong(model, data.with_normalization(name), device, batch_size)
    errors = {name: 100.0 * flags.double().mean().item() for name, flags in wrong.items()}
    here = wrong[data.normalization]
    best = min(errors, key=lambda name: errors[name])
    gained = (here & ~wrong[best]).sum().item()
    lost = (~here & wrong[best]).sum().item()
    clear = gained - lost > CLEAR * math.sqrt(gained + lost) and errors[data.normalization] - errors[best] >= 1.0
    return Baseline(len(data), errors, best if clear else None)


def _wrong(model: nn.Module, data: Data, device: str, batch_size: int) -> Tensor:
    with torch.inference_mode():
        parts = [CLASSIFICATION.wrong(_scores(model, x), y) for x, y in data.batches(batch_size, device=device)]
    return torch.cat(parts)


def _scores(model: nn.Module, images: Tensor) -> Tensor:
    output = model(images)
    if not isinstance(output, Tensor) and (name := scores_in(named := named_outputs(output))):
        return named[name]  # type: ignore[no-any-return]
    if not isinstance(output, Tensor):
        raise ValueError(
            f"{type(model).__name__} returns a {type(output).__name__} and one tensor is needed: wrap the model so "
            "that forward returns the class scores"
        )
    return output
