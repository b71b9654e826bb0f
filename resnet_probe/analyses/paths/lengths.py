"""Distributions of path lengths in exact integers: products of polynomials, and what describes them."""

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import accumulate

Polynomial = tuple[int, ...]

UNITS = ("module", "layer")
LEVEL = Fraction(95, 100)


@dataclass(frozen=True)
class Statistics:
    """A distribution of path lengths in a few numbers, each computed exactly and then rounded once.

    Attributes:
        total: number of paths, exact.
        mean, std: of the length; std is that of the whole population of paths.
        mode: the most frequent length, the shorter one of two.
        low, high: the central interval, both ends included; see `central_interval`.
        inside: share of the paths within low and high, 0 to 1.
    """

    total: int
    mean: float
    std: float
    mode: int
    low: int
    high: int
    inside: float


def multiply(polynomials: Iterable[Sequence[int]]) -> Polynomial:
    """The product of polynomials with natural numbers as coefficients, exact.

    Each polynomial is written as one large integer, with a slot for every coefficient that is wide enough
    for the largest one of the product (Kronecker substitution), so that all multiplications are Python's own
    for long integers. Equal units are raised to their power.

    Args:
        polynomials: of the units along the chain; entry k is the number of paths of length k.

    Returns:
        Entry k is the number of paths of length k through the whole chain, without zeros at the end; a chain
        of no units has one path of length 0.

    Raises:
        ValueError: a polynomial with a negative coefficient, or with none above zero.

    Examples:
        >>> multiply([(1, 1), (1, 1), (1, 1)])
        (1, 3, 3, 1)
    """
    powers = Counter(tuple(int(count) for count in polynomial) for polynomial in polynomials)
    for polynomial in powers:
        if min(polynomial, default=-1) < 0 or not any(polynomial):
            raise ValueError(f"a unit with path counts {polynomial}; counts are at least 0, and some above 0")
    total = math.prod(sum(polynomial) ** power for polynomial, power in powers.items())
    slot = total.bit_length() // 8 + 1  # bytes
    product, length = 1, 1
    for polynomial, power in powers.items():
        packed = int.from_bytes(b"".join(count.to_bytes(slot, "little") for count in polynomial), "little")
        product *= packed**power
        length += (len(polynomial) - 1) * power
    written = product.to_bytes(slot * length, "little")
    counts = [int.from_bytes(written[start : start + slot], "little") for start in range(0, len(written), slot)]
    while counts[-1] == 0:
        counts.pop()
    return tuple(counts)


def share(counts: Sequence[int], low: int, high: int) -> Fraction:
    """The exact share of paths with a length from low to high, both included.

    Args:
        counts: entry k is the number of paths of length k.
        low, high: lengths; those beyond the counts hold no paths.

    Examples:
        >>> round(float(share(multiply([(1, 1)] * 54), 19, 35)), 4)  # Veit et al. 2016: "more than 95 %"
        0.9802
    """
    return Fraction(sum(counts[max(low, 0) : max(high + 1, 0)]), sum(counts))


def central_interval(counts: Sequence[int], level: Fraction = LEVEL) -> tuple[int, int]:
    """The shortest interval outside which, on either side, lie at most (1 - level) / 2 of the paths.

    For 95 %: as many whole lengths as possible are cut from each end while no end loses more than 2.5 % of
    the paths. The interval holds at least the level, and usually somewhat more, as lengths are whole.

    Args:
        counts: entry k is the number of paths of length k.
        level: between 0 and 1, exact.

    Returns:
        The shortest and the longest length inside.

    Raises:
        ValueError: a level that is not between 0 and 1.

    Examples:
        >>> central_interval(multiply([(1, 1)] * 54))
        (20, 34)
    """
    if not 0 < level < 1:
        raise ValueError(f"a central interval of {float(level):g}; the level lies between 0 and 1, such as 0.95")
    allowed = sum(counts) * (1 - Fraction(level)) / 2

    def cut(tail: Iterable[int]) -> int:
        return next(lengths for lengths, lost in enumerate(accumulate(tail)) if lost > allowed)

    return cut(counts), len(counts) - 1 - cut(reversed(counts))


def statistics(counts: Sequence[int]) -> Statistics:
    """Total, mean, standard deviation, mode and central 95 % interval of a distribution of lengths.

    Args:
        counts: entry k is the number of paths of length k.
    """
    total = sum(counts)
    mean = Fraction(sum(length * count for length, count in enumerate(counts)), total)
    square = Fraction(sum(length**2 * count for length, count in enumerate(counts)), total)
    low, high = central_interval(counts)
    return Statistics(
        total=total,
        mean=float(mean),
        std=math.sqrt(square - mean**2),
        mode=max(range(len(counts)), key=lambda length: (counts[length], -length)),
        low=low,
        high=high,
        inside=float(share(counts, low, high)),
    )


def known_unit(unit: str) -> str:
    """The unit itself, if path lengths are counted in it.

    Raises:
        LookupError: an unknown unit.
    """
    if unit not in UNITS:
        raise LookupError(f"no unit {unit!r} of path length; choose one of {', '.join(UNITS)}")
    return unit
