import json
import math
from functools import partial

import pytest

from resnet_probe.claims import iterative as rules
from resnet_probe.claims.verdicts import table as judgements
from tests.claims.runs import run, table


def blocks(measure, means, spread=0.1, images=100, **settings):
    """A measure of each block, with its spread over the images."""
    same = {"network": "net", f"{measure}_std": spread, "images": images, "gradients": images}
    rows = [{**same, "block": f"b{i}", measure: mean} for i, mean in enumerate(means)]
    return run(table("iterative", rows, **settings))


cosines = partial(blocks, "cos_gradient")
exit_cosines = partial(blocks, "cos_exit")
agreeing = partial(blocks, "agreement", spread=0.04, images=401)


@pytest.mark.parametrize(
    ("means", "verdict"),
    [
        ([-0.05, -0.1, -0.2, None, -0.2], "holds"),  # a block that resizes has no cosine
        ([-0.05, -0.1, -0.2, None], "cannot say"),  # every block of three
        ([-0.05, 0.05, -0.2], "does not hold"),
        ([-0.05, -0.015, -0.2], "cannot say"),  # half width of the interval: 1.96 x 0.1 / 10
        ([None], "cannot say"),
    ],
)
def test_branch_opposes_the_gradient(means, verdict):
    (found,) = rules.branches(cosines(means))
    assert (found.claim, found.verdict) == (14, verdict)


@pytest.mark.parametrize(
    ("means", "verdict"),
    [
        ([depth**-0.5 for depth in range(27, 0, -1)], "holds"),
        ([math.exp(-0.1 * depth) for depth in range(27, 0, -1)], "does not hold"),
        ([1 - 0.03 * depth for depth in range(27, 0, -1)], "does not hold"),  # faster and faster
        ([0.001] * 5 + [0.1] * 5 + [0.5] * 5, "cannot say"),  # at the input it is not told from 0
        ([0.5] * 9, "cannot say"),  # no fall
        ([0.1, 0.2, 0.3], "cannot say"),
    ],
)
def test_agreement_of_gradients_falls_more_slowly_than_exponentially(means, verdict):
    (found,) = rules.agreement(agreeing(means))
    assert (found.claim, found.verdict) == (23, verdict)


def test_agreement_is_measured_against_an_exponential_with_its_noise():
    means = [depth**-0.5 for depth in range(27, 0, -1)]
    (found,) = rules.agreement(agreeing(means))
    assert found.measured_value == pytest.approx(math.log(14 / math.sqrt(27)))
    error = 0.04 / math.sqrt(400 / 2) * (1 / means[0] + 2 / means[13] + 1)
    assert found.high - found.low == pytest.approx(2 * 1.959964 * error, rel=1e-5)
    (edited,) = rules.agreement(agreeing(means, edits=[{"delete": ["a"]}]))
    assert edited.verdict == "cannot say"


def test_the_exit_gradient_is_judged_where_it_was_measured():
    """ResNet-56: back-propagated it lies above 0 in blocks of the last stage, at the exits below 0 in all."""
    made = cosines([0.05, -0.1, 0.1, 0.1, 0.1])
    for row, exit_ in zip(made.tables[0].result.rows, (None, -0.2, -0.3, -0.3, -0.3), strict=True):
        row.update(cos_exit=exit_, cos_exit_std=None if exit_ is None else 0.1)
    (found,) = rules.branches(made)
    assert (found.verdict, found.measured_value) == ("holds", -0.2)
    assert "back-propagated gradient, 1 of 5" in found.why
    assert "pre-activation" in found.why


def test_one_of_many_blocks_above_0_counts_only_by_an_interval_of_all_together():
    """Standard error 0.01: 0.022 is above 0 by its own interval; 0.04 by that of all of 31 blocks too."""
    chance, clear = (next(rules.branches(cosines([-0.1] * 30 + [mean]))) for mean in (0.022, 0.04))
    assert (chance.verdict, clear.verdict) == ("cannot say", "does not hold")
    assert chance.low > 0


def test_a_cosine_that_is_no_number_is_not_below_0():
    found = next(rules.branches(cosines([-0.1, float("nan")])))
    assert found.verdict == "cannot say"
    (row,) = judgements([found]).rows
    assert json.loads(json.dumps(row, allow_nan=False))["verdict"] == "cannot say"


@pytest.mark.parametrize(
    ("means", "verdict"),
    [
        ([None, -0.05, -0.06, -0.2, -0.3], "holds"),
        ([None, -0.3, -0.2, -0.06, -0.05], "does not hold"),
        ([None, -0.10, -0.11, -0.12, -0.13], "cannot say"),  # standard errors of 0.01 to either side
        ([None, -0.1, -0.9], "cannot say"),  # one block against another
        ([None], "cannot say"),
    ],
)
def test_higher_blocks_oppose_the_gradient_more(means, verdict):
    (found,) = rules.higher_blocks(exit_cosines(means))
    assert (found.claim, found.verdict) == (17, verdict)
    if len(means) == 5:
        assert found.measured_value == pytest.approx(sum(means[3:]) / 2 - sum(means[1:3]) / 2)


def exits(accuracy, images=1000):
    rows = [{"network": "net", "block": f"b{i}", "exit_accuracy": a, "images": images} for i, a in enumerate(accuracy)]
    return run(table("iterative", rows))


@pytest.mark.parametrize(
    ("accuracy", "verdict"),
    [
        ([None, 30, 45, 60, 75, 90], "holds"),
        ([None, 30, 32, 34, 36, 90], "does not hold"),  # it jumps
        ([None, 30, 45, 30, 75, 90], "does not hold"),  # it falls on the way
        ([None, 90, 75, 60, 45, 30], "does not hold"),
        ([None, 30, 40, 41, 72, 90], "cannot say"),  # a step of about half
        ([None, 88, 88, 89, 89, 90], "cannot say"),
        ([None, 30, 90], "cannot say"),
    ],
)
def test_early_exits_get_better_step_by_step(accuracy, verdict):
    (found,) = rules.exits(exits(accuracy))
    assert (found.claim, found.verdict) == (18, verdict)


@pytest.mark.parametrize(
    ("rank", "verdict"),
    [((0.8, 0.5, 0.9), "holds"), ((0.1, -0.2, 0.25), "does not hold"), ((0.5, 0.1, 0.8), "cannot say")],
)
def test_influence_ranks_the_damage(rank, verdict):
    row = {"network": "net", "measure": "influence", "damage": "loss", "subset": "all", "blocks": 27}
    rows = [row | dict(zip(("rho", "low", "high"), rank, strict=True)), row | {"measure": "ratio", "rho": 1.0}]
    (found,) = rules.influence(run(table("iterative_ranks", rows)))
    assert (found.claim, found.verdict, found.measured_value) == (19, verdict, rank[0])
    assert "other images" not in found.why
    (found,) = rules.influence(run(table("iterative_ranks", rows, lesion_on_the_same_images=False)))
    assert "whose damage was measured on other images" in found.why


def test_random_weights_show_nothing_about_trained_networks():
    four = [-0.1, -0.1, -0.2, -0.2]
    cases = ((cosines(four), rules.branches), (exit_cosines(four), rules.higher_blocks),
             (exits([30, 45, 60, 90]), rules.exits))  # fmt: skip
    for made, rule in cases:
        assert {each.verdict for each in rule(made)} == {"holds"}
        made.tables[0].result.settings.update(arch="resnet56", checkpoint_sha256=None)
        assert {each.verdict for each in rule(made)} == {"cannot say"}


def estimations(*stages):
    rows = [
        {"network": "net", "block": f"layer{stage}.{i}", "stage": stage}
        | {"estimation_bias": bias, "estimation_spread": std}
        for stage, blocks in enumerate(stages, 1)
        for i, (bias, std) in enumerate((*blocks, (0.0, 0.0)))  # the last block is the reference
    ]
    return run(table("iterative", rows))


@pytest.mark.parametrize(
    ("stages", "verdict"),
    [
        ([[(0.1, 1.0), (0.1, 0.6)], [(0.2, 0.8), (0.1, 0.4), (0.1, 0.3)]], "holds"),
        ([[(0.1, 1.0), (0.1, 1.1)], [(0.2, 0.8), (0.1, 0.4)]], "does not hold"),  # it rises
        ([[(0.7, 1.0), (0.1, 0.6)]], "does not hold"),  # far from 0
        ([[(0.1, 1.0)], [(0.1, 1.0)]], "cannot say"),
    ],
)
def test_blocks_estimate_the_last_representation(stages, verdict):
    (found,) = rules.estimation(estimations(*stages))
    assert (found.claim, found.verdict) == (21, verdict)
