import copy
from itertools import combinations
from math import comb

import numpy as np
import pytest
from scipy.stats import spearmanr

from resnet_probe.analyses import lesion
from resnet_probe.analyses.lesion import several as multi
from resnet_probe.analyses.lesion.facts import several
from resnet_probe.analyses.runtime import Runtime
from resnet_probe.analyses.subject import Subject
from resnet_probe.evaluate import Score, recalibrate
from resnet_probe.tables import read
from resnet_probe.tasks import CLASSIFICATION
from tests.evaluate.cases import compared, images, loop, without


def measured(net, data, *, train=None, **parameters):
    subject = Subject("tiny", net, data, images=lambda **which: train)
    return lesion.run(subject, lesion.Parameters(**parameters), Runtime(seed=3))


NAMES = [f"b{i}" for i in range(8)]


def test_draws_are_distinct_sorted_and_of_the_right_size():
    sets = multi.draw_lesions(NAMES, [3, 5], 20, seed=0)
    assert [number for number, _ in sets] == [3] * 20 + [5] * 20
    for number in (3, 5):
        mine = [chosen for n, chosen in sets if n == number]
        assert len(set(mine)) == 20
        assert all(len(set(chosen)) == number and list(chosen) == sorted(chosen) for chosen in mine)
        assert set().union(*mine) == set(NAMES)


@pytest.mark.parametrize("number", [1, 2, 7, 8])
def test_where_there_are_few_sets_all_are_taken(number):
    sets = multi.draw_lesions(NAMES, [number], comb(8, number), seed=4)
    assert [chosen for _, chosen in sets] == list(combinations(NAMES, number))


def test_the_seed_decides():
    one, again, other = (multi.draw_lesions(NAMES, [4], 10, seed=seed) for seed in (1, 1, 2))
    assert one == again != other


def test_draws_are_about_uniform():
    sets = multi.draw_lesions(NAMES, [4], 60, seed=0)  # of 70
    counts = [sum(name in chosen for _, chosen in sets) for name in NAMES]
    assert min(counts) >= 24
    assert max(counts) <= 36


@pytest.mark.parametrize(
    ("deleted", "draws", "message"),
    [([0], 5, "cannot delete 0 of 8"), ([9], 5, "from 1 to 8.*--resizing"), ([1], 0, "0 draws")],
)
def test_impossible_numbers_are_refused(deleted, draws, message):
    with pytest.raises(ValueError, match=message):
        multi.draw_lesions(NAMES, deleted, draws, 0)


@pytest.fixture(scope="module")
def tables(case):
    _, net, data = case
    return measured(net, data, multi=range(1, 4), draws=6)


def test_each_row_is_the_model_without_those_blocks(case, tables):
    model, net, data = case
    result, _ = tables
    assert result.columns[:8] == ("network", "deleted", "draw", "blocks", "images", "wrong", "error", "loss")
    models = {row["blocks"]: without(model, *(row["blocks"] or "").split()) for row in result.rows}
    intact = loop({None: model}, data)[None].argmax(1)
    for row, out in zip(result.rows, loop(models, data).values(), strict=True):
        wrong = int((out.argmax(1) != data.labels).sum())
        assert (row["images"], row["wrong"], row["error"]) == (40, wrong, 2.5 * wrong)
        assert row["changed"] == int((out.argmax(1) != intact).sum())
        expected = compared(data.labels, intact, out.argmax(1))
        assert {key: row[key] for key in expected} == (expected if row["deleted"] else dict.fromkeys(expected))
        assert len((row["blocks"] or "").split()) == row["deleted"]
        assert row["error_recalibrated"] is None
    assert [(row["deleted"], row["draw"]) for row in result.rows] == [
        (0, 0),
        *((number, draw) for number in (1, 2, 3) for draw in range(6)),
    ]
    resizing = {unit.name for unit in net.blocks if unit.plan.resizes}
    assert resizing
    assert not resizing & {name for row in result.rows for name in (row["blocks"] or "").split()}
    assert set(result.settings["drawn_from"]) == {unit.name for unit in net.blocks} - resizing


def test_blocks_that_resize_can_be_drawn_too(case):
    _, net, data = case
    result, _ = measured(net, data, multi=range(1, 2), draws=100, resizing=True)
    assert [row["blocks"] for row in result.rows[1:]] == [unit.name for unit in net.blocks]


def test_the_summary_is_that_of_the_draws(case, tables):
    result, summary = tables
    assert [row["deleted"] for row in summary.rows] == [0, 1, 2, 3]
    for row in summary.rows:
        errors = np.array([r["error"] for r in result.rows if r["deleted"] == row["deleted"]])
        assert row["draws"] == len(errors)
        assert row["error"] == pytest.approx(errors.mean())
        assert (row["lowest"], row["median"], row["highest"]) == (errors.min(), np.median(errors), errors.max())
        assert row["quartile_low"] == pytest.approx(np.percentile(errors, 25))
        assert row["quartile_high"] == pytest.approx(np.percentile(errors, 75))
        assert row["images_low"] <= row["error"] <= row["images_high"]
        if len(errors) == comb(len(result.settings["drawn_from"]), row["deleted"]):  # no other sets are left
            assert (row["draws_low"], row["draws_high"]) == (None, None)
        else:
            assert errors.min() <= row["draws_low"] <= row["error"] <= row["draws_high"] <= errors.max()


def test_the_two_intervals_have_the_widths_of_their_standard_errors():
    """Closed form: 1.96 standard errors of the mean, over images and over draws apart."""
    generator = np.random.default_rng(0)
    ability = generator.uniform(0, 0.6, 400)
    flags = [(2, generator.random(400) < ability) for _ in range(60)]
    rows = [
        {"network": "n", "deleted": 2, "error": 100 * float(f.mean()), "error_recalibrated": None} for _, f in flags
    ]
    drawn_from = [f"unit{i}" for i in range(60)]  # 60 of 1,770 pairs: nearly as if drawn with repetition
    scores = [(2, Score(400, {"wrong": f.sum()}, {"wrong": f}, CLASSIFICATION)) for _, f in flags]
    (row,) = multi.summarise(rows, scores, {"drawn_from": drawn_from}, seed=0).rows
    per_image = 100 * np.mean([f for _, f in flags], axis=0)
    errors = [r["error"] for r in rows]
    for values, name in ((per_image, "images"), (errors, "draws")):
        width = row[f"{name}_high"] - row[f"{name}_low"]
        assert width == pytest.approx(2 * 1.96 * np.std(values, ddof=1) / len(values) ** 0.5, rel=0.12)
    assert row["images_high"] - row["images_low"] > 3 * (row["draws_high"] - row["draws_low"])


def test_smoothness_is_a_rank_correlation(tables):
    result, summary = tables
    drawn = result.rows[1:]  # the intact network was not drawn
    found = spearmanr([r["deleted"] for r in drawn], [r["error"] for r in drawn]).statistic
    assert result.settings["spearman"] == pytest.approx(found)
    assert result.settings["spearman_low"] <= found <= result.settings["spearman_high"]
    assert summary.settings["spearman"] == result.settings["spearman"]


def test_recalibrated_errors_stand_beside_the_others(case):
    _, net, data = case
    train = images(16)
    result, summary = measured(net, data, train=train, multi=range(2, 3), draws=3, recalibrate=True)
    for row in result.rows:
        module = copy.deepcopy(net.delete(*(row["blocks"] or "").split()).to_module())
        recalibrate(module, train)
        wrong = sum(int((module(x).argmax(1) != y).sum()) for x, y in data.batches(64))
        assert row["error_recalibrated"] == 100 * wrong / 40
    again = [row["error_recalibrated"] for row in result.rows[1:]]
    assert summary.rows[1]["error_recalibrated"] == pytest.approx(sum(again) / 3)


def test_facts_are_means_of_the_draws_and_the_rank_correlation(tables):
    result, _ = tables
    facts = {fact.label: fact for fact in several(result, "tiny")}
    for number in range(4):
        errors = [row["error"] for row in result.rows if row["deleted"] == number]
        assert facts[f"{number} deleted"].value == pytest.approx(sum(errors) / len(errors))
    assert facts["rank correlation"].value == result.settings["spearman"]
    assert (facts["rank correlation"].low, facts["rank correlation"].high) == (
        result.settings["spearman_low"], result.settings["spearman_high"],
    )  # fmt: skip


def test_the_figure_can_be_drawn_from_the_table_alone(tables, tmp_path):
    result, _ = tables
    result.save(tmp_path)
    figure = multi.plot(read(tmp_path, "lesion_multi"))
    (axes,) = figure.axes
    means = [np.mean([r["error"] for r in result.rows if r["deleted"] == n]) for n in range(4)]
    (line,) = [line for line in axes.lines if line.get_label() == "tiny, mean"]
    np.testing.assert_allclose(line.get_ydata(), means)
    np.testing.assert_allclose(line.get_xdata(), range(4))
