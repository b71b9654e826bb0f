"""Whether one group of numbers lies above another: the exact Mann-Whitney test, ties and all."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import comb

__all__ = ["RankSum", "rank_sum"]


@dataclass(frozen=True)
class RankSum:
    """The answer of the test.

    Attributes:
        wins: share of pairs in which the first group's number is the larger one; a tie counts half.
        p: two-sided: twice the share of all ways to choose the first group whose rank sum is as large (or as small,
            whichever are fewer), at most 1.
        least: the smallest p that these numbers could give; with few of them it is no small one.
    """

    wins: float
    p: float
    least: float


def rank_sum(first: Sequence[float], second: Sequence[float]) -> RankSum:
    """Mann and Whitney's test of two groups, by counting all ways to choose the first from the whole.

    scipy counts only where there are no ties, and two groups of errors on few images have them.

    Args:
        first, second: the groups, at least one number in each.

    Source: Mann and Whitney 1947, "On a test of whether one of two random variables is stochastically larger".
    """
    import numpy as np  # noqa: PLC0415

    values = np.array([*first, *second], dtype=float)
    # twice the mean rank, a whole number: how many lie below, and how many are equal
    ranks = [int((values < value).sum() + (values <= value).sum()) + 1 for value in values]
    size, observed = len(first), sum(ranks[: len(first)])
    ways = np.zeros((size + 1, sum(sorted(ranks)[-size:]) + 1))  # how many chosen, sum of their ranks
    ways[0, 0] = 1
    for rank in ranks:
        ways[1:, rank:] += ways[:-1, : ways.shape[1] - rank].copy()
    shares = ways[size] / comb(len(values), size)
    wins = (observed - size * (size + 1)) / (2 * size * len(second))
    tails = float(shares[: observed + 1].sum()), float(shares[observed:].sum())
    possible = shares[shares > 0]
    return RankSum(wins, min(1.0, 2 * min(tails)), min(1.0, 2 * float(min(possible[0], possible[-1]))))
