import itertools
import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from statsmodels.api import WLS, add_constant

from resnet_probe.analyses import paths

SHARES = st.lists(st.floats(0.001, 1), min_size=1, max_size=12)


@given(SHARES, st.floats(0.05, 0.99))
def test_smallest_interval_is_smaller_than_every_other_that_holds_enough(weights, level):
    shares = [weight / sum(weights) for weight in weights]
    counts = [math.comb(len(shares) - 1, k) for k in range(len(shares))]
    found = paths.smallest_interval(shares, counts, level)
    ends = list(itertools.combinations_with_replacement(range(len(shares)), 2))
    enough = {(a, b): sum(shares[a : b + 1]) for a, b in ends if sum(shares[a : b + 1]) >= level - 1e-12}
    shortest = min(b - a for a, b in enough)
    assert found.high - found.low == shortest
    assert found.holds == pytest.approx(max(held for (a, b), held in enough.items() if b - a == shortest))
    assert found.share_of_paths == pytest.approx(sum(counts[found.low : found.high + 1]) / sum(counts))


def test_interval_with_shares_that_oppose_the_gradient():
    found = paths.smallest_interval([-0.2, 0.7, 0.6, -0.1], [1, 3, 3, 1])
    assert (found.low, found.high) == (1, 2)
    assert found.holds == pytest.approx(1.3)
    assert found.share_of_paths == 0.75
    assert paths.smallest_interval([math.nan] * 3, [1, 2, 1]) is None
    with pytest.raises(ValueError, match="holds 95; the level lies between 0 and 1"):
        paths.smallest_interval([1.0], [1], 95)


def test_the_papers_numbers_follow_from_its_decay():
    counts = [math.comb(54, k) for k in range(55)]
    norms = [math.exp(paths.PAPER["implied_slope"] * k) for k in range(55)]
    shares = paths.effective_shares(counts, norms)
    inside = sum(shares[paths.PAPER["low"] : paths.PAPER["high"] + 1])
    assert inside == pytest.approx(0.97, abs=0.01)
    assert sum(k * share for k, share in enumerate(shares)) == pytest.approx(11.1, abs=0.1)
    assert float(paths.share(counts, 5, 17)) == pytest.approx(paths.PAPER["share_of_paths"], rel=0.01)


def test_effective_shares_are_count_times_norm_however_large_the_counts():
    assert paths.effective_shares([1, 2, 1], [4.0, 2.0, 1.0]) == pytest.approx([4 / 9, 4 / 9, 1 / 9])
    large = [math.comb(2000, k) for k in range(2001)]
    shares = paths.effective_shares(large, [0.1**k if k < 300 else 0.0 for k in range(2001)])
    assert sum(shares) == pytest.approx(1)
    assert max(range(2001), key=shares.__getitem__) == pytest.approx(2000 * 0.1 / 1.1, abs=1)
    assert all(math.isnan(share) for share in paths.effective_shares([1, 1], [0.0, 0.0]))


def noisy(curve, spread, seed, lengths=20):
    """Mean norms on a curve, with noise that grows with the length, and the standard errors."""
    x = np.arange(lengths)
    noise = spread * (1 + x / lengths)
    logs = curve(x) + noise * np.random.default_rng(seed).normal(size=lengths)
    return x.tolist(), np.exp(logs).tolist(), (noise * np.exp(logs)).tolist(), logs, noise


def test_decay_is_the_weighted_least_squares_of_statsmodels():
    lengths, norms, errors, logs, noise = noisy(lambda x: 2 - 0.7 * x, 0.1, 0)
    found = paths.decay(lengths, norms, errors)
    fit = WLS(logs, add_constant(lengths), weights=noise**-2).fit()
    assert (found.intercept, found.slope) == (pytest.approx(fit.params[0]), pytest.approx(fit.params[1]))
    assert found.r2 == pytest.approx(fit.rsquared)
    scale = max(1.0, fit.mse_resid**0.5)
    error = fit.bse[1] / fit.mse_resid**0.5 * scale
    assert found.slope_high - found.slope == pytest.approx(1.959964 * error, rel=1e-6)
    assert found.slope - found.slope_low == pytest.approx(1.959964 * error, rel=1e-6)
    parabola = WLS(logs, np.vander(lengths, 3), weights=noise**-2).fit().params
    chord = np.polyval(parabola, [0, 9.5, 19])
    assert found.bend == pytest.approx(((chord[0] + chord[2]) / 2 - chord[1]) / abs(chord[2] - chord[0]))
    assert found.bend_low < found.bend < found.bend_high


@pytest.mark.parametrize(
    ("curve", "bend"),
    [(lambda x: -0.7 * x, 0.0), (lambda x: -0.02 * x**2, -0.25), (lambda x: -4 * np.sqrt(x), 0.25)],
)
def test_what_bends_is_told_from_a_straight_line(curve, bend):
    found = paths.decay(*noisy(curve, 0.02, 1)[:3])
    assert found.bend == pytest.approx(bend, abs=0.03)
    off = (found.bend_low > -0.1 and found.bend_high < 0.1, found.bend_low > 0.1 or found.bend_high < -0.1)
    assert off == (bend == 0, bend != 0)


def test_intervals_of_slope_and_bend_cover():
    slope = bend = 0
    for seed in range(300):
        found = paths.decay(*noisy(lambda x: 1 - 0.3 * x, 0.1, seed)[:3])
        slope += found.slope_low <= -0.3 <= found.slope_high
        bend += found.bend_low <= 0 <= found.bend_high
    assert 0.92 <= slope / 300 <= 0.99
    assert 0.92 <= bend / 300 <= 0.99


def test_decay_of_few_points():
    assert paths.decay([0], [1.0], [0.1]) is None
    assert paths.decay([0, 1, 2], [1.0, 0.0, 0.0], [0.1, 0.1, 0.1]) is None
    two = paths.decay([0, 1], [1.0, 0.5], [0.1, 0.1])
    assert two.slope == pytest.approx(math.log(0.5))
    assert two.slope_low is None
    unknown = paths.decay([0, 1, 2, 3], [1.0, 0.5, 0.25, 0.125], [0.1, None, 0.1, 0.1])
    assert unknown.slope == pytest.approx(math.log(0.5))
    assert (unknown.slope_low, unknown.bend) == (None, None)


@pytest.mark.parametrize(("blocks", "deleted", "length"), [(5, 2, 2), (6, 3, 0), (6, 1, 6), (4, 4, 1)])
def test_survivors_are_the_paths_that_avoid_what_was_deleted(blocks, deleted, length):
    routes = list(itertools.combinations(range(blocks), length))
    left = [route for route in routes if not set(route) & set(range(deleted))]
    assert paths.survivors(blocks, deleted, length) == Fraction(len(left), len(routes))
    with pytest.raises(ValueError, match="neither may exceed"):
        paths.survivors(blocks, blocks + 1, length)
