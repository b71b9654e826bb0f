import numpy as np
import pytest
from scipy.special import ndtri
from scipy.stats import binomtest, bootstrap, spearmanr

from resnet_probe.statistics import RankCorrelation, bootstrap_mean, spearman, wilson
from resnet_probe.statistics.intervals import TWO_SIDED_95


@pytest.mark.parametrize(("wrong", "images"), [(0, 10), (3, 10), (74, 1000), (10, 10)])
def test_wilson_is_the_closed_form(wrong, images):
    z, share = 1.959963984540054, wrong / images
    centre = (share + z**2 / (2 * images)) / (1 + z**2 / images)
    margin = z / (1 + z**2 / images) * np.sqrt(share * (1 - share) / images + z**2 / (4 * images**2))
    assert wilson(wrong, images) == pytest.approx((100 * (centre - margin), 100 * (centre + margin)), abs=1e-9)


@pytest.mark.parametrize("confidence", [0.95, 0.9, 0.99, *(1 - 0.05 / layers for layers in (8, 13, 54))])
def test_wilson_is_that_of_scipy_to_the_last_digit(confidence):
    for images in (1, 2, 3, 7, 16, 100, 250, 355, 1000):
        for wrong in {*range(0, images + 1, 1 + images // 60), images}:
            scipys = binomtest(wrong, images).proportion_ci(confidence, method="wilson")
            assert wilson(wrong, images, confidence) == (100 * scipys.low, 100 * scipys.high)


def test_wilson_of_numpy_integers_are_python_floats():
    assert [type(end) for end in wilson(np.int64(3), np.int64(10))] == [float, float]


def test_the_quantile_of_95_percent_is_that_of_scipy():
    assert float(ndtri(0.975)) == TWO_SIDED_95 == float(ndtri(0.5 + 0.5 * 0.95))


@pytest.mark.parametrize(("wrong", "images"), [(0, 0), (-1, 10), (11, 10)])
def test_wilson_of_no_share_is_refused(wrong, images):
    with pytest.raises(ValueError, match=f"{wrong} of {images} images wrong"):
        wilson(wrong, images)


@pytest.mark.parametrize("values", [[0, 100, 100], [4 / 3] * 9, range(30)])
def test_bootstrap_of_a_mean_is_that_of_scipy_to_the_last_digits(values):
    values = np.array(values, dtype=float)
    for seed in range(8):
        scipys = bootstrap((values,), np.mean, n_resamples=2000, batch=100, method="percentile",
                           rng=np.random.default_rng(seed)).confidence_interval  # fmt: skip
        # older versions of scipy interpolate in another order
        assert bootstrap_mean(values, seed) == pytest.approx((scipys.low, scipys.high), rel=1e-14)


def test_bootstrap_of_a_mean_is_near_that_of_other_draws_and_the_normal_one():
    values = np.random.default_rng(3).gamma(2.0, size=300)
    low, high = bootstrap_mean(values, seed=1)
    other = bootstrap((values,), np.mean, method="percentile", rng=np.random.default_rng(8)).confidence_interval
    error = values.std(ddof=1) / len(values) ** 0.5
    for ends in ((other.low, other.high), (values.mean() - 1.96 * error, values.mean() + 1.96 * error)):
        assert (low, high) == pytest.approx(ends, abs=0.15 * error + 0.02)
    assert bootstrap_mean(values, seed=1) == (low, high)
    assert bootstrap_mean(list(values), seed=2) != (low, high)


def test_bootstrap_of_two_values_goes_from_one_to_the_other():
    assert bootstrap_mean([1, 2], 0) == (1.0, 2.0)


def test_bootstrap_of_one_value_or_of_equal_values():
    assert bootstrap_mean([4.0], seed=0) == (None, None)
    assert bootstrap_mean([], seed=0) == (None, None)
    assert bootstrap_mean([4.0, 4.0, 4.0], seed=0) == (4.0, 4.0)


def test_bootstrap_leaves_the_global_random_state():
    before = np.random.get_state()[1].copy()  # noqa: NPY002 - the state that must not change
    bootstrap_mean([1.0, 2.0, 5.0], seed=0)
    spearman([1, 2, 3], [3, 1, 2], seed=0)
    np.testing.assert_array_equal(np.random.get_state()[1], before)  # noqa: NPY002


def test_rank_correlation_is_that_of_scipy_with_a_bootstrap_interval():
    generator = np.random.default_rng(0)
    x = generator.integers(0, 12, 150).astype(float)
    y = x + generator.normal(0, 6, 150)
    found = spearman(list(x), list(y), seed=5)
    expected = spearmanr(x, y).statistic
    assert found.spearman == expected
    other = bootstrap(
        (x, y), lambda a, b: spearmanr(a, b).statistic, paired=True, vectorized=False, n_resamples=1500,
        method="percentile", rng=generator,
    ).confidence_interval  # fmt: skip
    assert (found.spearman_low, found.spearman_high) == pytest.approx((other.low, other.high), abs=0.012)
    assert spearman(list(x), list(y), seed=5) == found


def test_rank_correlation_of_a_monotone_curve_is_one_and_of_a_constant_none():
    assert spearman([1, 2, 3, 4], [1, 10, 11, 500], seed=0).spearman == pytest.approx(1)
    for x, y in (([1, 1, 2, 2], [4, 1, 3, 9]), ([4, 1, 3, 9], [1, 1, 2, 2])):  # two different values are enough
        assert spearman(x, y, seed=0).spearman == spearmanr(x, y).statistic
    assert spearman([1, 1, 1], [1, 2, 3], seed=0) == RankCorrelation(None, None, None)
    assert spearman([1, 2, 3], [5, 5, 5], seed=0) == RankCorrelation(None, None, None)
