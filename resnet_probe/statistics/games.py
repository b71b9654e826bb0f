"""Cooperative games: what each player adds, where a value is known of every set of players, or of some chains of sets.

A set is a whole number whose bit `i` says whether player `i` is in it. All values are linear in those of the sets, so
each is a matrix with a row per player (or pair) and a column per set; values may have further dimensions, such as
images.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations
from math import comb
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    import numpy

# `shapley` weighs the sizes of the other players' set alike, `banzhaf` the sets.
Index = Literal["shapley", "banzhaf"]


def values(players: int, index: Index = "shapley") -> numpy.ndarray:
    """What makes of the values of all sets those of the players, `(players, 2 ** players)`.

    A player's value is the mean of what it adds, v(S with i) - v(S), over all sets S of the others: Shapley's gives
    each size of S the same weight and adds up to v(all) - v(none), Banzhaf's gives it to each S.

    Source: Shapley 1953, "A value for n-person games"; Banzhaf 1965, "Weighted voting doesn't work".

    Example:
        >>> (values(2) @ [0.0, 1.0, 2.0, 5.0]).tolist()  # of no player, the first, the second, both
        [2.0, 3.0]
    """
    return _differences([(player,) for player in range(players)], players, index)


def interactions(players: int, index: Index = "shapley") -> numpy.ndarray:
    """What makes of the values of all sets the interaction of each pair, `(pairs, 2 ** players)`.

    The mean of v(S with both) - v(S with i) - v(S with j) + v(S) over all sets S of the others, weighted as in
    `values`; above zero the two are worth more together. Pairs are in the order of `itertools.combinations`.

    Source: Grabisch and Roubens 1999, "An axiomatic approach to the concept of interaction among players in cooperative
    games".
    """
    return _differences(list(combinations(range(players), 2)), players, index)


def _differences(groups: Sequence[tuple[int, ...]], players: int, index: Index) -> numpy.ndarray:
    """Per group of players the weights of the difference over all its members, as a column for each set."""
    import numpy as np  # noqa: PLC0415

    sets = np.arange(2**players)
    sizes = sum((sets >> player & 1 for player in range(players)), np.zeros_like(sets))
    others = players - len(groups[0]) if groups else 0
    weights = np.array([_weight(size, others, index) for size in range(others + 1)])
    found = np.zeros((len(groups), len(sets)))
    for row, group in zip(found, groups, strict=True):
        inside = sum((sets >> player & 1 for player in group), np.zeros_like(sets))
        row[:] = weights[sizes - inside] * np.where((len(group) - inside) % 2, -1, 1)
    return found


def _weight(size: int, others: int, index: Index) -> float:
    """Of one set of that size among so many other players."""
    return 1 / ((others + 1) * comb(others, size)) if index == "shapley" else 0.5**others


def draw_orders(players: int, draws: int, seed: int) -> list[tuple[int, ...]]:
    """Random orders of the players, each followed by its reverse (antithetic): 2 x `draws` of them.

    Raises:
        ValueError: fewer than one draw.
    """
    import random  # noqa: PLC0415

    if draws < 1:
        raise ValueError(f"{draws} draws; give at least one")
    generator = random.Random(seed)
    drawn = [tuple(generator.sample(range(players), players)) for _ in range(draws)]
    return [each for order in drawn for each in (order, order[::-1])]


def chain(order: Sequence[int]) -> list[int]:
    """The sets that grow as players come in this order, from none to all."""
    sets = [0]
    for player in order:
        sets.append(sets[-1] | 1 << player)
    return sets


def order_values(
    known: Mapping[int, numpy.ndarray], orders: Sequence[Sequence[int]], index: Index = "shapley"
) -> numpy.ndarray:
    """Estimates of the players' values, one for each order and its reverse: `(pairs of orders, players, ...)`.

    What a player adds as it comes in a random order is an unbiased estimate of its Shapley value; weighted by how much
    rarer its set is among all orders than among all sets, of its Banzhaf value.

    Args:
        known: values of all sets in the chains of the orders.
        orders: of `draw_orders`.

    Source: Castro, Gomez and Tejada 2009, "Polynomial calculation of the Shapley value based on sampling"; with
    reversed orders: Mitchell et al. 2022, "Sampling permutations for Shapley value estimation", section 4.1.
    """
    import numpy as np  # noqa: PLC0415

    players = len(orders[0])
    even = np.array([1 / (players * comb(players - 1, size)) for size in range(players)])
    weights = np.array([_weight(size, players - 1, index) for size in range(players)]) / even
    found = np.zeros((len(orders) // 2, players, *np.shape(known[0])))
    for number, order in enumerate(orders):
        sets = chain(order)
        for size, player in enumerate(order):
            found[number // 2, player] += 0.5 * weights[size] * (known[sets[size + 1]] - known[sets[size]])
    return found
