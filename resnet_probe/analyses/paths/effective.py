"""Which paths matter: shares of the gradient by length, the interval that holds most of them, the decay with length.

Everything here is computed from the columns of `gradients.csv`, so a figure can be drawn again from the table alone.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from fractions import Fraction
from typing import Any

from resnet_probe.analyses.paths.lengths import share

LEVEL = 0.95
DRAWS = 2000  # of the parabola, for the interval of the bend
TWO_SIDED_95 = 1.959963984540054  # the normal quantile of 0.975

# What Veit et al. 2016 say of their pre-activation ResNet-110 (54 blocks, CIFAR-10).
# Source: arXiv 1605.06431, section 5 and Fig. 6: 5 to 17 modules, 0.45 % of all paths. The slope is not printed: a
# decay by r per module puts 97 % of count x norm on 5 to 17 of 54 for r = 0.26, and ln 0.26 = -1.35.
PAPER: dict[str, Any] = {
    "blocks": 54,
    "low": 5,
    "high": 17,
    "share_of_paths": 0.0045,
    "implied_slope": -1.35,
}


@dataclass(frozen=True)
class Interval:
    """The smallest interval of lengths that holds a share of something.

    Attributes:
        low, high: shortest and longest length inside.
        holds: share inside, at least the level asked for.
        share_of_paths: share of all paths that have these lengths, 0 to 1.
    """

    low: int
    high: int
    holds: float
    share_of_paths: float


@dataclass(frozen=True)
class Decay:
    """A straight line through the logarithm of the norm against the length, and how far the points bend away from it.

    Attributes:
        slope: change of ln(norm) per residual branch; its exponential is the factor per branch.
        slope_low, slope_high: 95 % interval of the slope over other samples of paths and images.
        intercept: ln(norm) of the line at length 0.
        r2: share of the (weighted) variance of ln(norm) that the line explains.
        points: lengths with a norm above zero.
        bend: how far a parabola through the points lies from its chord half way, as a share of the whole fall; 0 for an
            exponential, 0.25 for a Gaussian and about as much for exp(-sqrt(length)).
        bend_low, bend_high: 95 % interval of the bend; None, as for the slope, where the noise of a norm is not known.
    """

    slope: float
    slope_low: float | None
    slope_high: float | None
    intercept: float
    r2: float
    points: int
    bend: float | None
    bend_low: float | None
    bend_high: float | None


def effective_shares(counts: Sequence[int], norms: Sequence[float]) -> list[float]:
    """Count times mean norm of each length, divided by their sum.

    Args:
        counts: number of paths of each length, exact.
        norms: mean norm of a path of each length, not negative.

    Returns:
        Shares that sum to 1; NaN everywhere if all norms are zero.

    Source: Veit et al. 2016, Fig. 6c.
    """
    logs = [
        math.log(count) + math.log(norm) if count and norm > 0 else -math.inf
        for count, norm in zip(counts, norms, strict=True)
    ]
    largest = max(logs)
    if largest == -math.inf:
        return [math.nan] * len(logs)
    weights = [math.exp(value - largest) for value in logs]
    total = math.fsum(weights)
    return [weight / total for weight in weights]


def smallest_interval(shares: Sequence[float], counts: Sequence[int], level: float = LEVEL) -> Interval | None:
    """The smallest interval of lengths whose shares add up to at least `level`; of equally small ones the fullest.

    Shares may be negative, where the paths of a class oppose the gradient.

    Args:
        shares: entry k belongs to length k; they sum to 1.
        counts: number of paths of length k.
        level: between 0 and 1.

    Returns:
        The interval, or None if there is none, as when shares are NaN.

    Raises:
        ValueError: a level that is not between 0 and 1.
    """
    if not 0 < level < 1:
        raise ValueError(f"an interval that holds {level:g}; the level lies between 0 and 1, such as 0.95")
    for width in range(1, len(shares) + 1):
        sums = [(math.fsum(shares[low : low + width]), low) for low in range(len(shares) - width + 1)]
        enough = [(held, -low) for held, low in sums if held >= level - 1e-12]
        if enough:
            held, low = max(enough)
            low, high = -low, -low + width - 1
            return Interval(low, high, held, float(share(counts, low, high)))
    return None


def decay(lengths: Sequence[int], norms: Sequence[float], errors: Sequence[float | None]) -> Decay | None:
    """Fit ln(norm) = intercept + slope x length; None for fewer than two norms above zero.

    Each length counts by the noise of its mean norm, and where the points scatter more than their noise, intervals are
    widened by the ratio. A parabola through the same points tells how far they bend.

    Args:
        lengths: numbers of residual branches.
        norms: mean norm of each length.
        errors: standard error of each mean, over sampled paths and images; where one is missing or 0 all lengths count
            alike and there are no intervals.

    Source: weighted least squares with known variances; the widening is the scale factor of the Particle Data Group
    (2022, "Review of Particle Physics", section 5.2.2).
    """
    import numpy as np  # noqa: PLC0415

    kept = [(x, norm, error) for x, norm, error in zip(lengths, norms, errors, strict=True) if norm > 0]
    if len({x for x, _, _ in kept}) < 2:
        return None
    x, y = np.array([x for x, _, _ in kept], dtype=float), np.log([norm for _, norm, _ in kept])
    known = all(error for _, _, error in kept)
    noise = np.array([(error or 0.0) / norm for _, norm, error in kept]) if known else np.ones(len(x))
    (slope, intercept), spread, scale = _fitted(x, y, noise, 1)
    left, weights = y - slope * x - intercept, noise**-2
    around = float((weights * (y - np.average(y, weights=weights)) ** 2).sum())
    r2 = 1 - float((weights * left**2).sum()) / around if around else 1.0
    line = (float(intercept), r2, len(kept))
    if not known or len(kept) < 3:
        return Decay(float(slope), None, None, *line, None, None, None)
    reach = TWO_SIDED_95 * scale * float(spread[0, 0]) ** 0.5
    bends: list[float | None] = [None] * 3
    if len(kept) > 3:
        found, spread, scale = _fitted(x, y, noise, 2)
        drawn = np.random.default_rng(0).multivariate_normal(found, scale**2 * spread, size=DRAWS)
        shares = _bend(np.vstack([found, drawn]), float(x.min()), float(x.max()))
        bends = [float(shares[0]), *map(float, np.quantile(shares[1:], [0.025, 0.975]))]
    return Decay(float(slope), float(slope) - reach, float(slope) + reach, *line, *bends)


def _fitted(x: Any, y: Any, noise: Any, degree: int) -> tuple[Any, Any, float]:
    """Coefficients, highest first, their covariance, and how many times their noise the points scatter, at least 1."""
    import numpy as np  # noqa: PLC0415

    if len(x) <= degree + 1:
        return np.polyfit(x, y, degree, w=1 / noise), np.zeros((degree + 1, degree + 1)), 1.0
    found, spread = np.polyfit(x, y, degree, w=1 / noise, cov="unscaled")
    left = float((((y - np.polyval(found, x)) / noise) ** 2).sum())
    return found, spread, max(1.0, (left / (len(x) - degree - 1)) ** 0.5)


def _bend(parabolas: Any, first: float, last: float) -> Any:
    """Distance from the chord half way as a share of the fall from first to last, of each row of coefficients."""
    square, linear, _ = parabolas.T
    fall = square * (last**2 - first**2) + linear * (last - first)
    return square * (last - first) ** 2 / 4 / abs(fall)


def describe(rows: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """What the rows of one network in `gradients.csv` say, ready for the settings and the summary.

    Returns:
        `blocks`; `peak`, the length with the largest class norm; `exact`, the interval that holds 95 % of the class
        shares; and where paths were sampled `effective`, that of count x norm, and `decay`. Intervals and fit are
        mappings, or None where there is none.
    """
    rows = sorted(rows, key=lambda row: row["length"])
    counts = [row["count"] for row in rows]
    interval = smallest_interval([row["class_share"] for row in rows], counts)
    found: dict[str, Any] = {
        "blocks": len(rows) - 1,
        "peak": max(rows, key=lambda row: row["class_norm"])["length"],
        "mean_length": math.fsum(row["length"] * row["class_share"] for row in rows),
        "exact": asdict(interval) if interval else None,
    }
    if rows and all(row["path_norm"] is not None for row in rows):
        norms = [row["path_norm"] for row in rows]
        shares = effective_shares(counts, norms)
        # samples of one image are alike, so no more of them count than there are images
        apart = [min(row["samples"], row.get("images", row["samples"])) for row in rows]
        errors = [row["path_norm_std"] and row["path_norm_std"] / n**0.5 for row, n in zip(rows, apart, strict=True)]
        effective, line = smallest_interval(shares, counts), decay(range(len(rows)), norms, errors)
        found["effective"] = asdict(effective) if effective else None
        found["effective_mean_length"] = math.fsum(length * part for length, part in enumerate(shares))
        found["decay"] = asdict(line) if line else None
    return found


def survivors(blocks: int, deleted: int, length: int) -> Fraction:
    """Share of the paths with `length` residual branches that is left when `deleted` of the blocks are deleted.

    C(n - d, x) / C(n, x): a path survives if all its branches are among the blocks that remain.

    Raises:
        ValueError: more blocks deleted, or a longer path, than there are blocks.

    Source: Veit et al. 2016, section 4.1, in words.
    """
    if not (0 <= deleted <= blocks and 0 <= length <= blocks):
        raise ValueError(f"{deleted} of {blocks} blocks deleted, paths of length {length}: neither may exceed {blocks}")
    return Fraction(math.comb(blocks - deleted, length), math.comb(blocks, length))
