import importlib

import numpy as np
import pytest
import torch
from matplotlib.collections import QuadMesh
from scipy.stats import binomtest, false_discovery_control

from resnet_probe.analyses import lesion
from resnet_probe.analyses.lesion import groups
from resnet_probe.analyses.lesion.facts import groups as facts_of
from resnet_probe.analyses.subject import Subject
from resnet_probe.data import Data, with_classes
from tests.evaluate.cases import compared, images, loop, network, without


@pytest.fixture(scope="module")
def case():
    return *network("resnet14-w4"), images(160)


@pytest.fixture(scope="module")
def tables(case):
    _, net, data = case
    return lesion.run(Subject("tiny", net, data), lesion.Parameters(by="class"))


def test_cells_are_those_of_a_loop_over_blocks_and_classes(case, tables):
    model, net, data = case
    names = [unit.name for unit in net.blocks]
    models = {lesion.INTACT: model} | {name: without(model, name) for name in names}
    answers = {name: out.argmax(1) for name, out in loop(models, data).items()}
    rows = iter(tables[1].rows)
    p_values, q_values = [], []
    for block, answer in answers.items():
        for number, group in enumerate(data.classes):
            row, here = next(rows), data.labels == number
            assert (row["network"], row["block"], row["group"]) == ("tiny", block, group)
            assert row["index"] == (None if block == lesion.INTACT else names.index(block))
            wrong = int((answer[here] != number).sum())
            assert (row["images"], row["wrong"]) == (int(here.sum()), wrong)
            assert row["error"] == pytest.approx(100 * wrong / int(here.sum()))
            if block == lesion.INTACT:
                assert row["difference"] is row["p"] is row["q"] is None
                continue
            expected = compared(data.labels[here], answers[lesion.INTACT][here], answer[here])
            assert {key: row[key] for key in expected} == expected
            changed = row["newly_wrong"] + row["newly_right"]
            assert row["p"] == pytest.approx(binomtest(row["newly_wrong"], changed).pvalue if changed else 1)
            p_values.append(row["p"])
            q_values.append(row["q"])
    assert next(rows, None) is None
    assert q_values == pytest.approx(list(false_discovery_control(p_values)))
    assert min(q_values) < 0.05
    assert len(set(q_values)) == 3


def test_classes_add_up_to_the_table_of_deletions_which_stays(case, tables):
    _, net, data = case
    single, by = tables
    assert (single.rows, single.columns) == ((alone := lesion.run(Subject("tiny", net, data))[0]).rows, alone.columns)
    for row in single.rows:
        mine = [each for each in by.rows if each["block"] == row["block"]]
        for column in ("images", "wrong", "newly_wrong", "newly_right"):
            if row[column] is not None:
                assert sum(each[column] for each in mine) == row[column]


def test_only_classes_with_images_take_part(case):
    _, net, data = case
    some = data.subset(torch.isin(data.labels, torch.tensor([1, 3])).nonzero()[:, 0])
    some = Data("some", "test", some.images, some.labels // 2, ("d", "b"), some.normalization)
    some = with_classes(some, "abcd", 4)
    _, by = lesion.run(Subject("tiny", net, some), lesion.Parameters(by="class"))
    assert [row["group"] for row in by.rows[:3]] == ["b", "d", "b"]


def test_what_does_not_go_together_is_one_line(case):
    _, net, data = case
    for other in ({"pairs": True}, {"scales": True}, {"multi": range(1, 2)}, {"until": 0.5}):
        with pytest.raises(ValueError, match="leave out") as caught:
            lesion.Parameters(by="class", **other)
        assert "\n" not in str(caught.value)
    numbers = Data("numbers", "test", data.images, torch.rand(160), (), "none")
    with pytest.raises(ValueError, match="images of numbers have no class each"):
        lesion.check(Subject("tiny", net, numbers), lesion.Parameters(by="class"))


# Chance


BLOCKS, CLASSES, IMAGES = 6, 5, 40  # a cell has 40 images


@pytest.fixture
def without_intervals(monkeypatch):
    """Which take long, and say nothing of what is told from zero."""
    monkeypatch.setattr(
        importlib.import_module("resnet_probe.statistics.paired"), "paired_difference", lambda *_: (0.0,) * 3
    )


def drawn(generator, true):
    """Wrong flags of an intact network and of deletions that err alike, but for the cells that are `true`."""
    labels = np.repeat(np.arange(CLASSES), IMAGES)
    hard = generator.random(len(labels)) < 0.5  # of these a network gets half wrong, each anew
    flags = {lesion.INTACT: hard & (generator.random(len(labels)) < 0.5)}
    for block in range(BLOCKS):
        rate = np.where(hard, 0.5, 0.0)
        rate[true[block][labels]] = 0.7
        flags[f"block{block}"] = generator.random(len(labels)) < rate
    return flags, labels


def discoveries(generator, true):
    """Which of the cells are told from zero, `(blocks, classes)`."""
    flags, labels = drawn(generator, true)
    rows = groups.by_class("net", flags, labels, "abcde").rows[CLASSES:]
    return np.array([row["q"] <= 0.05 for row in rows]).reshape(BLOCKS, CLASSES)


@pytest.mark.usefixtures("without_intervals")
def test_where_no_block_matters_hardly_ever_a_cell_is_told_from_zero():
    """Of 300 simulated tables at most 5 %, and some for the two standard errors; by bare p most have one."""
    generator = np.random.default_rng(0)
    none = np.zeros((BLOCKS, CLASSES), bool)
    any_found = sum(discoveries(generator, none).any() for _ in range(300))
    assert any_found <= 300 * 0.05 + 2 * np.sqrt(300 * 0.05 * 0.95)
    bare = 0
    for _ in range(60):
        rows = groups.by_class("net", *drawn(generator, none), "abcde").rows[CLASSES:]
        bare += min(row["p"] for row in rows) <= 0.05
    assert bare > 20


@pytest.mark.usefixtures("without_intervals")
def test_where_some_blocks_matter_few_of_the_cells_that_are_told_are_false():
    generator = np.random.default_rng(1)
    true = generator.random((BLOCKS, CLASSES)) < 0.3
    shares, found = [], 0
    for _ in range(100):
        told = discoveries(generator, true)
        shares.append((told & ~true).sum() / max(told.sum(), 1))
        found += (told & true).sum()
    assert np.mean(shares) <= 0.05
    assert found > 0.8 * 100 * true.sum()


# What is said of it


def test_facts_count_the_cells(tables):
    rows = [dict(row) for row in tables[1].rows]
    for number, row in enumerate(rows[4:]):
        row["q"] = 0.01 if number in (2, 5, 6) else 0.3
        row["difference"] = {2: 12.5, 5: -3.0, 6: 4.0}.get(number, 0.5)
    facts = {fact.label: fact for fact in facts_of(lesion.BY.result(rows), "tiny")}
    assert (facts["cells above zero"].value, facts["cells below zero"].value) == (2, 1)
    assert facts["largest loss of a class"].value == 12.5
    assert f"{rows[6]['group']} without {rows[6]['block']}: +12.5 points" in facts["largest loss of a class"].text
    assert facts["classes that need a block"].value == 1
    sizes = [row["images"] for row in rows[:4]]
    assert f"of 4, with {min(sizes)} to {max(sizes)} images each" in facts["classes that need a block"].text


def test_the_heat_map_shows_what_is_told_from_zero(tables):
    (mesh,) = (each for each in groups.plot(tables[1]).axes[0].collections if isinstance(each, QuadMesh))
    shown = np.ma.ravel(mesh.get_array())
    cells = tables[1].rows[4:]
    assert shown.mask.tolist() == [row["q"] > 0.05 for row in cells]
    assert shown.compressed().tolist() == [row["difference"] for row in cells if row["q"] <= 0.05] != []
