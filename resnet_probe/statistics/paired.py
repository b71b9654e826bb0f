"""Two networks on the same images: whether they differ, and by how much.

All take counts of images on which the two networks disagree: newly wrong (the first right, the second wrong) and newly
right (the reverse). Images that both get right, or both wrong, say nothing about a difference.

`paired_difference` is for a number of images that was fixed beforehand, `confidence_sequence` for one that depends on
what was seen.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import comb, exp, log, sqrt
from operator import index
from statistics import NormalDist
from typing import Any

__all__ = ["Paired", "confidence_sequence", "mcnemar", "paired", "paired_difference"]

NEGLIGIBLE = 1e-17  # of a sum
TINY = 1e-300
BETS = tuple(0.9 / 2**k for k in range(10))  # shares of the capital; for up to some million images


@dataclass(frozen=True)
class Paired:
    """What changes from a first network to a second on the same images.

    Attributes:
        newly_wrong, newly_right: images that the second gets wrong and the first right, and the reverse.
        increase: of the error, in percentage points.
        increase_low, increase_high: its 95 % score interval over images (`paired_difference`).
        p: of the exact McNemar test that the error is the same (`mcnemar`).
    """

    newly_wrong: int
    newly_right: int
    increase: float
    increase_low: float
    increase_high: float
    p: float


def paired(first: Any, second: Any) -> Paired:
    """Compare two networks by their wrong flags, `(images,)` booleans of the same images in the same order.

    Raises:
        ValueError: flags of different images, or none.

    Example:
        >>> paired([False, False, True], [True, True, False]).newly_wrong
        2
    """
    import numpy as np  # noqa: PLC0415

    before, after = np.asarray(first, dtype=bool), np.asarray(second, dtype=bool)
    if before.shape != after.shape or before.ndim != 1:
        raise ValueError(f"flags of {before.shape} and {after.shape} images; give those of the same images")
    counts = int((~before & after).sum()), int((before & ~after).sum())
    return Paired(*counts, *paired_difference(*counts, len(before)), mcnemar(*counts))


def mcnemar(newly_wrong: int, newly_right: int) -> float:
    """Exact two-sided p of the hypothesis that the two networks have the same error.

    Given how many images the two disagree on, the newly wrong are binomial with probability 1/2.

    Assumes: images are independent; the networks are fixed. The test is conservative: with few disagreements the true
    level lies well below the nominal one.

    Raises:
        ValueError: a negative count.

    Source: McNemar 1947, "Note on the sampling error of the difference between correlated proportions or percentages";
    the exact form is the sign test.

    Example:
        >>> mcnemar(6, 0)
        0.03125
    """
    few, many = sorted((index(newly_wrong), index(newly_right)))
    if few < 0:
        raise ValueError(f"{newly_wrong} newly wrong and {newly_right} newly right images: give counts from 0 on")
    # the tail, from its largest term downwards: each term is the one before times k / (n - k + 1)
    ratio = total = 1.0
    for k in range(few, 0, -1):
        ratio *= k / (few + many - k + 1)
        total += ratio
        if ratio < NEGLIGIBLE * total:
            break
    return min(1.0, 2 * (comb(few + many, few) / 2 ** (few + many)) * total)


def paired_difference(
    newly_wrong: int, newly_right: int, images: int, confidence: float = 0.95
) -> tuple[float, float, float]:
    """Change of the error from the first network to the second, in percentage points, with its score interval.

    Args:
        newly_wrong: images that the first network gets right and the second wrong.
        newly_right: images that the first network gets wrong and the second right.
        images: all images that both saw, agreements included.
        confidence: of the interval, between 0 and 1.

    Returns:
        (difference, low, high). The interval stays within -100 and 100, holds the difference, has a width even where
        no image changed: those differences are left in it that the score test does not reject.

    Assumes: images are independent draws; the networks are fixed. Other trainings are not covered.

    Raises:
        ValueError: a negative count, more disagreements than images, no image, or a confidence outside 0 to 1.

    Source: Tango 1998, "Equivalence test and confidence interval for the difference in proportions for the
    paired-sample design", equations 10 to 14.

    Example:
        >>> [round(value, 2) for value in paired_difference(30, 10, 1000)]
        [2.0, 0.8, 3.36]
    """
    b, c, n = _counts(newly_wrong, newly_right, images, confidence)
    square = NormalDist().inv_cdf((1 + confidence) / 2) ** 2

    def kept(shift: float) -> bool:
        """Whether the score test does not reject this difference."""
        away = b - c - n * shift
        # share of newly right images that fits best where the difference is fixed
        linear = -b - c + (2 * n - b + c) * shift
        right = (sqrt(max(linear**2 + 8 * n * c * shift * (1 - shift), 0.0)) - linear) / (4 * n)
        return away**2 <= square * n * max(2 * right + shift * (1 - shift), 0.0)

    return _between(kept, (b - c) / n)


def confidence_sequence(
    newly_wrong: int, newly_right: int, images: int, confidence: float = 0.95
) -> tuple[float, float, float]:
    """As `paired_difference`, with an interval that may be looked at after every image, and stopped by.

    With probability `confidence` the intervals after 1, 2, 3, ... images all hold the true difference at once, so it
    does not matter when, or why, one stops adding images. For that it is some 1.7 times as wide. It depends on the
    counts alone.

    Each difference m that could be true is bet against: a gambler who stakes the share s on the next image multiplies
    the capital by 1 - s + s (d + 1) / (m + 1), where d is 1 for a newly wrong image, -1 for a newly right one and 0
    for any other; a second one bets on the opposite. If m is true the mean capital of all gamblers (`BETS`, both
    sides) is a martingale, and by Ville's inequality ever reaches 1 / (1 - confidence) with probability
    1 - confidence at most. The interval holds every m against which it has not.

    Assumes: images are independent draws, in a random order; the networks are fixed.

    Raises:
        ValueError: as `paired_difference`.

    Source: Waudby-Smith and Ramdas 2024, "Estimating means of bounded random variables by betting", section 4; the
    mixture over constant bets: Robbins 1970, "Statistical methods related to the law of the iterated logarithm", and
    Orabona and Jun 2024, "Tight concentrations and confidence sequences from the regret of universal portfolio".

    Example:
        >>> [round(value, 2) for value in confidence_sequence(30, 10, 1000)]
        [2.0, -0.14, 4.39]
    """
    b, c, n = _counts(newly_wrong, newly_right, images, confidence)

    def kept(shift: float) -> bool:
        """Whether the gamblers have not won enough against this difference."""
        capitals = [
            _log_capital(up, down, n - b - c, mean, bet)
            for up, down, mean in ((b, c, shift), (c, b, -shift))
            for bet in BETS
        ]
        most = max(capitals)
        return most + log(sum(exp(each - most) for each in capitals) / len(capitals)) < -log(1 - confidence)

    return _between(kept, (b - c) / n)


def _log_capital(up: int, down: int, same: int, mean: float, bet: float) -> float:
    """Logarithm of what 1 has become after so many images, bet on their mean lying above `mean`."""
    whole = max(1 + mean, TINY)
    won = sum(count * log(1 - bet + bet * gain / whole) for count, gain in ((up, 2), (same, 1)) if count)
    return won + down * log(1 - bet)


def _counts(newly_wrong: int, newly_right: int, images: int, confidence: float) -> tuple[int, int, int]:
    """The counts as plain numbers.

    Raises:
        ValueError: impossible ones, or no confidence.
    """
    b, c, n = index(newly_wrong), index(newly_right), index(images)
    if n < 1 or min(b, c) < 0 or b + c > n:
        raise ValueError(
            f"{newly_wrong} newly wrong and {newly_right} newly right of {images} images: give counts from 0 on that "
            "are together at most the images, and at least one image"
        )
    if not 0 < confidence < 1:
        raise ValueError(f"a confidence of {confidence:g}; it lies between 0 and 1, such as 0.95")
    return b, c, n


def _between(kept: Callable[[float], bool], difference: float) -> tuple[float, float, float]:
    """The difference and the last values on both sides of it that are kept, in percentage points."""
    low, high = (_edge(kept, difference, end) for end in (-1.0, 1.0))
    return 100 * difference, 100 * low, 100 * high


def _edge(kept: Callable[[float], bool], inside: float, outside: float) -> float:
    """The last value that is kept between one that is and the end of the range, by bisection."""
    if kept(outside):
        return outside
    while True:
        middle = (inside + outside) / 2
        if middle in (inside, outside):
            return inside
        if kept(middle):
            inside = middle
        else:
            outside = middle
