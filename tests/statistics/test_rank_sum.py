from itertools import combinations

import numpy as np
import pytest
from scipy.stats import mannwhitneyu

from resnet_probe.statistics import rank_sum


def by_hand(first, second):
    """All ways to choose the first group, by the statistic's definition on pairs."""
    every = [*first, *second]

    def wins(chosen):
        others = [i for i in range(len(every)) if i not in chosen]
        pairs = [(every[i] > every[j]) + 0.5 * (every[i] == every[j]) for i in chosen for j in others]
        return sum(pairs) / len(pairs)

    def p(value):
        return min(1, 2 * min(np.mean(found >= value - 1e-12), np.mean(found <= value + 1e-12)))

    found = np.array([wins(chosen) for chosen in combinations(range(len(every)), len(first))])
    observed = wins(range(len(first)))
    return observed, p(observed), min(p(found.min()), p(found.max()))


@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize(("few", "many"), [(1, 4), (2, 7), (3, 6), (5, 3)])
def test_every_way_to_choose_is_counted(few, many, ties):
    generator = np.random.default_rng(few)
    values = generator.integers(0, 4, few + many) if ties else generator.permutation(few + many)
    first, second = values[:few].tolist(), values[few:].tolist()
    found = rank_sum(first, second)
    assert (found.wins, found.p, found.least) == pytest.approx(by_hand(first, second))
    if not ties:
        assert found.p == pytest.approx(mannwhitneyu(first, second, method="exact").pvalue)


def test_two_of_nine_cannot_be_told_apart_from_the_rest():
    found = rank_sum([8, 9], [1, 2, 3, 4, 5, 6, 7])
    assert (found.wins, found.p, found.least) == pytest.approx((1, 2 / 36, 2 / 36))
