"""How long cut networks take, each as a module of its own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch

from resnet_probe.analyses.runtime import Runtime
from resnet_probe.analyses.subject import Subject
from resnet_probe.evaluate.timing import time_forward
from resnet_probe.unraveled import Step

BATCHES = (8, 32, 128)  # the one in which the intact network is fastest is the best batch
SECONDS = 0.2  # of each measurement


def times(
    subject: Subject, chains: Mapping[str, Sequence[Step]], runtime: Runtime
) -> tuple[dict[str, tuple[float, float]], dict[str, Any]]:
    """Milliseconds per image of every chain, of an image alone and in the best batch; and the settings of both.

    Chains that have as many units of each shape are timed once.
    """
    network = subject.network

    def measured(steps: Sequence[Step], batch: int) -> float:
        module = network.with_steps(steps).to_module()
        return time_forward(module, network.input_shape, batch_size=batch, seconds=SECONDS, device=runtime.device)

    def made_of(steps: Sequence[Step]) -> tuple[str, ...]:
        run = [(network.units[step.unit], step) for step in steps if not network.is_identity(step)]
        return tuple(
            sorted(f"{u.plan.in_shape} {u.plan.out_shape} {u.parameters} {step.mode} {step.factors}" for u, step in run)
        )

    best = min(BATCHES, key=lambda batch: measured(network.steps, batch))
    apart = {made_of(steps): steps for steps in chains.values()}
    found = {}
    with runtime.progress(f"times of {subject.name}") as report:
        for number, (key, steps) in enumerate(apart.items(), 1):
            found[key] = measured(steps, 1), measured(steps, best)
            report(number, len(apart))
    about = {"best_batch": best, "threads": torch.get_num_threads()}
    return {name: found[made_of(steps)] for name, steps in chains.items()}, about
