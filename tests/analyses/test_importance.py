"""Values of blocks against a plain loop over edited copies of the model, and laws that they keep."""

from itertools import permutations
from math import factorial

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from scipy.stats import t

from resnet_probe.analyses import importance
from resnet_probe.analyses.importance import Parameters, table
from resnet_probe.analyses.registry import facts_of
from resnet_probe.analyses.runtime import Runtime
from resnet_probe.analyses.subject import Subject
from tests.evaluate.cases import images, loop, network, without

NAMES = ["layer1.0", "layer1.1", "layer2.1", "layer3.1"]


def measured(net, data, runtime=None, **how):
    return {made.name: made for made in importance.run(Subject("tiny", net, data), Parameters(**how), runtime)}


@pytest.fixture(scope="module")
def case():
    model, net = network("resnet14-w4", seed=4)
    return model, net, images(40)


@pytest.fixture(scope="module")
def tables(case):
    _, net, data = case
    return measured(net, data)


@pytest.fixture(scope="module")
def worth(case):
    """Per set of deleted blocks the values of each image by both measures, from a loop."""
    model, _, data = case
    groups = [tuple(name for i, name in enumerate(NAMES) if gone >> i & 1) for gone in range(16)]
    outputs = loop({group: without(model, *group) for group in groups}, data)
    return {
        frozenset(group): {
            "loss": -F.cross_entropy(out, data.labels, reduction="none").numpy(),
            "accuracy": 100.0 * (out.argmax(1) == data.labels).numpy(),
        }
        for group, out in outputs.items()
    }


def by_permutations(worth, measure):
    """Per block (images,): what it adds as the blocks come in any order."""
    total = dict.fromkeys(NAMES, 0)
    for order in permutations(NAMES):
        for place, name in enumerate(order):
            before, after = frozenset(order[place:]), frozenset(order[place + 1 :])  # what is still deleted
            total[name] = total[name] + worth[after][measure] - worth[before][measure]
    return {name: value / factorial(len(NAMES)) for name, value in total.items()}


def test_exact_values_are_those_of_brute_force(tables, worth):
    rows = tables["importance"].rows
    assert [(row["measure"], row["block"]) for row in rows] == [(m, b) for m in ("loss", "accuracy") for b in NAMES]
    for row in rows:
        each = by_permutations(worth, row["measure"])[row["block"]]
        margin = t.ppf(0.975, 39) * each.std(ddof=1) / 40**0.5
        low, high = each.mean() - margin, each.mean() + margin
        assert row["shapley"] == pytest.approx(each.mean(), abs=1e-5)
        assert (row["shapley_low"], row["shapley_high"]) == pytest.approx((low, high), abs=1e-5)
        assert (row["images_low"], row["images_high"]) == pytest.approx((low, high), abs=1e-5)
        lesion = worth[frozenset()][row["measure"]] - worth[frozenset([row["block"]])][row["measure"]]
        assert row["lesion"] == pytest.approx(lesion.mean(), abs=1e-5)
        assert (row["exact"], row["samples"], row["draws_low"], row["images"]) == (True, 16, None, 40)
    assert [row["index"] for row in rows[:4]] == [0, 1, 3, 5]
    assert len({round(row["shapley"], 6) for row in rows}) > 6


def test_values_add_up_to_what_all_blocks_are_worth(tables, worth):
    for measure in ("loss", "accuracy"):
        total = sum(row["shapley"] for row in tables["importance"].rows if row["measure"] == measure)
        expected = worth[frozenset()][measure].mean() - worth[frozenset(NAMES)][measure].mean()
        assert total == pytest.approx(expected, abs=1e-5)


def test_columns_are_those_of_the_contract(tables):
    contract = "network, block, index, measure, shapley, shapley_low, shapley_high, banzhaf, exact, samples"
    assert tables["importance"].columns[:10] == tuple(contract.split(", "))


def test_every_subset_has_its_row(case, tables):
    model, _, data = case
    rows = tables["importance_subsets"].rows
    assert len({row["blocks"] for row in rows}) == 16
    assert (rows[0]["kept"], rows[0]["blocks"], rows[-1]["kept"], rows[-1]["blocks"]) == (4, " ".join(NAMES), 0, None)
    (row,) = (row for row in rows if row["blocks"] == "layer1.1 layer3.1")
    out = loop({"": without(model, "layer1.0", "layer2.1")}, data)[""]
    assert (row["kept"], row["images"]) == (2, 40)
    assert row["wrong"] == (out.argmax(1) != data.labels).sum()
    assert row["loss"] == pytest.approx(F.cross_entropy(out, data.labels).item(), abs=1e-5)


def test_interactions_of_pairs_add_up_to_the_change_of_lesions(tables, worth):
    """The Banzhaf interaction is the mean over sets of others of how a block's worth depends on another."""
    found = {(row["block_a"], row["block_b"], row["measure"]): row for row in tables["importance_pairs"].rows}
    assert len(found) == 12
    a, b, *others = NAMES
    each = []
    for gone in ((), (others[0],), (others[1],), tuple(others)):
        v = [worth[frozenset(gone) | more]["loss"].mean() for more in (set(), {a}, {b}, {a, b})]
        each.append(v[0] - v[1] - v[2] + v[3])
    assert found[a, b, "loss"]["banzhaf"] == pytest.approx(np.mean(each), abs=1e-5)
    expected = (each[0] + each[3]) / 3 + (each[1] + each[2]) / 6
    assert found[a, b, "loss"]["interaction"] == pytest.approx(expected, abs=1e-5)


def test_the_saving_is_that_of_the_prefixes(case, tables):
    """Of the sets over blocks that keep the shape, a block is run once for each set of those before it."""
    about = tables["importance"].settings
    keeping = [True, True, False, True, False, True]
    runs = [2 ** sum(keeping[:i]) for i in range(6)]
    assert about["block_runs"] == sum(runs)
    assert about["block_runs_of_a_loop"] == 16 * 2 + 8 * 4
    facts = {fact.label: fact for fact in facts_of(tables["importance"])["tiny"]}
    assert facts["saving"].value == pytest.approx(64 / sum(runs))


def test_a_block_whose_branch_is_zero_is_worth_nothing():
    model, net = network("resnet14-w4", seed=3)
    with torch.no_grad():
        branch = model.get_submodule("layer2.1.bn2")
        branch.weight.zero_()
        branch.bias.zero_()
    found = measured(net, images(20))
    rows = [row for row in found["importance"].rows if row["block"] == "layer2.1"]
    assert [row[key] for row in rows for key in ("shapley", "banzhaf", "lesion")] == pytest.approx([0] * 6, abs=1e-6)
    assert any(abs(row["shapley"]) > 1e-3 for row in found["importance"].rows)


def test_resizing_blocks_take_part_on_demand(case):
    _, net, data = case
    found = measured(net, data, resizing=True)
    assert len(found["importance_subsets"].rows) == 64
    assert [row["resizes"] for row in found["importance"].rows[:6]] == [False, False, True, False, True, False]


def test_sampled_values_agree_with_the_exact_ones(case, monkeypatch):
    _, net, data = case
    exact = measured(net, data, resizing=True)["importance"].rows
    monkeypatch.setattr(table, "MOST_EXACT", 3)
    found = measured(net, data, resizing=True, draws=40)
    assert list(found) == ["importance"]
    held = 0
    for row, true in zip(found["importance"].rows, exact, strict=True):
        assert (row["exact"], row["samples"]) == (False, 80)
        held += row["draws_low"] <= true["shapley"] <= row["draws_high"]
        assert row["lesion"] == true["lesion"]
        assert row["shapley_high"] - row["shapley_low"] > 0.9 * (row["draws_high"] - row["draws_low"])
    assert held >= 9  # of 12 at 95 %
    for measure in ("loss", "accuracy"):
        sums = [sum(row["shapley"] for row in rows if row["measure"] == measure)
                for rows in (exact, found["importance"].rows)]  # fmt: skip
        assert sums[0] == pytest.approx(sums[1])  # every order adds up


def test_an_interrupted_run_goes_on_where_it_stopped(case, tables, tmp_path):
    _, net, data = case
    first = measured(net, data, Runtime(folder=tmp_path))
    assert (tmp_path / "importance.journal").is_file()
    again = measured(net, data, Runtime(folder=tmp_path))
    assert [again[name].rows for name in again] == [first[name].rows for name in first]
    with pytest.raises(ValueError, match="another players"):
        measured(net, data, Runtime(folder=tmp_path), resizing=True)


def test_it_takes_two_blocks():
    _, net = network("resnet8-w4")
    with pytest.raises(ValueError, match="1 residual blocks to take part, and it takes two"):
        measured(net, images(4))
