import numpy as np
import pytest
from scipy.stats import false_discovery_control
from statsmodels.stats.multitest import multipletests

from resnet_probe.statistics import bonferroni, false_discovery


@pytest.mark.parametrize("tests", [1, 2, 7, 54])
def test_adjusted_p_values_are_those_of_scipy_and_statsmodels(tests):
    generator = np.random.default_rng(tests)
    for values in (generator.random(tests), generator.random(tests) ** 3, generator.integers(0, 4, tests) / 4):
        found = false_discovery(values.tolist())
        assert found == pytest.approx(false_discovery_control(values))
        assert found == pytest.approx(multipletests(values, method="fdr_bh")[1])


def test_no_tests_have_no_p_values():
    assert false_discovery([]) == []


@pytest.mark.parametrize("value", [-0.1, 1.1, float("nan")])
def test_what_is_no_p_value_is_refused(value):
    with pytest.raises(ValueError, match="between 0 and 1"):
        false_discovery([0.5, value])


def test_bonferroni_is_that_of_statsmodels():
    for tests in (1, 2, 54):
        *_, level = multipletests([0.5] * tests, alpha=0.05, method="bonferroni")
        assert bonferroni(tests) == pytest.approx(1 - level)
    assert bonferroni(4, 0.8) == pytest.approx(0.95)
    with pytest.raises(ValueError, match="0 tests"):
        bonferroni(0)
