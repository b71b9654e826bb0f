import copy

import pytest
import torch
import torch.nn.functional as F

from resnet_probe.analyses import lesion
from resnet_probe.analyses.registry import facts_of
from resnet_probe.analyses.subject import Subject
from tests.analyses.running import tables
from tests.evaluate.cases import images, loop, network, without

NAMES = [f"layer{stage}.{block}" for stage in (1, 2, 3) for block in (0, 1)]


@pytest.fixture(scope="module")
def case():
    return *network("resnet14-w4"), images(40)


@pytest.fixture(scope="module")
def table(case):
    _, net, data = case
    (result,) = lesion.run(Subject("tiny", net, data), lesion.Parameters(scales=True))
    return result


def at(table, block, alpha):
    (row,) = (row for row in table.rows if (row["block"], row["alpha"]) == (block, alpha))
    return row


def test_the_ends_are_the_lesion_and_the_intact_network(case, table):
    model, net, data = case
    found = tables("lesion", net, data, name="tiny")["lesion"].rows
    for row in found[1:]:
        for key in ("wrong", "loss", "changed", "p"):
            assert at(table, row["block"], 0)[key] == row[key]
        for key in ("wrong", "loss", "changed"):
            assert at(table, row["block"], 1)[key] == found[0][key]
    out = loop({"": without(model, "layer2.1")}, data)[""]
    assert at(table, "layer2.1", 0)["loss"] == pytest.approx(F.cross_entropy(out, data.labels).item(), abs=1e-5)


def test_a_factor_scales_the_branch(case, table):
    """The last norm of a branch is linear: its weight and bias times a factor are the branch times the factor."""
    model, _, data = case
    for alpha in (0.25, 1.5):
        edited = copy.deepcopy(model)
        with torch.no_grad():
            for values in edited.get_submodule("layer2.0.bn2").parameters():
                values.mul_(alpha)
        out = loop({"": edited}, data)[""]
        assert at(table, "layer2.0", alpha)["loss"] == pytest.approx(F.cross_entropy(out, data.labels).item(), abs=1e-5)


def test_the_slope_is_minus_the_first_order_damage(case, table):
    _, net, data = case
    predicted = {
        row["block"]: row["first_order"] for row in tables("iterative", net, data, name="tiny")["iterative"].rows
    }
    assert list(predicted) == NAMES
    for block, damage in predicted.items():
        assert at(table, block, 1)["slope"] == pytest.approx(-damage, rel=0.01, abs=2e-4)
    assert max(map(abs, predicted.values())) > 0.02
    assert all(row["slope"] is None for row in table.rows if row["alpha"] != 1)


def test_facts_name_the_steepest_block(table):
    facts = {fact.label: fact for fact in facts_of(table)["tiny"]}
    slopes = [row["slope"] for row in table.rows if row["alpha"] == 1]
    assert facts["steepest block"].value == min(slopes)
    assert facts["flattest block"].value == max(slopes)


def test_one_kind_of_lesion_at_a_time(case):
    with pytest.raises(ValueError, match="--pairs and --scales given"):
        lesion.Parameters(pairs=True, scales=True)
    with pytest.raises(ValueError, match="not with --scales"):
        lesion.Parameters(scales=True, recalibrate=True)
    _, net = network("vgg11-w4")
    with pytest.raises(ValueError, match="no branch to scale"):
        lesion.run(Subject("plain", net, images(4)), lesion.Parameters(scales=True))
