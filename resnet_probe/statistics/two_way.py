"""A mean over draws and images, with an interval over both: other draws, and other images.

An interval over the images alone is for these draws, one over the draws alone for these images; neither says where the
mean of other draws on other images would lie.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import exp, inf, log, sqrt
from typing import TYPE_CHECKING, Any

from resnet_probe.statistics.intervals import wilson

if TYPE_CHECKING:
    import numpy


@dataclass(frozen=True)
class TwoWay:
    """A mean over draws and images, in percent or the unit of its values; None where it cannot be estimated.

    Attributes:
        mean: over all draws and images.
        low, high: interval over draws and images at once.
        error: standard error that goes with it.
        over_draws, over_images: standard errors of the mean over each source alone, the other held fixed.
    """

    mean: float
    low: float | None
    high: float | None
    error: float | None
    over_draws: float | None
    over_images: float | None


def two_way(wrong: Any, population: int | None = None, confidence: float = 0.95) -> TwoWay:
    """Mean of wrong flags over draws and images, with an interval over both at once.

    The variance of the mean is put together from a two-way analysis of variance without replication,

        (1 - f) (S_draws / d - S_residual / (d n)) + S_images / n,

    with S_draws and S_images the variances of the d draws' and the n images' means, S_residual the mean square that
    neither explains, and f the share of all possible draws that was drawn. A part that comes out negative counts as
    zero. The interval is Student's, on the scale of the log odds, with Satterthwaite's degrees of freedom.

    Args:
        wrong: (draws, images) flags, or shares from 0 to 1.
        population: how many different draws there are, where they are drawn without repetition; by default so many
            that none comes twice. With all of them drawn, the interval is over the images alone.
        confidence: of the interval, between 0 and 1.

    Returns:
        The mean and its interval in percent. A single draw (of several) or a single image gives no interval. Where all
        flags are equal the interval is Wilson's over the images, which the draws share.

    Assumes: draws and images are two independent random samples; any dependence within a draw or within an image is
    allowed. The worst case is few draws with a skewed distribution, such as ten of which one destroys the network:
    see `docs/statistics.md` for the coverage there.

    Raises:
        ValueError: not a matrix of shares, or a population smaller than the draws.

    Source: components and degrees of freedom: Searle, Casella and McCulloch 1992, "Variance Components", chapter 4, and
    Satterthwaite 1946; finite population: Cochran 1977, "Sampling Techniques", section 2.6; log odds: Korn and Graubard
    1999, "Analysis of Health Surveys", section 2.8. It agrees with the pigeonhole bootstrap of Owen 2007 where both
    samples are large, and covers better where one is small.
    """
    import numpy as np  # noqa: PLC0415
    from scipy.special import stdtrit  # noqa: PLC0415

    flags = np.asarray(wrong)
    if flags.ndim != 2 or flags.size == 0:
        raise ValueError(f"flags of shape {flags.shape}; give (draws, images), at least one of each")
    draws, images = flags.shape
    if population is not None and population < draws:
        raise ValueError(f"{draws} draws out of {population}: give how many different draws there are in all")
    if not 0 < confidence < 1:
        raise ValueError(f"a confidence of {confidence:g}; it lies between 0 and 1, such as 0.95")
    if flags.dtype == bool:
        rows, columns, squares = np.count_nonzero(flags, 1), np.count_nonzero(flags, 0), float(np.count_nonzero(flags))
    else:
        flags = flags.astype(float)
        if not ((flags >= 0) & (flags <= 1)).all():
            raise ValueError("flags that are not between 0 and 1: give True for a wrong image, or shares")
        rows, columns, squares = flags.sum(1), flags.sum(0), float(np.square(flags).sum())
    rows, columns = rows / images, columns / draws
    mean = float(rows.mean())
    of_draws, of_images, variance, freedom = _variances(rows, columns, squares, mean, population)
    alone = [None if part is None else 100 * sqrt(part) for part in (of_draws, of_images)]
    if variance is None:
        return TwoWay(100 * mean, None, None, None, *alone)
    if not 0 < mean < 1:
        low, high = wilson(round(mean) * images, images, confidence)  # the draws share the images
        return TwoWay(100 * mean, low, high, 0.0, *alone)
    error = sqrt(variance)
    reach = float(stdtrit(min(freedom, 1e12), (1 + confidence) / 2)) * error / (mean * (1 - mean))
    odds = log(mean / (1 - mean))
    return TwoWay(100 * mean, 100 * _share(odds - reach), 100 * _share(odds + reach), 100 * error, *alone)


def two_way_mean(values: Any, population: int | None = None, confidence: float = 0.95) -> TwoWay:
    """Mean of any numbers over draws and images, with Student's interval over both at once; in the unit of the values.

    The variance is put together as in `two_way`; there is no other scale.

    Args:
        values: (draws, images).
        population: as `two_way` takes it; with one draw of one, the interval is Student's over the images.
        confidence: of the interval, between 0 and 1.

    Assumes: as `two_way`; and means that are nearly normal.

    Raises:
        ValueError: not a matrix.
    """
    import numpy as np  # noqa: PLC0415
    from scipy.special import stdtrit  # noqa: PLC0415

    numbers = np.asarray(values, dtype=float)
    if numbers.ndim != 2 or numbers.size == 0:
        raise ValueError(f"values of shape {numbers.shape}; give (draws, images), at least one of each")
    mean = float(numbers.mean())
    centred = numbers - mean  # or squares of a large mean would drown the rest
    rows, columns = centred.mean(1), centred.mean(0)
    of_draws, of_images, variance, freedom = _variances(rows, columns, float(np.square(centred).sum()), 0.0, population)
    alone = [None if part is None else sqrt(part) for part in (of_draws, of_images)]
    if variance is None:
        return TwoWay(mean, None, None, None, *alone)
    reach = float(stdtrit(min(freedom, 1e12), (1 + confidence) / 2)) * sqrt(variance)
    return TwoWay(mean, mean - reach, mean + reach, sqrt(variance), *alone)


def _variances(
    rows: numpy.ndarray, columns: numpy.ndarray, squares: float, mean: float, population: int | None
) -> tuple[float | None, float | None, float | None, float]:
    """Variance of a mean over the draws alone, over the images alone, and over both with its degrees of freedom.

    Args:
        rows, columns: means of the draws and of the images.
        squares: sum of the squares of all numbers.
        mean: of all numbers.
        population: how many different draws there are.
    """
    import numpy as np  # noqa: PLC0415

    draws, images = len(rows), len(columns)
    kept = 1.0 if population is None else 1 - draws / population
    of_images = float(columns.var(ddof=1)) / images if images > 1 else None
    of_draws = kept * float(rows.var(ddof=1)) / draws if draws > 1 else None if kept else 0.0
    if of_images is None or of_draws is None:
        return of_draws, of_images, None, inf
    noise = 0.0
    if draws > 1:
        around = [float(np.square(means - mean).sum()) for means in (rows, columns)]
        left = squares - draws * images * mean**2 - images * around[0] - draws * around[1]
        noise = kept * max(left, 0.0) / ((draws - 1) * (images - 1)) / (draws * images)
    variance = max(of_draws - noise, 0.0) + max(of_images - noise, 0.0) + noise
    spent = of_images**2 / (images - 1) + (of_draws**2 / (draws - 1) if draws > 1 else 0.0)
    return of_draws, of_images, variance, max(1.0, variance**2 / spent) if spent else inf


def _share(odds: float) -> float:
    """The share whose log odds these are."""
    return 1 / (1 + exp(-odds)) if odds > 0 else exp(odds) / (1 + exp(odds))
