"""Run a plan of variants over a batch of images, within a memory budget.

States of the same wave that need the same step are stacked into one larger batch, so that small image batches still
fill the machine; images per pass are chosen so that all states alive at one time fit the budget.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from resnet_probe.evaluate.fast import FastUnits
from resnet_probe.evaluate.tree import Edge, Plan
from resnet_probe.unraveled import Step

__all__ = ["Outcome", "run_plan", "score"]


@dataclass(frozen=True)
class Outcome:
    """What one variant did on some images.

    Attributes:
        wrong: bool `(N,)`, per image whether the prediction is wrong.
        changed: bool `(N,)`, per image whether it differs from the first variant's prediction.
        loss: float64 `(N,)`, cross-entropy per image, in nats.
    """

    wrong: Tensor
    changed: Tensor
    loss: Tensor


def run_plan(plan: Plan, units: FastUnits, images: Tensor, *, stack: int) -> list[Tensor]:
    """Outputs of all variants for one batch of images.

    Args:
        plan: what to run.
        units: the steps as modules.
        images: `(N, C, H, W)`.
        stack: run at most this many images' worth of stacked states at a time (at least one state).

    Returns:
        Per variant the output, `(N, classes)`.
    """
    batch = len(images)
    states = {0: units.arrange(images)}
    per_run = max(1, stack // batch)
    for wave, free in zip(plan.waves, plan.frees, strict=True):
        for step, edges in _by_step(wave):
            module = units(step)
            for start in range(0, len(edges), per_run):
                _run_stacked(module, edges[start : start + per_run], states, batch)
        for state in free:
            states.pop(state, None)
    return [states[state] for state in plan.finals]


def score(outputs: Sequence[Tensor], labels: Tensor) -> list[Outcome]:
    """Compare outputs with the labels, and with the outputs of the first variant.

    Args:
        outputs: per variant `(N, classes)`.
        labels: int64 `(N,)`.
    """
    outcomes = []
    reference = outputs[0].argmax(1)
    for output in outputs:
        predicted = output.argmax(1)
        loss = F.cross_entropy(output.float(), labels, reduction="none").double()
        outcomes.append(Outcome(predicted != labels, predicted != reference, loss))
    return outcomes


def _by_step(wave: Sequence[Edge]) -> Iterator[tuple[Step, list[Edge]]]:
    groups: dict[Step, list[Edge]] = {}
    for edge in wave:
        groups.setdefault(edge.step, []).append(edge)
    yield from groups.items()


def _run_stacked(module: torch.nn.Module, edges: Sequence[Edge], states: dict[int, Tensor], batch: int) -> None:
    if len(edges) == 1:
        states[edges[0].target] = module(states[edges[0].source])
        return
    result = module(torch.cat([states[edge.source] for edge in edges]))
    # a unit may change the leading dimension (windows of a transformer), but by the same factor for every image
    for edge, part in zip(edges, result.split(len(result) // len(edges)), strict=True):
        states[edge.target] = part
