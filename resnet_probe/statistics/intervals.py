"""Intervals, in one place: of an error over images, of a mean over draws, of a rank correlation.

All are 95 % intervals, those of scipy 1.17 to the last digit: importing `scipy.stats` takes longer than most of the
runs that need one of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import sqrt
from operator import index
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy

__all__ = ["RankCorrelation", "bootstrap_mean", "spearman", "wilson"]

RESAMPLES = 2000
TOGETHER = 100  # resamples drawn at a time
TWO_SIDED_95 = 1.959963984540054  # the normal quantile of 0.975


@dataclass(frozen=True)
class RankCorrelation:
    """Spearman's rank correlation with its bootstrap interval; None where it is not defined."""

    spearman: float | None
    spearman_low: float | None
    spearman_high: float | None


def wilson(wrong: int, images: int, confidence: float = 0.95) -> tuple[float, float]:
    """Wilson's interval for an error of `wrong` among `images`, in percent.

    Raises:
        ValueError: not a number of images, or more of them wrong than there are.

    Source: Wilson 1927, "Probable inference, the law of succession, and statistical inference"; in the form of
    Newcombe 1998, "Two-sided confidence intervals for the single proportion", method 3.
    """
    wrong, images = index(wrong), index(images)
    if images < 1 or not 0 <= wrong <= images:
        raise ValueError(f"{wrong} of {images} images wrong: it takes at least one image, and 0 to all of them wrong")
    z = TWO_SIDED_95
    if confidence != 0.95:
        from scipy.special import ndtri  # noqa: PLC0415  # a third of a second; the standard library's has other digits

        z = float(ndtri(0.5 + 0.5 * confidence))
    share = wrong / images
    double = 2 * (images + z**2)
    centre = (2 * images * share + z**2) / double
    margin = z / double * sqrt(4 * images * share * (1 - share) + z**2)
    low = 0.0 if wrong == 0 else centre - margin
    high = 1.0 if wrong == images else centre + margin
    return 100 * low, 100 * high


def bootstrap_mean(values: Any, seed: int) -> tuple[float | None, float | None]:
    """Percentile bootstrap interval of the mean of `values`; none for fewer than two of them.

    Source: Efron and Tibshirani 1993, "An Introduction to the Bootstrap", chapter 13.
    """
    import numpy as np  # noqa: PLC0415

    values = np.asarray(values, dtype=float)
    if len(values) < 2:
        return None, None
    generator = np.random.default_rng(seed)
    draws = (generator.integers(0, len(values), (TOGETHER, len(values))) for _ in range(RESAMPLES // TOGETHER))
    means = np.sort(np.concatenate([values[chosen].mean(axis=-1) for chosen in draws]))
    tail = (1 - 0.95) / 2
    return _quantile(means, tail), _quantile(means, 1 - tail)


def spearman(x: Sequence[float], y: Sequence[float], seed: int) -> RankCorrelation:
    """Spearman's rank correlation of `x` and `y`, with a percentile bootstrap interval over the pairs."""
    import numpy as np  # noqa: PLC0415

    if len(set(x)) < 2 or len(set(y)) < 2:
        return RankCorrelation(None, None, None)
    a, b = np.asarray(x, dtype=float), np.asarray(y, dtype=float)
    found = _rank_correlation(a, b)
    generator = np.random.default_rng(seed)
    resampled = []
    for _ in range(RESAMPLES // 2):
        chosen = generator.integers(len(a), size=len(a))
        if len(set(a[chosen])) > 1 and len(set(b[chosen])) > 1:
            resampled.append(_rank_correlation(a[chosen], b[chosen]))
    low, high = np.quantile(resampled, [0.025, 0.975]) if resampled else (found, found)
    return RankCorrelation(found, float(low), float(high))


def _quantile(ascending: numpy.ndarray, share: float) -> float:
    """Interpolated as scipy's bootstrap does; numpy's own differs in the last digit."""
    place = share * len(ascending) + (1 - share) - 1
    below = int(place)
    part = place % 1
    return float((1 - part) * ascending[below] + part * ascending[min(below + 1, len(ascending) - 1)])


def _rank_correlation(a: numpy.ndarray, b: numpy.ndarray) -> float:
    """Pearson's correlation of the ranks; ties share the mean of theirs."""
    import numpy as np  # noqa: PLC0415

    def ranks(values: numpy.ndarray) -> numpy.ndarray:
        ascending = np.sort(values)
        below, reached = (np.searchsorted(ascending, values, side) for side in ("left", "right"))
        return (below + reached + 1) / 2

    return float(np.corrcoef(ranks(a), ranks(b))[1, 0])
