"""Several trainings of one network: their mean, and whether it agrees with a published value.

The unit is the training. All tests here are about the mean over trainings, not about one checkpoint.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import inf, isfinite, pi, sqrt
from statistics import fmean, stdev
from typing import Literal

Verdict = Literal["holds", "does not hold", "cannot say"]
MARGIN = 0.5  # percentage points of error that count as the same
# Variance of the median of so many normal values, in units of their variance; by numerical integration.
MEDIAN = (1.0, 0.5, 0.448671, 0.2982, 0.286834, 0.214743, 0.210447, 0.168181, 0.166101, 0.138326)


@dataclass(frozen=True)
class Seeds:
    """Mean and standard deviation over trainings, with the interval of the mean; None for a single one.

    Attributes:
        mean, std: over the trainings; the standard deviation divides by count - 1.
        low, high: interval of the mean.
        count: trainings.
    """

    mean: float
    std: float | None
    low: float | None
    high: float | None
    count: int


@dataclass(frozen=True)
class Replication:
    """How far the mean over trainings lies from a published value, and what that says.

    Attributes:
        difference: measured mean minus published value.
        low, high: interval of the difference of the two expected values; None where no spread is known.
        verdict: `holds`, the interval lies within the margin; `does not hold`, the interval leaves out 0 and the
            difference is larger than the margin; `cannot say`, neither.
    """

    difference: float
    low: float | None
    high: float | None
    verdict: Verdict


def over_seeds(values: Sequence[float], confidence: float = 0.95) -> Seeds:
    """Mean of one measure over several trainings, with Student's interval.

    Assumes: trainings that differ by their seed only, and a measure that is nearly normal over them. With two of them
    the interval reaches 12.7 standard errors to either side; it is not wrong, two trainings say no more.

    Raises:
        ValueError: no value, one that is not finite, or a confidence outside 0 to 1.

    Source: Student 1908, "The probable error of a mean".

    Example:
        >>> over_seeds([6.4, 6.6, 6.8]).mean
        6.6
    """
    numbers = _checked(values, confidence)
    mean = fmean(numbers)
    if len(numbers) < 2:
        return Seeds(mean, None, None, None, len(numbers))
    std = stdev(numbers)
    reach = _student(len(numbers) - 1, confidence) * std / sqrt(len(numbers))
    return Seeds(mean, std, mean - reach, mean + reach, len(numbers))


def replication(
    values: Sequence[float],
    published: float,
    runs: int,
    *,
    std: float | None = None,
    of: Literal["mean", "median"] = "mean",
    margin: float = MARGIN,
    confidence: float = 0.95,
) -> Replication:
    """Does a published mean or median over a few runs agree with our trainings?

    A published value is no constant: it is itself the mean or median of few runs, and would be another one had they
    been run again. Its variance belongs into the interval of the difference, so that more seeds on our side make the
    interval narrower only down to what the published runs leave open.

    Args:
        values: the measure in each of our trainings, such as test errors in percent.
        published: the published value.
        runs: how many runs it is the mean or median of.
        std: their published standard deviation. Where it is None, their runs are taken to spread as ours do, which a
            replication would.
        of: whether the published value is a mean or a median.
        margin: differences up to this one count as the same, in the unit of the values.
        confidence: of the interval, between 0 and 1.

    Returns:
        The difference with its interval, and the verdict. A true replication (same expected value, same spread) is
        called false in at most 1 - confidence of cases, whatever the number of seeds; a difference as large as the
        margin is called a replication in at most half of that. Differences between 0 and the margin may be called
        false, if they are measured as larger than the margin. One training is enough where `std` is known.

    Assumes: runs are independent and nearly normal. Where `std` is known, the interval is the wider of that with the
    pooled spread, which is exact for a replication, and Welch's, which holds where the two spreads differ and alone
    would be too narrow for few published runs.

    Raises:
        ValueError: no value, one that is not finite, fewer than one run, a margin not above 0, or a negative standard
            deviation.

    Source: Welch 1947, "The generalization of 'Student's' problem when several different population variances are
    involved"; equivalence: Schuirmann 1987, "A comparison of the two one-sided tests procedure and the power approach";
    a replication is judged by what two samples would give: Patil, Peng and Leek 2016, "What should researchers expect
    when they replicate studies?".

    Example:
        >>> replication([6.5, 6.8, 6.6, 6.9, 6.7], 6.61, 5, of="median").verdict
        'holds'
        >>> replication([7.5, 7.8, 7.6, 7.9, 7.7], 6.61, 5, of="median").verdict
        'does not hold'
    """
    numbers, _ = _checked(values, confidence), _checked([published], confidence)
    if of not in ("mean", "median"):
        raise ValueError(f"a published {of!r}; choose mean or median")
    if runs < 1 or not 0 < margin < inf or (std is not None and not 0 <= std < inf):
        raise ValueError(
            f"{runs} published runs with standard deviation {std}, and a margin of {margin:g}: give at least one run, "
            "a standard deviation from 0 on (None where it is unknown) and a margin above 0"
        )
    difference = fmean(numbers) - published
    share = 1 / runs if of == "mean" else MEDIAN[runs - 1] if runs <= len(MEDIAN) else pi / (2 * runs)
    reach = _reach(numbers, runs, share, std, confidence)
    if reach is None:
        return Replication(difference, None, None, "cannot say")
    low, high = difference - reach, difference + reach
    verdict: Verdict = "cannot say"
    if -margin < low and high < margin:
        verdict = "holds"
    elif not low <= 0 <= high and abs(difference) > margin:
        verdict = "does not hold"
    return Replication(difference, low, high, verdict)


def _reach(numbers: Sequence[float], runs: int, share: float, std: float | None, confidence: float) -> float | None:
    """Half the width of the interval of the difference; None where no spread is known.

    Args:
        share: variance of the published value, in units of the variance of one run.
    """
    count = len(numbers)
    ours = stdev(numbers) ** 2 if count > 1 else 0.0
    if std is None or runs < 2:
        return _student(count - 1, confidence) * sqrt(ours * (1 / count + share)) if count > 1 else None
    freedom = count + runs - 2
    pooled = ((count - 1) * ours + (runs - 1) * std**2) / freedom
    reach = _student(freedom, confidence) * sqrt(pooled * (1 / count + share))
    if count < 2:
        return reach
    parts = ours / count, std**2 * share
    spent = parts[0] ** 2 / (count - 1) + parts[1] ** 2 / (runs - 1)
    welch = _student(sum(parts) ** 2 / spent if spent else inf, confidence) * sqrt(sum(parts))
    return max(reach, welch)


def _checked(values: Sequence[float], confidence: float) -> list[float]:
    numbers = [float(value) for value in values]
    if not numbers or not all(isfinite(number) for number in numbers) or not 0 < confidence < 1:
        raise ValueError(
            f"values {numbers} at a confidence of {confidence:g}: give at least one finite value, and a confidence "
            "between 0 and 1"
        )
    return numbers


def _student(freedom: float, confidence: float) -> float:
    from scipy.special import stdtrit  # noqa: PLC0415

    return float(stdtrit(min(freedom, 1e12), (1 + confidence) / 2))
