"""Intervals, in one place: of an error over images, of a mean over draws, of a rank correlation.

All are 95 % intervals. scipy is imported where it is used, since it takes half a second.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

__all__ = ["RankCorrelation", "bootstrap_mean", "spearman", "wilson"]

RESAMPLES = 2000


@dataclass(frozen=True)
class RankCorrelation:
    """Spearman's rank correlation with its bootstrap interval; None where it is not defined."""

    spearman: float | None
    spearman_low: float | None
    spearman_high: float | None


def wilson(wrong: int, images: int, confidence: float = 0.95) -> tuple[float, float]:
    """Wilson's interval for an error of `wrong` among `images`, in percent.

    Source: Wilson 1927, "Probable inference, the law of succession, and statistical inference".
    """
    from scipy.stats import binomtest  # noqa: PLC0415

    interval = binomtest(wrong, images).proportion_ci(confidence, method="wilson")
    return 100 * float(interval.low), 100 * float(interval.high)


def bootstrap_mean(values: Any, seed: int) -> tuple[float | None, float | None]:
    """Percentile bootstrap interval of the mean of `values`; none for fewer than two of them.

    Source: Efron and Tibshirani 1993, "An Introduction to the Bootstrap", chapter 13.
    """
    import numpy as np  # noqa: PLC0415
    from scipy.stats import bootstrap  # noqa: PLC0415

    values = np.asarray(values, dtype=float)
    if len(values) < 2:
        return None, None
    interval = bootstrap(
        (values,), np.mean, n_resamples=RESAMPLES, method="percentile", rng=np.random.default_rng(seed), batch=100
    ).confidence_interval
    return float(interval.low), float(interval.high)


def spearman(x: Sequence[float], y: Sequence[float], seed: int) -> RankCorrelation:
    """Spearman's rank correlation of `x` and `y`, with a percentile bootstrap interval over the pairs."""
    import numpy as np  # noqa: PLC0415
    from scipy.stats import spearmanr  # noqa: PLC0415

    if len(set(x)) < 2 or len(set(y)) < 2:
        return RankCorrelation(None, None, None)
    a, b = np.asarray(x, dtype=float), np.asarray(y, dtype=float)
    found = float(spearmanr(a, b).statistic)
    generator = np.random.default_rng(seed)
    resampled = []
    for _ in range(RESAMPLES // 2):
        chosen = generator.integers(len(a), size=len(a))
        if len(set(a[chosen])) > 1 and len(set(b[chosen])) > 1:
            resampled.append(spearmanr(a[chosen], b[chosen]).statistic)
    low, high = np.quantile(resampled, [0.025, 0.975]) if resampled else (found, found)
    return RankCorrelation(found, float(low), float(high))
