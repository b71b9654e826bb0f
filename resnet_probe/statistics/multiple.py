"""Many tests at once: a false discovery rate, and intervals that hold together."""

from __future__ import annotations

from collections.abc import Sequence


def false_discovery(p_values: Sequence[float]) -> list[float]:
    """Adjusted p-values: calling those at most q significant keeps the expected share of false ones at q.

    Args:
        p_values: of all tests that were made, between 0 and 1, in any order; not only of those that look promising.

    Returns:
        One value for each, in the same order: the least rate at which the test counts as a discovery.

    Assumes: independent or positively dependent tests, such as lesions that are measured on the same images.

    Raises:
        ValueError: a p-value outside 0 to 1, NaN included.

    Source: Benjamini and Hochberg 1995, "Controlling the false discovery rate"; positive dependence: Benjamini and
    Yekutieli 2001, theorem 1.2.

    Example:
        >>> false_discovery([0.01, 0.5, 0.02])
        [0.03, 0.5, 0.03]
    """
    values = [float(p) for p in p_values]
    if refused := [p for p in values if not 0 <= p <= 1]:
        raise ValueError(f"a p-value of {refused[0]:g}; they lie between 0 and 1")
    adjusted, least = values.copy(), 1.0
    for rank, place in sorted(enumerate(sorted(range(len(values)), key=values.__getitem__), 1), reverse=True):
        adjusted[place] = least = min(least, values[place] * len(values) / rank)
    return adjusted


def bonferroni(tests: int, confidence: float = 0.95) -> float:
    """Confidence of each of so many intervals that all of them hold together with `confidence`, however dependent.

    Raises:
        ValueError: fewer than one test, or a confidence outside 0 to 1.

    Source: Dunn 1961, "Multiple comparisons among means".

    Example:
        >>> bonferroni(10)
        0.995
    """
    if tests < 1 or not 0 < confidence < 1:
        raise ValueError(f"{tests} tests at a confidence of {confidence:g}: give one or more, and between 0 and 1")
    return 1 - (1 - confidence) / tests
