"""Values of players against their definitions, written out over permutations and sets."""

from itertools import chain as chained
from itertools import combinations, permutations
from math import comb, factorial

import numpy as np
import pytest
from scipy.stats import binom

from resnet_probe.statistics import games, two_way_mean

PLAYERS = 4


def table(players=PLAYERS, seed=0):
    return np.random.default_rng(seed).normal(size=2**players)


def subsets(of):
    return chained.from_iterable(combinations(of, size) for size in range(len(of) + 1))


def mask(players):
    return sum(1 << player for player in players)


def by_permutations(worth, players=PLAYERS):
    """Shapley's definition: the mean over all orders of what a player adds as it comes."""
    total = np.zeros(players)
    for order in permutations(range(players)):
        for place, player in enumerate(order):
            total[player] += worth[mask(order[: place + 1])] - worth[mask(order[:place])]
    return total / factorial(players)


def by_sets(worth, group, weight, players=PLAYERS):
    """Mean over the sets of others of the difference over all members of a group, with these weights."""
    others = [player for player in range(players) if player not in group]
    return sum(
        weight(len(some)) * (-1) ** (len(group) - len(members)) * worth[mask(some) | mask(members)]
        for some in subsets(others)
        for members in subsets(group)
    )


def test_shapley_values_are_the_mean_over_all_orders():
    assert games.values(PLAYERS) @ table() == pytest.approx(by_permutations(table()))


def test_banzhaf_values_are_the_mean_over_all_sets():
    expected = [by_sets(table(), (player,), lambda size: 0.5 ** (PLAYERS - 1)) for player in range(PLAYERS)]
    assert games.values(PLAYERS, "banzhaf") @ table() == pytest.approx(expected)


def test_interactions_are_those_of_the_definition():
    def weight(size):
        return factorial(PLAYERS - size - 2) * factorial(size) / factorial(PLAYERS - 1)

    pairs = list(combinations(range(PLAYERS), 2))
    assert games.interactions(PLAYERS) @ table() == pytest.approx([by_sets(table(), pair, weight) for pair in pairs])
    even = [by_sets(table(), pair, lambda size: 0.25) for pair in pairs]
    assert games.interactions(PLAYERS, "banzhaf") @ table() == pytest.approx(even)


@pytest.mark.parametrize("players", [2, 5, 9])
def test_shapley_values_add_up_to_what_all_are_worth(players):
    worth = table(players)
    assert (games.values(players) @ worth).sum() == pytest.approx(worth[-1] - worth[0])


def test_players_who_can_stand_for_each_other_are_worth_the_same():
    worth = table()
    for some in subsets([2, 3]):
        worth[mask(some) | 0b10] = worth[mask(some) | 0b01]
    for index in ("shapley", "banzhaf"):
        first, second, *_ = games.values(PLAYERS, index) @ worth
        assert first == pytest.approx(second)


def test_who_adds_nothing_is_worth_nothing_and_interacts_with_nobody():
    worth = table()
    for some in subsets([0, 1, 3]):
        worth[mask(some) | 0b100] = worth[mask(some)]
    for index in ("shapley", "banzhaf"):
        assert (games.values(PLAYERS, index) @ worth)[2] == pytest.approx(0)
        found = dict(zip(combinations(range(PLAYERS), 2), games.interactions(PLAYERS, index) @ worth, strict=True))
        assert [found[pair] for pair in found if 2 in pair] == pytest.approx([0, 0, 0])


def test_independent_players_are_worth_what_they_add_and_do_not_interact():
    own = np.array([1.0, -2.0, 0.5, 3.0])
    worth = np.array([sum(own[player] for player in range(PLAYERS) if kept >> player & 1) for kept in range(16)])
    for index in ("shapley", "banzhaf"):
        assert games.values(PLAYERS, index) @ worth == pytest.approx(own)
        assert games.interactions(PLAYERS, index) @ worth == pytest.approx(np.zeros(6))


def test_all_orders_together_give_the_exact_values():
    orders = [each for order in permutations(range(PLAYERS)) for each in (order, order[::-1])]
    known = dict(enumerate(table()))
    for index in ("shapley", "banzhaf"):
        found = games.order_values(known, orders, index)
        assert found.shape == (24, PLAYERS)
        assert found.mean(0) == pytest.approx(games.values(PLAYERS, index) @ table())


def test_orders_come_with_their_reverses_and_by_their_seed():
    orders = games.draw_orders(6, 5, seed=1)
    assert orders[1::2] == [order[::-1] for order in orders[::2]]
    assert all(sorted(order) == list(range(6)) for order in orders)
    assert orders == games.draw_orders(6, 5, seed=1) != games.draw_orders(6, 5, seed=2)
    assert games.chain((2, 0, 1)) == [0, 0b100, 0b101, 0b111]
    with pytest.raises(ValueError, match="at least one"):
        games.draw_orders(6, 0, seed=1)


def smooth_game(generator, players):
    """Diminishing returns with pairs that depend on each other, as the loss of a network with blocks removed."""
    own, both = generator.gamma(2, size=players), generator.normal(size=(players, players)) / players
    inside = (np.arange(2**players)[:, None] >> np.arange(players)) & 1
    return np.sqrt(np.maximum(inside @ own + np.einsum("si,ij,sj->s", inside, both, inside), 0))


@pytest.mark.parametrize("index", ["shapley", "banzhaf"])
def test_intervals_of_sampled_values_hold_the_exact_ones_as_often_as_they_say(index):
    players, draws, rounds = 7, 20, 200
    held = 0
    for seed in range(rounds):
        worth = smooth_game(np.random.default_rng(seed), players)
        exact = (games.values(players, index) @ worth)[0]
        sampled = games.order_values(dict(enumerate(worth)), games.draw_orders(players, draws, seed), index)[:, 0]
        over_draws = two_way_mean(sampled[None], population=1)
        held += over_draws.low <= exact <= over_draws.high
    assert binom.ppf(0.001, rounds, 0.95) <= held <= binom.ppf(0.999, rounds, 0.95)


def test_the_interval_over_draws_and_images_holds_the_value_on_all_images():
    players, draws, images, rounds = 6, 15, 60, 200
    held = 0
    for seed in range(rounds):
        generator = np.random.default_rng(seed)
        mean = smooth_game(generator, players)
        exact = (games.values(players) @ mean)[0]
        inside = (np.arange(2**players)[:, None] >> np.arange(players)) & 1
        each = mean[:, None] + inside @ generator.normal(scale=1.5, size=(players, images))
        sampled = games.order_values(dict(enumerate(each)), games.draw_orders(players, draws, seed))[:, 0]
        found = two_way_mean(sampled)
        held += found.low <= exact <= found.high
    assert binom.ppf(0.001, rounds, 0.95) <= held <= rounds


def test_weights_of_sizes_are_those_of_the_formula():
    found = games.values(5)[0]
    for kept in range(32):
        size = (kept & ~1).bit_count()
        assert abs(found[kept]) == pytest.approx(1 / (5 * comb(4, size)))
