"""Values of blocks against a plain loop over edited copies of the model, and laws that they keep."""

from itertools import combinations, permutations
from math import factorial

import pytest
import torch
import torch.nn.functional as F
from scipy.stats import t

from resnet_probe.analyses import importance
from resnet_probe.analyses.importance import Parameters, table
from resnet_probe.analyses.registry import facts_of
from resnet_probe.analyses.runtime import Runtime
from resnet_probe.analyses.subject import Subject
from resnet_probe.unraveled import unravel
from tests.evaluate.cases import images, loop, network, without
from tests.networks import SHAPE, make

NAMES = [f"layer{stage}.{block}" for stage in (1, 2, 3) for block in (0, 1)]


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
    groups = [tuple(name for i, name in enumerate(NAMES) if gone >> i & 1) for gone in range(64)]
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
        assert (row["exact"], row["samples"], row["draws_low"], row["images"]) == (True, 64, None, 40)
    assert [row["index"] for row in rows[:6]] == [0, 1, 2, 3, 4, 5]
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
    assert len({row["blocks"] for row in rows}) == 64
    assert (rows[0]["kept"], rows[0]["blocks"], rows[-1]["kept"], rows[-1]["blocks"]) == (6, " ".join(NAMES), 0, None)
    (row,) = (row for row in rows if row["blocks"] == "layer1.1 layer3.1")
    out = loop({"": without(model, "layer1.0", "layer2.0", "layer2.1", "layer3.0")}, data)[""]
    assert (row["kept"], row["images"]) == (2, 40)
    assert row["wrong"] == (out.argmax(1) != data.labels).sum()
    assert row["loss"] == pytest.approx(F.cross_entropy(out, data.labels).item(), abs=1e-5)


def test_interactions_of_pairs_add_up_to_the_change_of_lesions(tables, worth):
    """The Banzhaf interaction is the mean over sets of others of how a block's worth depends on another."""
    found = {(row["block_a"], row["block_b"], row["measure"]): row for row in tables["importance_pairs"].rows}
    assert len(found) == 30
    a, b, *others = NAMES
    banzhaf = shapley = 0.0
    for size in range(5):
        for gone in combinations(others, size):
            v = [worth[frozenset(gone) | more]["loss"].mean() for more in (set(), {a}, {b}, {a, b})]
            there = v[0] - v[1] - v[2] + v[3]
            banzhaf += there / 16
            shapley += there * factorial(size) * factorial(4 - size) / factorial(5)
    assert found[a, b, "loss"]["banzhaf"] == pytest.approx(banzhaf, abs=1e-5)
    assert found[a, b, "loss"]["interaction"] == pytest.approx(shapley, abs=1e-5)


def test_the_saving_is_that_of_the_prefixes(case, tables):
    """A block is run once for each set of those before it."""
    about = tables["importance"].settings
    assert about["block_runs"] == sum(2**i for i in range(6))
    assert about["block_runs_of_a_loop"] == 64 * 6 / 2
    facts = {fact.label: fact for fact in facts_of(tables["importance"])["tiny"]}
    assert facts["saving"].value == pytest.approx(192 / 63)


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


def test_sampled_values_agree_with_the_exact_ones(case, monkeypatch):
    _, net, data = case
    exact = measured(net, data)["importance"].rows
    monkeypatch.setattr(table, "MOST_EXACT", 3)
    found = measured(net, data, draws=40)
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
    with pytest.raises(ValueError, match="another list of variants"):
        measured(net.delete(NAMES[0]), data, Runtime(folder=tmp_path))


def test_it_takes_two_blocks():
    net = unravel(make("three terms"), SHAPE)
    with pytest.raises(ValueError, match="residual blocks of tiny: 1; importance takes two or more"):
        measured(net, images(4))
