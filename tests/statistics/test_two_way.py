import numpy as np
import pandas as pd
import pytest
from scipy.special import ndtri
from scipy.stats import t
from statsmodels.formula.api import ols
from statsmodels.stats.anova import anova_lm

from resnet_probe.statistics import two_way, two_way_mean, wilson


def world(seed, draws, images):
    rate, of_draws, of_images = 0.2, 0.4, 1.0
    generator = np.random.default_rng(seed)
    values = generator.normal(size=(draws, images)) + of_images * generator.normal(size=images)
    threshold = ndtri(rate) * np.sqrt(1 + of_draws**2 + of_images**2)
    return values + of_draws * generator.normal(size=(draws, 1)) < threshold


@pytest.mark.parametrize("population", [None, 8, 30])
@pytest.mark.parametrize("shape", [(8, 30), (5, 11), (2, 40), (8, 2)])
def test_interval_is_that_of_the_mean_squares_of_statsmodels(shape, population):
    wrong = world(1, *shape)
    draws, images = shape
    long = pd.DataFrame([(i, j, float(flag)) for (i, j), flag in np.ndenumerate(wrong)], columns=["d", "i", "wrong"])
    table = anova_lm(ols("wrong ~ C(d) + C(i)", long).fit())
    squares = table["sum_sq"] / table["df"]
    size, share = draws * images, 0 if population is None else draws / population
    parts = np.array([(1 - share) * squares["C(d)"], squares["C(i)"]]) / size
    variance = parts.sum() - (1 - share) * squares["Residual"] / size
    assert min(parts) > (1 - share) * squares["Residual"] / size or share == 1
    freedom = variance**2 / (parts**2 / [draws - 1, images - 1]).sum()
    mean = wrong.mean()
    reach = t.ppf(0.975, freedom) * np.sqrt(variance) / (mean * (1 - mean))
    odds = np.log(mean / (1 - mean)) + np.array([-reach, reach])
    found = two_way(wrong, population)
    assert (found.low, found.high) == pytest.approx(tuple(100 / (1 + np.exp(-odds))))
    assert (found.mean, found.error) == pytest.approx((100 * mean, 100 * np.sqrt(variance)))
    assert (found.over_draws, found.over_images) == pytest.approx(tuple(100 * np.sqrt(parts)))


def test_standard_error_is_near_that_of_the_pigeonhole_bootstrap():
    wrong, generator = world(2, 60, 400), np.random.default_rng(0)
    draws, images = wrong.shape
    weights = [generator.multinomial(size, np.full(size, 1 / size), 4000) for size in (draws, images)]
    means = 100 * np.einsum("rd,di,ri->r", weights[0], wrong.astype(float), weights[1], optimize=True) / wrong.size
    found = two_way(wrong)
    assert found.error == pytest.approx(means.std(), rel=0.1)  # the bootstrap counts the residual three times
    assert (found.low, found.high) == pytest.approx(tuple(np.quantile(means, [0.025, 0.975])), abs=0.15 * found.error)


def test_both_sources_are_more_than_each():
    found = two_way(world(3, 20, 300))
    assert found.error > max(found.over_draws, found.over_images)
    assert found.low < found.mean < found.high


def test_all_draws_leave_the_images_only():
    wrong = world(4, 6, 200)
    found = two_way(wrong, 6)
    assert found.over_draws == 0
    assert found.error == pytest.approx(found.over_images)
    assert found.error == pytest.approx(100 * wrong.mean(0).std(ddof=1) / 200**0.5)
    one = two_way(wrong[:1], 1)
    assert one.error == pytest.approx(100 * wrong[0].std(ddof=1) / 200**0.5)


def test_one_of_a_kind_has_no_interval():
    wrong = world(5, 6, 50)
    for flags in (wrong[:1], wrong[:, :1]):
        found = two_way(flags)
        assert (found.low, found.high, found.error) == (None, None, None)
    assert two_way(wrong[:1]).over_images is not None


def test_equal_flags_have_wilsons_interval_over_the_images():
    for flag in (0, 1):
        found = two_way(np.full((7, 40), bool(flag)))
        assert (found.low, found.high) == wilson(40 * flag, 40)


@pytest.mark.parametrize("wrong", [True, False])
def test_equal_flags_have_their_mean_and_no_spread(wrong):
    found = two_way(np.full((4, 30), wrong), confidence=0.9)
    assert found.mean == 100 * wrong
    assert (found.low, found.high) == pytest.approx(wilson(30 * wrong, 30, 0.9))
    assert found.error == 0
    assert two_way(np.full((1, 1), wrong)).mean == 100 * wrong


def test_flags_and_shares_agree():
    wrong = world(6, 5, 30)
    assert two_way(wrong) == two_way(wrong.astype(int)) == two_way(wrong.astype(float).tolist())


def test_coverage_of_other_draws_on_other_images():
    ends = [two_way(world(seed, 20, 300)) for seed in range(300)]
    hits = np.mean([found.low <= 20 <= found.high for found in ends])
    assert 0.95 - 3 * 0.0126 < hits < 0.95 + 3 * 0.0126
    alone = np.mean([abs(found.mean - 20) <= 1.96 * found.over_images for found in ends])
    assert alone < 0.85  # what an interval over the images is not made for


@pytest.mark.parametrize(
    ("flags", "population", "words"),
    [(np.zeros(5), None, "shape"), (np.zeros((0, 5)), None, "shape"), (np.zeros((3, 5)), 2, "3 draws out of 2"),
     (np.full((3, 5), 2.0), None, "between 0 and 1")],
)  # fmt: skip
def test_what_is_no_matrix_of_flags_is_refused(flags, population, words):
    with pytest.raises(ValueError, match=words):
        two_way(flags, population)


@pytest.mark.parametrize("confidence", [0, 1])
def test_a_confidence_is_between_0_and_1(confidence):
    with pytest.raises(ValueError, match="between 0 and 1, such as"):
        two_way(world(5, 6, 50), confidence=confidence)


def test_numbers_of_one_draw_have_students_interval_over_the_images():
    values = np.random.default_rng(0).normal(3, 2, size=(1, 25))
    found = two_way_mean(values, population=1)
    low, high = t.interval(0.95, 24, values.mean(), values.std(ddof=1) / 5)
    assert (found.mean, found.low, found.high) == pytest.approx((values.mean(), low, high))
    assert two_way_mean(values).low is None


def test_numbers_of_flags_have_the_same_variance_as_flags():
    flags = np.random.default_rng(0).random((12, 40)) < np.random.default_rng(1).random((12, 1))
    assert two_way_mean(100.0 * flags).error == pytest.approx(two_way(flags).error)
    assert 100 * two_way_mean(flags / 10).error == pytest.approx(two_way(flags).error / 10)
    shifted = two_way_mean(100.0 * flags + 1e6)
    assert shifted.error == pytest.approx(two_way(flags).error, rel=1e-6)


def test_numbers_must_be_a_matrix():
    with pytest.raises(ValueError, match="give \\(draws, images\\)"):
        two_way_mean([1.0, 2.0])
