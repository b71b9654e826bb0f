from math import comb

import pytest

from resnet_probe.claims import paths as rules
from tests.claims.runs import run, table


def lengths(counts, network="net"):
    return table(
        "paths",
        [{"network": network, "unit": "module", "length": k, "count": count} for k, count in counts.items()]
        + [{"network": network, "unit": "layer", "length": 2, "count": sum(counts.values())}],
    )


def binomial(n):
    return {k: comb(n, k) for k in range(n + 1)}


def test_paths_of_resnet_110_are_counted_exactly():
    (found,) = rules.lengths(run(lengths(binomial(54))))
    assert (found.claim, found.verdict, found.measured) == (10, "holds", "98.02 %")
    exact = sum(comb(54, k) for k in range(19, 36)) / 2**54
    assert found.measured_value == pytest.approx(100 * exact)


def test_54_blocks_with_other_counts_do_not_hold():
    skewed = binomial(54)
    skewed[0] += sum(skewed.pop(k) for k in range(10, 54))  # as many paths, most of them of length 0
    (found,) = rules.lengths(run(lengths(skewed)))
    assert found.verdict == "does not hold"


def test_other_networks_cannot_say_and_one_path_says_nothing():
    (found,) = rules.lengths(run(lengths(binomial(27))))
    assert found.verdict == "cannot say"
    assert "27 blocks" in found.why
    assert list(rules.lengths(run(lengths({0: 1})))) == []


def gradient(blocks=27, decay=(-0.9, -1.0, -0.8, 0.01, -0.04, 0.06), effective=(3, 12, 0.35), mean=7.0):
    line = (
        dict(zip(("slope", "slope_low", "slope_high", "bend", "bend_low", "bend_high"), decay, strict=True))
        if decay
        else None
    )
    found = {"blocks": blocks, "effective_mean_length": mean, "decay": line and line | {"points": blocks + 1}}
    keys = ("low", "high", "share_of_paths")
    found["effective"] = dict(zip(keys, effective, strict=True)) | {"holds": 0.96} if effective else None
    return run(table("gradients", [{"network": "net", "length": 0}], networks={"net": found}))


@pytest.mark.parametrize(
    ("decay", "verdict"),
    [
        ((-0.9, -1.0, -0.8, 0.01, -0.04, 0.06), "holds"),
        ((0.3, 0.2, 0.4, 0.01, -0.04, 0.06), "does not hold"),
        ((-0.9, -1.4, -0.4, -0.25, -0.3, -0.2), "does not hold"),  # a Gaussian
        ((-0.9, -1.4, -0.4, 0.2, 0.15, 0.25), "does not hold"),  # exp(-4 sqrt k)
        ((-0.9, -1.2, -0.6, 0.05, -0.08, 0.18), "cannot say"),
        ((-0.1, -0.4, 0.2, 0.01, -0.04, 0.06), "cannot say"),
        ((-0.9, -1.2, -0.6, None, None, None), "cannot say"),
        (None, "cannot say"),
    ],
)
def test_gradient_falls_exponentially(decay, verdict):
    found = next(iter(rules.gradients(gradient(decay=decay))))
    assert (found.claim, found.verdict) == (11, verdict)
    assert found.published_value is None  # the slope was published for 54 blocks


@pytest.mark.parametrize(
    ("how", "short", "few"),
    [
        ({"blocks": 54, "effective": (5, 17, 0.0045)}, "holds", "holds"),
        ({"blocks": 54, "effective": (20, 34, 0.96), "mean": 27.0}, "does not hold", "does not hold"),
        ({"blocks": 54, "effective": (12, 30, 0.83), "mean": 21.0}, "cannot say", "does not hold"),
        ({"blocks": 27}, "holds", "cannot say"),
        ({"blocks": 6, "effective": (0, 2, 0.3), "mean": 1.0}, "cannot say", "cannot say"),
    ],
)
def test_effective_paths_are_short_and_few(how, short, few):
    _, first, second = rules.gradients(gradient(**how))
    assert (first.claim, second.claim) == (12, 12)
    assert (first.verdict, second.verdict) == (short, few)


def test_without_samples_or_blocks_there_is_nothing_to_judge():
    assert [found.verdict for found in rules.gradients(gradient(decay=None, effective=None))] == ["cannot say"] * 2
    assert list(rules.gradients(gradient(blocks=0))) == []


def test_random_weights_show_nothing_about_trained_networks():
    assert "holds" in {each.verdict for each in rules.gradients(gradient())}
    made = gradient()
    made.tables[0].result.settings.update(arch="resnet56", checkpoint_sha256=None)
    assert {each.verdict for each in rules.gradients(made)} == {"cannot say"}
