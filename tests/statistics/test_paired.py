from math import comb

import numpy as np
import pytest
from scipy.optimize import brentq, minimize_scalar
from scipy.stats import binom, binomtest, chi2
from statsmodels.stats.contingency_tables import mcnemar as exact

from resnet_probe.statistics import confidence_sequence, mcnemar, paired, paired_difference


@pytest.mark.parametrize(("b", "c"), [(0, 0), (6, 0), (0, 7), (4, 4), (12, 31), (500, 430), (9000, 8700)])
def test_mcnemar_is_that_of_statsmodels_and_of_scipy(b, c):
    assert mcnemar(b, c) == pytest.approx(exact([[1, b], [c, 1]], exact=True).pvalue if b + c else 1, rel=1e-9)
    if b + c:
        assert mcnemar(b, c) == pytest.approx(binomtest(b, b + c).pvalue, rel=1e-9)


def test_mcnemar_of_few_changes():
    for b in range(8):
        for c in range(1, 8):
            assert mcnemar(b, c) == pytest.approx(binomtest(b, b + c).pvalue, rel=1e-12)


def test_mcnemar_errs_in_at_most_5_percent_whatever_the_number_of_disagreements():
    for n in range(1, 40):
        assert sum(comb(n, b) for b in range(n + 1) if mcnemar(b, n - b) < 0.05) <= 0.05 * 2**n


def chi_squared(b, c, n, shift):
    """Pearson's distance of the counts from the likeliest shares with this difference, found by a search."""

    def shares(right):
        return np.array([right + shift, right, 1 - 2 * right - shift])

    def loss(right):
        return -sum(k * np.log(max(p, 1e-300)) for k, p in zip((b, c, n - b - c), shares(right), strict=True) if k)

    found = minimize_scalar(loss, bounds=(max(0, -shift), (1 - shift) / 2), method="bounded", options={"xatol": 1e-14})
    expected = n * shares(found.x)
    return sum((o - e) ** 2 / max(e, 1e-12) for o, e in zip((b, c, n - b - c), expected, strict=True))


@pytest.mark.parametrize("confidence", [0.95, 0.8, 1 - 0.05 / 54])
@pytest.mark.parametrize(("b", "c", "n"), [(30, 10, 1000), (3, 1, 60), (12, 12, 50), (5, 9, 40), (700, 100, 10_000)])
def test_the_interval_holds_what_pearsons_test_does_not_reject(b, c, n, confidence):
    difference, low, high = paired_difference(b, c, n, confidence)
    bar = chi2.ppf(confidence, 1)
    for end, outwards in ((low, -1), (high, 1)):
        edge = brentq(
            lambda shift: chi_squared(b, c, n, shift) - bar, difference / 100, difference / 100 + outwards * 0.35
        )
        assert end == pytest.approx(100 * edge, abs=1e-4)


def test_a_published_example():
    # Fagerland, Lydersen and Laake 2014, airway reactivity of 21 children: Tango's interval -0.517 to -0.026
    assert paired_difference(1, 7, 21) == pytest.approx((-100 * 6 / 21, -51.7, -2.6), abs=0.05)


def test_no_change_is_not_no_uncertainty():
    assert paired_difference(0, 0, 1, 0.5)[2] == pytest.approx(100 * chi2.ppf(0.5, 1) / (1 + chi2.ppf(0.5, 1)))
    z = 1.959963984540054
    for n in (1, 16, 100, 10_000):
        edge = 100 * z**2 / (n + z**2)
        assert paired_difference(0, 0, n) == pytest.approx((0, -edge, edge))
        assert paired_difference(n, 0, n)[2] == 100 == -paired_difference(0, n, n)[1]


def test_laws_of_the_interval():
    generator = np.random.default_rng(0)
    for _ in range(200):
        n = int(generator.integers(1, 400))
        b, c, _rest = generator.multinomial(n, generator.dirichlet([1, 1, 4])).tolist()
        difference, low, high = paired_difference(b, c, n)
        assert -100 <= low <= difference <= high <= 100
        assert paired_difference(c, b, n) == pytest.approx((-difference, -high, -low), abs=1e-9)
        wider = paired_difference(b, c, n, 0.99)
        assert wider[1] <= low
        assert high <= wider[2]
        # at no difference the score test is McNemar's without a continuity correction
        assert (low <= 0 <= high) == ((b - c) ** 2 <= chi2.ppf(0.95, 1) * (b + c))


@pytest.mark.parametrize(("newly_wrong", "newly_right"), [(0.05, 0.01), (0.1, 0.1), (0.5, 0.01)])
def test_coverage_by_enumeration(newly_wrong, newly_right):
    n, covered = 100, 0.0
    for b in range(n + 1):
        first = binom.pmf(b, n, newly_wrong)
        if first < 1e-9:
            continue
        for c in range(n - b + 1):
            chance = first * binom.pmf(c, n - b, newly_right / (1 - newly_wrong))
            if chance > 1e-9:
                _, low, high = paired_difference(b, c, n)
                covered += chance * (low <= 100 * (newly_wrong - newly_right) <= high)
    assert 0.93 < covered < 0.97


@pytest.mark.parametrize("function", [paired_difference, confidence_sequence])
@pytest.mark.parametrize("counts", [(-1, 0, 10), (0, -1, 10), (6, 5, 10), (0, 0, 0)])
def test_impossible_counts_are_refused(counts, function):
    with pytest.raises(ValueError, match=f"of {counts[2]} images"):
        function(*counts)
    with pytest.raises(ValueError, match=r"confidence of 1\.5"):
        function(1, 1, 10, 1.5)
    with pytest.raises(ValueError, match="-1 newly wrong"):
        mcnemar(-1, 3)


def test_flags_that_agree_on_every_image_say_nothing_of_a_difference():
    for n in (1, 2, 30):
        found = paired([True] * n, [True] * n)
        assert (found.newly_wrong, found.newly_right, found.increase, found.p) == (0, 0, 0, 1)
        assert found.increase_low == pytest.approx(-found.increase_high)
        assert found.increase_low < 0


# -- looked at again and again ----------------------------------------------------------------------------------------

SHARES = 0.9 / 2 ** np.arange(10)


def capital(differences, mean):
    """What the gamblers have on average after each image, image by image; differences are -1, 0 or 1."""
    d = np.asarray(differences, dtype=float)[..., None]
    up = np.cumprod(1 - SHARES + SHARES * (1 + d) / (1 + mean), axis=-2)
    down = np.cumprod(1 - SHARES + SHARES * (1 - d) / (1 - mean), axis=-2)
    return (up.mean(-1) + down.mean(-1)) / 2


@pytest.mark.parametrize("confidence", [0.95, 0.99])
@pytest.mark.parametrize(("b", "c", "n"), [(0, 0, 1), (0, 0, 40), (1, 0, 3), (3, 9, 60), (60, 2, 200), (20, 20, 900)])
def test_the_sequence_ends_where_the_gamblers_win_enough(b, c, n, confidence):
    images = np.random.default_rng(0).permutation([1] * b + [-1] * c + [0] * (n - b - c))
    difference, low, high = confidence_sequence(b, c, n, confidence)
    assert difference == pytest.approx(100 * (b - c) / n)
    for edge in (low, high):
        assert capital(images, edge / 100)[-1] == pytest.approx(1 / (1 - confidence), rel=1e-6)


def test_laws_of_the_sequence():
    generator = np.random.default_rng(1)
    for _ in range(10):
        n = int(generator.integers(1, 400))
        b, c, _rest = generator.multinomial(n, generator.dirichlet([1, 1, 4])).tolist()
        difference, low, high = confidence_sequence(b, c, n)
        fixed, fixed_low, fixed_high = paired_difference(b, c, n)
        assert difference == fixed
        assert -100 <= low <= fixed_low <= fixed_high <= high <= 100
        assert confidence_sequence(c, b, n) == pytest.approx((-difference, -high, -low), abs=1e-9)
        wider = confidence_sequence(b, c, n, 0.99)
        assert wider[1] <= low
        assert high <= wider[2]
    assert confidence_sequence(5, 0, 5)[2] == 100 == -confidence_sequence(0, 5, 5)[1]
    assert confidence_sequence(0, 0, 10**6)[2] < 0.001


@pytest.mark.parametrize(("rate", "share"), [(0.005, 0.9), (0.02, 0.5), (0.1, 0.9), (0.3, 0.5)])
def test_whenever_one_looks_the_sequence_misses_in_at_most_5_percent(rate, share):
    """Of 500 sequences of 1,000 images, all that leave out the true difference at any image count."""
    generator = np.random.default_rng(2)
    changed, wrong = generator.random((2, 500, 1000)) < np.array([rate, share])[:, None, None]
    differences = changed * (2 * wrong.astype(np.int8) - 1)
    truth = rate * (2 * share - 1)
    lost = np.concatenate([capital(part, truth).max(-1) >= 20 for part in np.split(differences, 10)])
    assert lost.mean() <= 0.05 + 2 * (0.05 * 0.95 / 500) ** 0.5
    for row in differences[:3]:
        for n in (10, 1000):
            _, low, high = confidence_sequence(*(int((row[:n] == kind).sum()) for kind in (1, -1)), n)
            assert (low <= 100 * truth <= high) == (capital(row[:n], truth)[-1] < 20)
