import numpy as np
import pytest

from resnet_probe.claims import judge
from resnet_probe.claims.iterative import higher_blocks
from resnet_probe.claims.seeds import over_trainings
from resnet_probe.claims.verdicts import Verdict
from resnet_probe.statistics import over_seeds
from tests.claims.runs import run, table


def cosines(values, **settings):
    """Several checkpoints, each with four blocks whose upper half lies lower by its value."""
    rows = [
        {"network": f"n{i}", "block": f"b{j}", "cos_exit": mean, "cos_exit_std": 0.1, "gradients": 100}
        for i, value in enumerate(values) for j, mean in enumerate((-0.3, -0.3, -0.3 + value, -0.3 + value))
    ]  # fmt: skip
    each = {"arch": "resnet56", "data_fingerprint": "same"} | settings
    networks = {f"n{i}": {"checkpoint_sha256": str(i) * 64} | each for i in range(len(values))}
    return run(table("iterative", rows, networks=networks))


def judged(made):
    return list(over_trainings(made, list(higher_blocks(made))))


@pytest.mark.parametrize(
    ("values", "verdict"),
    [
        ((-0.1, -0.12, -0.11), "holds"),
        ((0.1, 0.12, 0.11), "does not hold"),
        ((-0.3, -0.05, 0.02), "cannot say"),
        ((-0.1, -0.2), "cannot say"),  # 12.7 standard errors
    ],
)
def test_the_training_is_the_unit(values, verdict):
    (found,) = judged(cosines(values))
    expected = over_seeds(values)
    assert (found.claim, found.verdict, found.network) == (17, verdict, f"resnet56, {len(values)} trainings")
    assert (found.measured_value, found.low, found.high) == pytest.approx((expected.mean, expected.low, expected.high))


@pytest.mark.parametrize("settings", [{"edits": ["x"]}, {"checkpoint_sha256": "a" * 64}, {"checkpoint_sha256": None}])
def test_what_are_no_trainings_of_one_network(settings):
    assert judged(cosines((-0.1, -0.12, -0.11), **settings)) == []


def test_other_images_are_no_seeds():
    made = cosines((-0.1, -0.12))
    made.tables[0].result.settings["networks"]["n1"]["data_fingerprint"] = "other"
    assert judged(made) == []


def test_a_reason_to_withhold_holds_for_all():
    found = [Verdict(17, "n0", "cannot say", "why", measured_value=-0.1, table="run/iterative.csv", reason="at chance")]
    found += [Verdict(17, "n1", "holds", "why", measured_value=-0.1, table="run/iterative.csv")]
    (over,) = over_trainings(cosines((-0.1, -0.1)), found)
    assert over.verdict == "cannot say"
    assert over.why.startswith("at chance; here ")


def test_verdicts_over_trainings_are_in_the_table():
    rows = judge(cosines((-0.1, -0.12, -0.11))).rows
    assert [row["network"] for row in rows if row["claim"] == 17] == ["n0", "n1", "n2", "resnet56, 3 trainings"]
    assert {row["claim"] for row in rows if "trainings" in row["network"]} == {14, 17}


def test_a_world_on_the_bar_is_rarely_judged():
    """True mean 0, the bar itself: each of the two answers is wrong, and rare."""
    generator, made = np.random.default_rng(0), cosines((0, 0, 0))
    answers = []
    for values in generator.normal(0, 0.05, size=(1000, 3)):
        each = [Verdict(17, f"n{i}", "cannot say", "", measured_value=v, table="run/iterative.csv")
                for i, v in enumerate(values)]  # fmt: skip
        answers += [found.verdict for found in over_trainings(made, each)]
    assert len(answers) == 1000
    assert answers.count("holds") + answers.count("does not hold") < 70  # 5 % of 1,000, and three standard errors
