import numpy as np
import pytest
from scipy import stats

from resnet_probe.analyses import seeds
from resnet_probe.analyses.registry import declared, facts_of
from resnet_probe.tables import Result, read

ERRORS = {"a": [5.0, 20.0, 30.0], "b": [6.0, 26.0, 31.0], "c": [7.0, 21.0, 35.0], "other": [9.0, 90.0, 91.0]}


def lesions(errors=ERRORS, **about):
    table = declared("lesion")
    rows = [
        dict.fromkeys(table.keys)
        | {"network": name, "block": block, "index": index, "error": error, "loss": error / 10, "increase": None}
        | ({"increase": error - values[0]} if index is not None else {})
        for name, values in errors.items()
        for block, index, error in zip(("(intact)", "x", "y"), (None, 0, 1), values, strict=True)
    ]
    networks = {
        name: {"arch": "vgg16" if name == "other" else "resnet20", "checkpoint_sha256": name} | about.get(name, {})
        for name in errors
    }
    return table.result(rows, networks=networks)


def test_positions_are_averaged_over_the_checkpoints_of_one_architecture():
    found = seeds.spread(lesions(), declared("lesion"))
    assert list(found.networks) == ["resnet20"]
    rows = {(row["measure"], row["block"]): row for row in found.rows}
    assert ("increase", "(intact)") not in rows  # it has none
    assert len(rows) == 3 + 2 + 3
    for place, block in enumerate(("(intact)", "x", "y")):
        values = [ERRORS[name][place] for name in "abc"]
        row = rows["error", block]
        interval = stats.t.interval(0.95, 2, loc=np.mean(values), scale=stats.sem(values))
        assert (row["seeds"], row["mean"], row["std"]) == (
            3,
            pytest.approx(np.mean(values)),
            pytest.approx(np.std(values, ddof=1)),
        )
        assert (row["low"], row["high"]) == pytest.approx(interval)


def test_edited_and_untrained_networks_and_single_ones_are_no_seeds():
    assert seeds.spread(lesions({name: ERRORS[name] for name in ("a", "other")}), declared("lesion")) is None
    edited = lesions(a={"edits": [{"delete": ["x"]}]}, b={"checkpoint_sha256": None})
    assert seeds.spread(edited, declared("lesion")) is None
    assert seeds.spread(Result("paths", ("network",), (), {}), declared("paths")) is None


def test_the_same_file_or_other_images_are_no_second_training():
    some = {name: ERRORS[name] for name in "ab"}
    for about in ({"checkpoint_sha256": "a"}, {"data_fingerprint": "others"}):
        assert seeds.spread(lesions(some, b=about), declared("lesion")) is None


@pytest.mark.parametrize("value", [float("nan"), float("inf"), None])
def test_what_is_no_number_is_left_out_and_stops_nothing(value):
    found = seeds.spread(lesions({"a": [5.0, 20.0, 30.0], "b": [6.0, 26.0, 31.0]}), declared("lesion"))
    table = lesions({"a": [5.0, 20.0, 30.0], "b": [6.0, 26.0, 31.0]})
    table.rows[1]["error"] = value
    left = seeds.spread(table, declared("lesion"))
    assert len(left.rows) == len(found.rows) - 1


def test_a_block_that_not_all_of_them_have_is_left_out():
    table = lesions({name: ERRORS[name] for name in "ab"})
    short = Result(table.name, table.columns, table.rows[:-1], table.settings)
    blocks = {row["block"] for row in seeds.spread(short, declared("lesion")).rows}
    assert blocks == {"(intact)", "x"}


def test_it_is_drawn_and_told_from_the_table_alone(tmp_path):
    seeds.spread(lesions(), declared("lesion")).save(tmp_path)
    table = read(tmp_path, "lesion_seeds")
    (axes,) = seeds.plot(table).axes
    (line,) = axes.lines
    assert line.get_xdata().tolist() == [-1, 0, 1]
    assert line.get_ydata() == pytest.approx([6.0, 67 / 3, 32.0])
    facts = {fact.label: fact for fact in facts_of(table)["resnet20"]}
    assert facts["error over seeds"].value == pytest.approx(67 / 3)
