"""How many predictions a lower precision changes, measured on a sample of the images."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch

from resnet_probe.data import Data
from resnet_probe.evaluate.engine import run_tree
from resnet_probe.evaluate.fast import FastUnits
from resnet_probe.evaluate.tree import grow
from resnet_probe.float32 import full_float32
from resnet_probe.tasks import CLASSIFICATION
from resnet_probe.unraveled import Step, UnraveledNetwork

__all__ = ["changed_by_precision"]

SAMPLE = 64  # images


@full_float32()
def changed_by_precision(
    network: UnraveledNetwork,
    variants: Mapping[str, Sequence[Step]],
    data: Data,
    *,
    precision: str,
    device: str | torch.device = "cpu",
) -> dict[str, int]:
    """Compare the predictions of all variants with those in fp32, on the first 64 images.

    Returns:
        `compared`, the number of predictions (variants x images), and `differ`, how many of them are others.
    """
    tree = grow(list(variants.values()), network.is_identity)
    with torch.inference_mode():
        images, _ = next(data.subset(slice(0, SAMPLE)).batches(SAMPLE, device=device))
        predicted = [
            CLASSIFICATION.predict(
                torch.stack(run_tree(tree, FastUnits(network, precision=name), images, stack=len(images)))
            )
            for name in ("fp32", precision)
        ]
    return {"compared": predicted[0].numel(), "differ": int((predicted[0] != predicted[1]).sum())}
