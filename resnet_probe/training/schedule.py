"""The learning rate at every step, as a factor on its peak."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

# The factor on the peak learning rate, by the share (0 to 1) of the training after the warm-up that is done.
SCHEDULES: dict[str, Callable[[float], float]] = {
    "constant": lambda done: 1.0,
    "linear": lambda done: 1.0 - done,
    "cosine": lambda done: (1.0 + math.cos(math.pi * done)) / 2,
    "steps": lambda done: 1.0,  # divided at milestones, see `rate_factor`
}


def rate_factor(
    step: int, steps: int, *, rising: int, schedule: str, milestones: Sequence[int] = (), divisor: float = 10.0
) -> float:
    """Return the factor (above 0, at most 1) on the peak learning rate at `step`, counted from 0, of `steps`.

    rising: steps over which the rate rises linearly from near 0 to its peak; then `schedule`, a name of SCHEDULES,
        goes over the steps that are left.
    milestones: with the schedule `steps`, from each of these steps on the rate is `divisor` times smaller.

    Examples:
        >>> [rate_factor(step, 100, rising=0, schedule="steps", milestones=(32, 48)) for step in (31, 32, 48)]
        [1.0, 0.1, 0.01]
    """
    if step < rising:
        return (step + 1) / rising
    factor = SCHEDULES[schedule]((step - rising) / (steps - rising))
    return factor / divisor ** sum(step >= at for at in milestones) if schedule == "steps" else factor
