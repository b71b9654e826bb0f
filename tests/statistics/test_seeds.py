from math import factorial

import numpy as np
import pytest
from scipy.integrate import dblquad, quad
from scipy.stats import norm, t, ttest_ind_from_stats

from resnet_probe.statistics import over_seeds, replication
from resnet_probe.statistics.seeds import MEDIAN


@pytest.mark.parametrize("values", [[6.1, 6.4], [6.1, 6.4, 5.9], list(range(10))])
@pytest.mark.parametrize("confidence", [0.95, 0.8])
def test_interval_over_seeds_is_students(values, confidence):
    found = over_seeds(values, confidence)
    error = np.std(values, ddof=1) / len(values) ** 0.5
    scipys = t.interval(confidence, len(values) - 1, np.mean(values), error)
    assert (found.low, found.high) == pytest.approx(scipys)
    assert (found.mean, found.std, found.count) == pytest.approx((np.mean(values), np.std(values, ddof=1), len(values)))


def test_one_seed_has_no_spread():
    found = over_seeds([6.0])
    assert (found.mean, found.std, found.low, found.high, found.count) == (6.0, None, None, None, 1)


def variance_of_median(runs):
    half, normal = runs // 2, norm.pdf
    if runs % 2:
        ways = factorial(runs) / factorial(half) ** 2
        return quad(lambda x: x**2 * ways * (norm.cdf(x) * norm.sf(x)) ** half * normal(x), -9, 9)[0]
    ways = factorial(runs) / factorial(half - 1) ** 2

    def density(apart, x):
        return ways * (norm.cdf(x) * norm.sf(x + apart)) ** (half - 1) * normal(x) * normal(x + apart)

    return dblquad(lambda apart, x: (x + apart / 2) ** 2 * density(apart, x), -7, 7, 0, 9, epsabs=1e-6)[0]


@pytest.mark.slow
@pytest.mark.parametrize("runs", [1, 2, 4, 5, 9])
def test_variance_of_a_median(runs):
    assert MEDIAN[runs - 1] == pytest.approx(variance_of_median(runs), abs=2e-6)


@pytest.mark.parametrize("runs", range(1, len(MEDIAN) + 1))
def test_variance_of_a_median_is_that_of_a_simulation(runs):
    draws = np.random.default_rng(runs).normal(size=(100_000, runs))
    assert MEDIAN[runs - 1] == pytest.approx(np.median(draws, 1).var(), rel=0.02)


def test_variance_of_a_median_of_many_runs_is_not_understated():
    ours = [6.0, 6.2, 6.4, 6.1]
    for runs in (11, 15, 31):
        found = replication(ours, 6.0, runs, of="median")
        share = ((found.high - found.low) / 2 / t.ppf(0.975, 3) / np.std(ours, ddof=1)) ** 2 - 1 / 4
        assert 1 < share / variance_of_median(runs) < 1.05


@pytest.mark.parametrize("count", [2, 3, 5, 20])
@pytest.mark.parametrize("spread", [0.05, 0.2, 0.9])
def test_with_a_published_spread_it_is_the_wider_of_students_and_welchs(count, spread):
    ours = np.random.default_rng(count).normal(6.5, 0.2, count)
    found = replication(ours.tolist(), 6.4, 5, std=spread)
    for end in (found.low, found.high):
        p = [
            ttest_ind_from_stats(found.difference, ours.std(ddof=1), count, end, spread, 5, equal_var=equal).pvalue
            for equal in (True, False)
        ]
        assert max(p) == pytest.approx(0.05)


def test_one_training_against_a_published_spread_is_a_prediction():
    found = replication([6.9], 6.61, 5, std=0.16)
    reach = t.ppf(0.975, 4) * 0.16 * (1 + 1 / 5) ** 0.5
    assert (found.low, found.high) == pytest.approx((0.29 - reach, 0.29 + reach))
    assert replication([6.9], 6.61, 5) == replication([6.9], 6.61, 1, std=0.1)  # no spread at all


def test_without_a_published_spread_theirs_is_ours():
    ours = [6.4, 6.6, 6.7, 6.5]
    for runs, share in ((5, variance_of_median(5)), (10, MEDIAN[9])):
        found = replication(ours, 6.61, runs, of="median")
        reach = t.ppf(0.975, 3) * np.std(ours, ddof=1) * (1 / 4 + share) ** 0.5
        assert (found.low, found.high) == pytest.approx((found.difference - reach, found.difference + reach))


@pytest.mark.slow
@pytest.mark.parametrize("known", [False, True])
@pytest.mark.parametrize("count", [3, 5, 10, 20])
def test_a_true_replication_is_called_false_in_5_percent_at_most(count, known):
    generator, runs, verdicts = np.random.default_rng(count), 1500, []
    for _ in range(runs):  # a spread beside which the margin is small, so that the interval alone decides
        ours, theirs = generator.normal(6.6, 2.0, count), generator.normal(6.6, 2.0, 5)
        value, spread, of = (
            (theirs.mean(), theirs.std(ddof=1), "mean") if known else (np.median(theirs), None, "median")
        )
        verdicts.append(replication(ours.tolist(), value, 5, std=spread, of=of).verdict)
    assert verdicts.count("does not hold") / runs < 0.05 + 3 * (0.05 * 0.95 / runs) ** 0.5


@pytest.mark.parametrize(("count", "least"), [(3, 0.75), (5, 0.97), (10, 0.99)])
def test_a_difference_of_one_point_is_found_and_a_replication_confirmed(count, least):
    generator, found = np.random.default_rng(count), []
    for apart in (1.0, 0.0, 0.5):
        samples = [(generator.normal(apart, 0.2, count), np.median(generator.normal(0, 0.2, 5))) for _ in range(400)]
        found.append([replication(ours.tolist(), theirs, 5, of="median").verdict for ours, theirs in samples])
    assert found[0].count("does not hold") / 400 > least
    assert found[1].count("does not hold") / 400 < 0.02
    assert found[1].count("holds") / 400 > {3: 0.15, 5: 0.5, 10: 0.8}[count]
    assert found[2].count("holds") / 400 < 0.025 + 3 * (0.025 / 400) ** 0.5


def test_a_difference_that_does_not_matter_is_a_replication():
    ours = [6.80, 6.81, 6.79, 6.80, 6.80]
    found = replication(ours, 6.61, 5, of="median")
    assert found.low > 0
    assert found.verdict == "holds"
    assert replication(ours, 6.61, 5, of="median", margin=0.1).verdict == "does not hold"


@pytest.mark.parametrize(
    "change",
    [{"values": []}, {"values": [float("nan")]}, {"published": float("inf")}, {"runs": 0}, {"std": -1.0},
     {"margin": 0.0}, {"confidence": 1.0}, {"of": "mode"}],
)  # fmt: skip
def test_what_cannot_be_compared_is_refused(change):
    arguments = {"values": [6.0, 6.1], "published": 6.0, "runs": 5} | change
    with pytest.raises(ValueError, match=r"give at least one|choose mean or median"):
        replication(**arguments)
