"""The mean error of several edited networks on the same images."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from resnet_probe.statistics import bootstrap_mean, two_way

if TYPE_CHECKING:
    from resnet_probe.evaluate import Score

Interval = tuple[float | None, float | None]


def over_images(scores: Sequence[Score], population: int | None, seed: int) -> tuple[float, Interval, Interval]:
    """The mean, its 95 % interval over images (the same networks), and that over networks and images at once.

    Args:
        scores: of the networks that were drawn.
        population: how many there are to draw from; None for any number.
        seed: of the bootstrap.

    Returns:
        These three; that over both at once only where each image is right or wrong.
    """
    import numpy as np  # noqa: PLC0415

    from resnet_probe.tasks.resampled import ends  # noqa: PLC0415 - torch is needed to run, not to plot

    if not scores[0].flagged:
        means = np.mean([score.resampled["error", ""] for score in scores], axis=0)
        mean = float(np.mean([score.error for score in scores]))
        return mean, ends(mean, means), (None, None)
    wrong = np.stack([score.flags for score in scores])
    both = two_way(wrong, population)
    per_image = 100 * wrong.mean(axis=0)
    return float(per_image.mean()), bootstrap_mean(per_image, seed), (both.low, both.high)
