import itertools
import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

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


def test_decay_recovers_slope_interval_and_r2():
    lengths = list(range(12))
    noise = np.random.default_rng(0).normal(0, 0.3, 12)
    logs = 2 - 0.7 * np.array(lengths) + noise
    found = paths.decay(lengths, np.exp(logs).tolist())
    design = np.stack([np.ones(12), lengths], 1)
    (intercept, slope), residuals, *_ = np.linalg.lstsq(design, logs, rcond=None)
    error = math.sqrt(residuals[0] / 10 / ((np.array(lengths) - 5.5) ** 2).sum())
    assert (found.intercept, found.slope, found.points) == (pytest.approx(intercept), pytest.approx(slope), 12)
    assert found.r2 == pytest.approx(1 - residuals[0] / ((logs - logs.mean()) ** 2).sum())
    assert found.slope_high - found.slope == pytest.approx(2.2281389 * error, rel=1e-6)  # t for 10 degrees, 97.5 %
    assert found.slope - found.slope_low == pytest.approx(2.2281389 * error, rel=1e-6)


def test_decay_of_few_points():
    assert paths.decay([0], [1.0]) is None
    assert paths.decay([0, 1, 2], [1.0, 0.0, 0.0]) is None
    two = paths.decay([0, 1], [1.0, 0.5])
    assert two.slope == pytest.approx(math.log(0.5))
    assert two.slope_low is None


@pytest.mark.parametrize(("blocks", "deleted", "length"), [(5, 2, 2), (6, 3, 0), (6, 1, 6), (4, 4, 1)])
def test_survivors_are_the_paths_that_avoid_what_was_deleted(blocks, deleted, length):
    routes = list(itertools.combinations(range(blocks), length))
    left = [route for route in routes if not set(route) & set(range(deleted))]
    assert paths.survivors(blocks, deleted, length) == Fraction(len(left), len(routes))
    with pytest.raises(ValueError, match="neither may exceed"):
        paths.survivors(blocks, blocks + 1, length)
