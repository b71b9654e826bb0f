"""Evaluate many variants of a network over a data set in one shared pass.

tree.py     variants -> a plan in which common beginnings are run once
fast.py     units with batch norm folded, channels-last, in lower precision
engine.py   a plan over a batch of images; outcomes per image
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch

from resnet_probe.data import Data
from resnet_probe.evaluate.engine import Outcome, run_plan, score
from resnet_probe.evaluate.fast import PRECISIONS, FastUnits
from resnet_probe.evaluate.tree import Plan, plan
from resnet_probe.unraveled import Step, UnraveledNetwork

__all__ = ["PRECISIONS", "FastUnits", "Outcome", "Plan", "Score", "evaluate", "plan", "run_plan", "score"]


@dataclass(frozen=True)
class Score:
    """A variant's result over a data set.

    Attributes:
        images: how many images were evaluated.
        wrong: how many of them were classified wrongly.
        changed: how many predictions differ from the first variant's.
        loss: mean cross-entropy, in nats.
    """

    images: int
    wrong: int
    changed: int
    loss: float

    @property
    def error(self) -> float:
        """Share of wrong predictions, in percent."""
        return 100.0 * self.wrong / self.images


def evaluate(
    network: UnraveledNetwork,
    variants: Mapping[str, Sequence[Step]],
    data: Data,
    *,
    batch_size: int = 64,
    device: str | torch.device = "cpu",
    precision: str = "fp32",
    progress: Callable[[int, int], None] | None = None,
) -> dict[str, Score]:
    """Evaluate variants of `network` over `data`; what they share is computed once.

    Args:
        network: the unraveled network; its model must be on `device`.
        variants: per name the steps of a chain over the network's units; `changed` refers to the first one.
        data: labelled images.
        batch_size: images per pass.
        device: where to compute.
        precision: `fp32`, `bf16` or `fp16`.
        progress: called with the number of images done and their total.

    Returns:
        Per variant its score.

    Raises:
        ValueError: no variants, unknown precision, or a class count that does not fit the data.
    """
    if not variants:
        raise ValueError("no variants to evaluate; give at least the intact network's steps")
    tree = plan(list(variants.values()), network.is_identity)
    units = FastUnits(network, precision=precision)
    wrong = changed = loss = None
    done = 0
    with torch.inference_mode():
        for images, labels in data.batches(batch_size, device=device):
            outputs = run_plan(tree, units, images, stack=batch_size)
            if outputs[0].shape[-1] < len(data.classes):
                raise ValueError(
                    f"the network has {outputs[0].shape[-1]} classes and {data.name} has {len(data.classes)}; "
                    "give a network and data with the same classes"
                )
            outcomes = score(outputs, labels)
            parts = [torch.stack([o.wrong.sum() for o in outcomes]), torch.stack([o.changed.sum() for o in outcomes])]
            loss_part = torch.stack([o.loss.sum() for o in outcomes])
            wrong = parts[0] if wrong is None else wrong + parts[0]
            changed = parts[1] if changed is None else changed + parts[1]
            loss = loss_part if loss is None else loss + loss_part
            done += len(labels)
            if progress:
                progress(done, len(data))
    assert wrong is not None
    assert changed is not None
    assert loss is not None
    return {
        name: Score(done, w, c, total / done)
        for name, w, c, total in zip(variants, wrong.tolist(), changed.tolist(), loss.tolist(), strict=True)
    }
