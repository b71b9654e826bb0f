from dataclasses import replace
from itertools import combinations

import numpy as np
import pytest
import torch.nn.functional as F
from matplotlib.collections import QuadMesh
from scipy.stats import false_discovery_control, norm, ttest_1samp

from resnet_probe.analyses import lesion
from resnet_probe.analyses.lesion import pairs
from resnet_probe.analyses.lesion.facts import pairs as facts_of
from resnet_probe.analyses.subject import Subject
from resnet_probe.tables import read
from tests.evaluate.cases import compared, images, loop, network, without


def measured(net, data, name):
    (result,) = lesion.run(Subject(name, net, data), lesion.Parameters(pairs=True))
    return result


@pytest.fixture(scope="module")
def case():
    return *network("resnet14-w4"), images(40)


@pytest.fixture(scope="module")
def table(case):
    _, net, data = case
    return measured(net, data, "tiny")


def test_interactions_are_those_of_brute_force(case, table):
    model, net, data = case
    names = [unit.name for unit in net.blocks]
    groups = [(), *((name,) for name in names), *combinations(names, 2)]
    outputs = loop({group: without(model, *group) for group in groups}, data)
    wrong = {group: (out.argmax(1) != data.labels).numpy() for group, out in outputs.items()}
    error = {group: 100 * flags.mean() for group, flags in wrong.items()}
    assert [(row["block_a"], row["block_b"]) for row in table.rows] == list(combinations(names, 2))
    for row in table.rows:
        a, b = row["block_a"], row["block_b"]
        assert (row["network"], row["images"], row["wrong"]) == ("tiny", 40, wrong[a, b].sum())
        assert row["error"] == pytest.approx(error[a, b])
        expected = compared(data.labels, outputs[()].argmax(1), outputs[a, b].argmax(1))
        assert {key: row[key] for key in expected} == expected
        assert row["interaction"] == pytest.approx(error[a, b] - error[(a,)] - error[(b,)] + error[()], abs=1e-9)
        flags = [wrong[group].astype(float) for group in ((a, b), (a,), (b,), ())]
        values = 100 * (flags[0] - flags[1] - flags[2] + flags[3])
        margin = 1.96 * np.sqrt(((values - values.mean()) ** 2).sum() / 39 / 40)
        assert row["interaction_high"] - row["interaction"] == pytest.approx(margin)
        assert row["interaction"] - row["interaction_low"] == pytest.approx(margin)
        test = ttest_1samp(values, 0).statistic if values.any() else 0.0
        assert row["p"] == pytest.approx(2 * norm.sf(abs(test)), rel=1e-6)
        assert row["additive"] == pytest.approx(error[(a,)] + error[(b,)] - error[()])
        assert row["past_chance"] == (row["additive"] > 75)
        losses = [F.cross_entropy(outputs[group], data.labels).item() for group in ((a, b), (a,), (b,), ())]
        assert row["interaction_loss"] == pytest.approx(losses[0] - losses[1] - losses[2] + losses[3], abs=1e-5)
    adjusted = false_discovery_control([row["p"] for row in table.rows])
    assert [row["q"] for row in table.rows] == pytest.approx(list(adjusted))
    assert len({row["past_chance"] for row in table.rows}) == 2
    assert len({row["interaction"] for row in table.rows}) > 3
    assert table.settings["intact_error"] == pytest.approx(error[()])
    assert table.settings["single_errors"] == pytest.approx({name: error[(name,)] for name in names})


def test_columns_are_those_of_the_contract(table):
    contract = "network, block_a, block_b, images, wrong, error, loss, interaction"
    assert table.columns[:8] == tuple(contract.split(", "))


def test_the_saving_is_reported(case, table):
    _, net, _ = case
    names = [unit.name for unit in net.blocks]
    groups = [(), *((name,) for name in names), *combinations(names, 2)]
    executed = [[s for s in net.delete(*group).steps if not net.is_identity(s)] for group in groups]
    assert table.settings["steps_of_a_loop"] == sum(map(len, executed))
    prefixes = {tuple(steps[: i + 1]) for steps in executed for i in range(len(steps))}
    assert table.settings["steps_run"] == len(prefixes)
    assert len(prefixes) < 0.6 * table.settings["steps_of_a_loop"]


def test_a_block_without_effect_interacts_with_none(case):
    from copy import deepcopy

    import torch

    from resnet_probe.unraveled import unravel
    from tests.evaluate.cases import SHAPE

    model, net, data = case
    idle = [unit.name for unit in net.blocks if unit.has_identity_shortcut][1]
    changed = deepcopy(model)
    with torch.no_grad():
        changed.get_submodule(idle).bn2.weight.zero_()
        changed.get_submodule(idle).bn2.bias.zero_()
    table = measured(unravel(changed, SHAPE), data, "idle")
    mine = [row["interaction"] for row in table.rows if idle in (row["block_a"], row["block_b"])]
    assert mine == [0.0] * (len(net.blocks) - 1)
    assert any(row["interaction"] for row in table.rows)


def test_one_block_is_too_few(case):
    from torch import nn

    from resnet_probe.unraveled import unravel

    _, _, data = case
    model = nn.Sequential(nn.Conv2d(3, 3, 3, padding=1), nn.Flatten(), nn.Linear(192, 4)).eval()
    with pytest.raises(ValueError, match="one has 1 units that can be deleted; pairs need two"):
        measured(unravel(model, (3, 8, 8)), data, "one")


def test_the_figure_can_be_drawn_from_the_table_alone(table, tmp_path):
    table.save(tmp_path)
    figure = pairs.plot(read(tmp_path, "lesion_pairs"))
    (mesh,) = (drawn for drawn in figure.axes[0].collections if isinstance(drawn, QuadMesh))
    shown = mesh.get_array().reshape(5, 5)  # without an empty row and column
    assert np.ma.masked_invalid(shown).count() == len(table.rows)
    row = table.rows[7]
    names = [table.rows[0]["block_a"], *(r["block_b"] for r in table.rows[:5])]
    assert shown[names.index(row["block_b"]) - 1, names.index(row["block_a"])] == row["interaction"]


def test_pairs_told_from_zero_are_marked_and_the_marks_explained(table):
    rows = [row | {"q": 0.5, "past_chance": False} for row in table.rows]
    rows[7] |= {"q": 0.0}
    rows[8] |= {"q": 0.04, "past_chance": True}
    names = [table.rows[0]["block_a"], *(r["block_b"] for r in table.rows[:5])]
    figure = pairs.plot(replace(table, rows=tuple(rows)))
    dots, crosses = figure.axes[0].lines
    for marks, row in ((dots, rows[7]), (crosses, rows[8])):
        place = [names.index(row["block_a"]) + 0.5, names.index(row["block_b"]) - 0.5]
        assert marks.get_xydata().tolist() == [place]
    words = [text.get_text() for text in figure.legends[0].get_texts()]
    assert words[0] == "differs from 0 (q at most 0.05)"


def test_the_surest_interactions_count(table):
    """Beyond 38 standard errors p and q are 0, which is not the same as unknown."""
    rows = [row | {"q": 0.0, "interaction": 50.0 if i else -50.0} for i, row in enumerate(table.rows)]
    changed = replace(table, rows=tuple(rows))
    sure = {fact.label: fact for fact in facts_of(changed, "tiny")}
    assert (sure["pairs above zero"].value, sure["pairs below zero"].value) == (len(rows) - 1, 1)


def test_one_image_has_no_test(case):
    _, net, _ = case
    rows = measured(net, images(1), "one").rows
    assert {(row["p"], row["q"]) for row in rows} == {(None, None)}


def test_facts_are_the_extremes_and_the_saving(table):
    facts = {fact.label: fact for fact in facts_of(table, "tiny")}
    values = sorted(row["interaction"] for row in table.rows)
    assert (facts["most negative interaction"].value, facts["most positive interaction"].value) == (
        values[0],
        values[-1],
    )
    found = [row for row in table.rows if row["q"] <= 0.05]
    assert facts["pairs above zero"].value == sum(row["interaction"] > 0 for row in found)
    assert facts["pairs below zero"].value == sum(row["interaction"] < 0 for row in found)
    assert facts["saving"].value == table.settings["steps_of_a_loop"] / table.settings["steps_run"]
