"""A ratio of two means over the same samples, with its standard error."""

from __future__ import annotations

from typing import Any


def ratio_of_means(above: Any, below: Any, groups: Any) -> tuple[float, float | None]:
    """Mean of `above` over mean of `below`, and its standard error by linearisation.

    The ratio R varies as the mean of `above` - R `below`, whose samples are added up by group first, because those of
    one group are alike; over m groups the sum of squares is multiplied by m / (m - 1).

    Args:
        above, below: (samples,) values measured on the same samples.
        groups: (samples,) what the samples of a group have in common, such as the number of their image.

    Returns:
        The ratio and its standard error, which is None with a single group. NaN where the mean of `below` is 0.

    Assumes: independent groups, enough of them for the mean of `below` to vary little.

    Source: Cochran 1977, Sampling Techniques, section 2.11, for groups of samples instead of single ones.
    """
    import numpy as np  # noqa: PLC0415

    above, below = np.asarray(above, dtype=float), np.asarray(below, dtype=float)
    if not below.sum():
        return float("nan"), None
    ratio = above.sum() / below.sum()
    _, members = np.unique(np.asarray(groups), return_inverse=True)
    left = np.bincount(members.ravel(), weights=above - ratio * below)
    if len(left) < 2:
        return float(ratio), None
    error = np.sqrt((left**2).sum() * len(left) / (len(left) - 1)) / below.sum()
    return float(ratio), float(error)
