import math

import numpy as np
import pytest
import statsmodels.api as sm

from resnet_probe.statistics import ratio_of_means


def world(generator, groups, size):
    """Values that share an effect within a group; the ratio of their means is 0.4."""
    shared = np.exp(generator.normal(size=(groups, 1)))
    below = shared * np.exp(0.5 * generator.normal(size=(groups, size)))
    return 0.4 * shared.repeat(size, 1) * math.exp(0.125), below


def test_error_is_that_of_a_regression_with_clustered_errors():
    """A ratio of means is the slope of a weighted regression through the origin, with weights of 1 / `below`."""
    above, below = world(np.random.default_rng(0), 30, 4)
    groups = np.repeat(np.arange(30), 4)
    line = sm.WLS(above.ravel(), below.ravel(), weights=1 / below.ravel())
    fitted = line.fit(cov_type="cluster", cov_kwds={"groups": groups, "use_correction": False})
    ratio, error = ratio_of_means(above.ravel(), below.ravel(), groups)
    assert ratio == pytest.approx(fitted.params[0])
    assert error == pytest.approx(fitted.bse[0] * math.sqrt(30 / 29))


@pytest.mark.parametrize(("groups", "size"), [(100, 1), (100, 5), (400, 2)])
def test_intervals_cover(groups, size):
    generator, hits, repetitions = np.random.default_rng(1), 0, 2000
    for _ in range(repetitions):
        above, below = world(generator, groups, size)
        ratio, error = ratio_of_means(above.ravel(), below.ravel(), np.repeat(np.arange(groups), size))
        hits += abs(ratio - 0.4) <= 1.96 * error
    assert 0.92 < hits / repetitions < 0.97


def test_the_same_values_leave_no_doubt():
    values = np.random.default_rng(2).random(10)
    assert ratio_of_means(values, values, range(10)) == (1.0, 0.0)


def test_what_cannot_be_said():
    assert ratio_of_means([1.0, 2.0], [2.0, 2.0], [7, 7]) == (0.75, None)
    ratio, error = ratio_of_means([0.0], [0.0], [0])
    assert math.isnan(ratio)
    assert error is None
