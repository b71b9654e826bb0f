"""What facts of several tables have in common."""

import pytest

from resnet_probe.analyses.facts import paired_words
from resnet_probe.analyses.importance.facts import pairs
from resnet_probe.analyses.iterative.facts import blocks
from resnet_probe.analyses.lesion.facts import single
from resnet_probe.statistics import paired_difference
from resnet_probe.tables import Result


@pytest.mark.parametrize(("newly_wrong", "stricter"), [(5, True), (3, False), (12, False)])
def test_an_interval_and_a_test_that_disagree_are_explained(newly_wrong, stricter):
    _, *interval = paired_difference(newly_wrong, 0, 50)
    p = 2 * 0.5**newly_wrong
    row = {"increase": 2 * newly_wrong, "increase_low": interval[0], "increase_high": interval[1], "p": p,
           "newly_wrong": newly_wrong, "newly_right": 0, "against": "a"}  # fmt: skip
    assert ((interval[0] > 0) and p >= 0.05) is stricter
    assert ("the exact test is the stricter" in paired_words(row)) is stricter


def test_units_that_err_alike_are_not_told_apart():
    def table(*errors):
        rows = [
            {"network": "n", "block": name, "error": error, "wrong": error, "images": 100, "resizes": False}
            for name, error in zip(("(intact)", "a", "b", "c"), errors, strict=True)
        ]
        return {fact.label: fact.text for fact in single(Result("lesion", tuple(rows[0]), tuple(rows), {}), "n")}

    assert table(5, 9, 9, 7)["worst lesion"] == "9 % (a, and 1 more)"
    assert table(5, 9, 9, 7)["mildest lesion"] == "7 % (c)"
    assert table(5, 9, 9, 9)["worst lesion"] == table(5, 9, 9, 9)["mildest lesion"] == "9 % (every unit alike)"


def test_blocks_without_a_value_are_not_counted_and_one_exit_is_told_once():
    usual = {"network": "n", "ratio": 1.0, "cos_gradient_out": -0.1, "lesion_error": None}
    rows = [
        {**usual, "block": "a", "cos_gradient": None, "exit_accuracy": None},
        {**usual, "block": "b", "cos_gradient": 0.2, "exit_accuracy": 90.0},
    ]
    told = {fact.label: fact.text for fact in blocks(Result("iterative", tuple(rows[0]), tuple(rows), {}), "n")}
    assert told["gradient at the input"].startswith("cos(F, dL/dh) is below 0 in 0 of 1 blocks that keep the shape")
    assert told["gradient at the output"].startswith("cos(F, dL/dh) is below 0 in 2 of 2 blocks, mean")
    assert told["early exits"] == "90 % right when read after b"


@pytest.mark.parametrize(("least", "most"), [(-1, 2), (1, 2), (-2, -1), (0, 0)])
def test_pairs_are_said_to_need_or_to_replace_each_other_by_the_sign(least, most):
    rows = [
        {"network": "n", "block_a": "a", "block_b": b, "measure": "loss", "interaction": value, "interaction_low": None,
         "interaction_high": None} for b, value in (("b", least), ("c", most))
    ]  # fmt: skip
    told = {fact.label: fact.value for fact in pairs(Result("importance_pairs", tuple(rows[0]), tuple(rows), {}), "n")}
    expected = {"worth more together": most} if most > 0 else {}
    assert told == expected | ({"replace each other most": least} if least < 0 else {})
