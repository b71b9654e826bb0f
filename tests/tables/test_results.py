import csv
import hashlib
import json
import math
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

import resnet_probe
from resnet_probe.tables import Result, altered, provenance, read, read_run, results, together

TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00"), min_size=1)
CELLS = st.one_of(
    st.lists(st.one_of(st.none(), TEXT), max_size=5),
    st.lists(st.one_of(st.none(), st.integers(), st.floats(allow_nan=False)), max_size=5),
    st.lists(st.one_of(st.none(), st.booleans()), max_size=5),
)


def table(cells, **settings):
    return Result("table", ("cell", "last"), tuple({"cell": cell, "last": 1} for cell in cells), settings)


@given(CELLS)
def test_saved_result_reads_back_equal(tmp_path_factory, cells):
    folder = tmp_path_factory.mktemp("run")
    result = table(cells, seed=3, nested={"list": [1, 2.5, None, "x"]})
    result.save(folder)
    back = read(folder, "table")
    assert back == result
    assert [type(row["cell"]) for row in back.rows] == [type(cell) for cell in cells]


def test_integers_of_hundreds_of_digits_stay_exact(tmp_path):
    table([2**600, 2**600 + 1]).save(tmp_path)
    assert [row["cell"] for row in read(tmp_path, "table").rows] == [2**600, 2**600 + 1]
    assert str(2**600) in (tmp_path / "table.csv").read_text()


def test_same_rows_are_the_same_bytes(tmp_path):
    first, second = (table([0.1, 1e-300, None, 5]).save(tmp_path / name)[0] for name in "ab")
    assert first.read_bytes() == second.read_bytes() == b"cell,last\n0.1,1\n1e-300,1\n,1\n5,1\n"


def test_numpy_scalars_become_python_numbers(tmp_path):
    result = table([np.float64(0.1), np.int64(3), np.float32(0.5)])
    assert [type(row["cell"]) for row in result.rows] == [float, int, float]
    result.save(tmp_path)
    assert (tmp_path / "table.csv").read_text().splitlines()[1:] == ["0.1,1", "3,1", "0.5,1"]


def test_other_readers_of_csv_see_the_same_cells(tmp_path):
    cells = ["a,b", 'say "x"', "two\nlines", "return\rinside", "", "plain"]
    path = Result("one", ("cell",), tuple({"cell": cell} for cell in cells), {}).save(tmp_path)[0]
    with path.open(encoding="utf-8", newline="") as file:
        assert list(csv.reader(file)) == [["cell"], *[[cell] for cell in cells]]


def test_names_that_look_like_numbers_stay_text_where_the_settings_say_so(tmp_path):
    for names in (["110", "1e5"], ["True", "False"]):
        table(names).save(tmp_path)
        assert [row["cell"] for row in read(tmp_path, "table").rows] == names


def test_a_column_without_values_has_no_type(tmp_path):
    result = Result("t", ("a", "b"), ({"a": None, "b": 1}, {"a": None, "b": 2}), {})
    result.save(tmp_path)
    assert json.loads((tmp_path / "t.json").read_text())["table"]["columns"] == {"a": "empty", "b": "number"}
    assert read(tmp_path, "t").rows == result.rows


def test_table_alone_is_read_by_what_its_columns_hold(tmp_path):
    (tmp_path / "t.csv").write_text("name,n,x,flag,mixed,empty\na,1,0.5,True,1,\nb,,nan,False,one,\n")
    first, second = read(tmp_path, "t").rows
    assert first == {"name": "a", "n": 1, "x": 0.5, "flag": True, "mixed": "1", "empty": None}
    assert second["n"] is None
    assert math.isnan(second["x"])
    assert second["flag"] is False
    assert second["mixed"] == "one"
    assert read(tmp_path, "t").settings == {}


def test_frame_is_the_table_that_pandas_reads(tmp_path):
    result = Result("t", ("a", "b"), ({"b": 1.5, "a": "x"}, {"b": None, "a": 'y,\n"z"'}), {})
    pd.testing.assert_frame_equal(result.frame(), pd.read_csv(result.save(tmp_path)[0]), check_dtype=False)
    assert table([2**600]).frame()["cell"][0] == 2**600
    assert list(Result("t", ("a", "b"), (), {}).frame().columns) == ["a", "b"]


def test_rows_must_have_exactly_the_columns():
    with pytest.raises(ValueError, match="row 1 of table t must have the columns a, b; see b"):
        Result("t", ("a", "b"), ({"a": 1, "b": 2}, {"a": 1}), {})
    with pytest.raises(ValueError, match="see c"):
        Result("t", ("a",), ({"a": 1, "c": 2},), {})
    with pytest.raises(ValueError, match="must differ"):
        Result("t", ("a", "a"), (), {})


@pytest.mark.parametrize("cell", [[1, 2], {"x": 1}, Path("x"), np.array([])])
def test_a_cell_is_one_value(cell):
    with pytest.raises(ValueError, match="row 0, column cell of table table is a"):
        table([cell])


def test_settings_hold_what_json_can_hold(tmp_path):
    result = table([], path=Path("a/b"), pair=(1, 2), loss=math.nan, deep={1: {"x": np.float64(2.0)}})
    assert result.settings == {"path": "a/b", "pair": [1, 2], "loss": "nan", "deep": {"1": {"x": 2.0}}}
    result.save(tmp_path)
    assert "NaN" not in (tmp_path / "table.json").read_text()
    with pytest.raises(ValueError, match="'table'"):
        table([], table=1)


def test_settings_stand_at_the_top_of_the_json_file(tmp_path):
    table([1], seed=7).save(tmp_path)
    settings = json.loads((tmp_path / "table.json").read_text())
    assert settings["seed"] == 7
    digest = hashlib.sha256((tmp_path / "table.csv").read_bytes()).hexdigest()
    columns = {"cell": "number", "last": "number"}
    assert settings["table"] == {"name": "table", "rows": 1, "columns": columns, "sha256": digest}


def test_with_settings_replaces_and_keeps():
    result = table([1], a=1, b=2).with_settings({"b": 3})
    assert result.settings == {"a": 1, "b": 3}
    assert result.rows == table([1]).rows


def test_a_write_that_fails_leaves_the_old_file_and_no_other(tmp_path, monkeypatch):
    table([1]).save(tmp_path)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}

    def full(self, target):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", full)
    with pytest.raises(OSError, match="No space left"):
        table([2]).save(tmp_path)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_files_have_the_permissions_of_any_new_file(tmp_path):
    plain = tmp_path / "plain"
    plain.touch()
    for path in table([1]).save(tmp_path):
        assert path.stat().st_mode == plain.stat().st_mode


def test_save_makes_the_folder_and_says_what_it_wrote(tmp_path):
    assert table([1]).save(tmp_path / "a" / "b") == [tmp_path / "a/b/table.csv", tmp_path / "a/b/table.json"]


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"", "is not a table"),
        (b"\xff\xfe\x00", "is not a table"),
        (b'a,b\n1,"2\n', "is not a table"),
        (b"a,b\n1,2\n3\n", "line 3: 1 cells, expected the header's 2"),
    ],
)
def test_what_is_no_table_is_named(tmp_path, content, problem):
    (tmp_path / "t.csv").write_bytes(content)
    with pytest.raises(ValueError, match=problem):
        read(tmp_path, "t")


def test_settings_that_do_not_fit_are_named(tmp_path):
    table([1]).save(tmp_path)
    (tmp_path / "table.csv").write_text("cell,last\nmany,1\n")
    with pytest.raises(ValueError, match="column cell must hold a number in every cell, not 'many'"):
        read(tmp_path, "table")
    for content in ("[1", "[]"):
        (tmp_path / "table.json").write_text(content)
        with pytest.raises(ValueError, match="is not a settings file"):
            read(tmp_path, "table")


def test_a_missing_table_is_a_missing_file(tmp_path):
    with pytest.raises(FileNotFoundError):
        read(tmp_path, "table")


def test_provenance_holds_what_is_needed_to_make_the_table_again():
    found = provenance(
        arguments={"out": Path("x")}, seed=1, checkpoint_sha256="ab", command="resnet-probe x", device="cpu", blocks=27
    )
    assert found["arguments"] == {"out": "x"}
    assert (found["seed"], found["checkpoint_sha256"], found["device"], found["blocks"]) == (1, "ab", "cpu", 27)
    assert found["versions"]["resnet-probe"] == resnet_probe.__version__
    assert found["versions"]["numpy"] == np.__version__
    assert found["time"].endswith("+00:00")
    assert json.loads(json.dumps(found)) == found


def test_origin_is_the_short_form_of_the_settings():
    settings = provenance(arguments={}, checkpoint_sha256="ab", command="resnet-probe x")
    expected = {"command": "resnet-probe x", "checkpoint_sha256": "ab", "version": resnet_probe.__version__}
    assert table([]).with_settings(settings).origin() == expected
    assert table([]).origin() == {}


def test_no_part_of_a_file_is_left_behind(tmp_path):
    table([1]).save(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["table.csv", "table.json"]


def test_tables_of_several_networks_are_put_together_with_the_settings_of_each():
    one, two = (
        Result("t", ("network", "x"), ({"network": name, "x": n},), {"classes": n}) for n, name in enumerate("ab")
    )
    both = together([one, two])
    assert both.rows == (*one.rows, *two.rows)
    assert both.settings == {"networks": {"a": {"classes": 0}, "b": {"classes": 1}}}
    assert [both.about(name)["classes"] for name in "ab"] == [0, 1]
    assert together([both]).settings == both.settings
    with pytest.raises(ValueError, match="two networks are called 'a'"):
        together([one, one])
    with pytest.raises(ValueError, match="at least one"):
        together([])


def test_about_a_network_is_what_holds_for_all_and_what_stands_under_its_name():
    table = Result(
        "t", ("network",), ({"network": "a"},), {"seed": 3, "classes": 5, "networks": {"a": {"classes": 10}}}
    )
    assert (table.about("a")["seed"], table.about("a")["classes"], table.about("b")["classes"]) == (3, 10, 5)
    assert table.networks == ["a"]
    assert table.of("a") == [{"network": "a"}]


def test_a_kill_between_table_and_settings_is_noticed(tmp_path, monkeypatch):
    def made(error):
        return Result("lesion", ("network", "error"), ({"network": "a", "error": error},), {"seed": 0})

    made(1.5).save(tmp_path)
    write, written = results.write_text, []

    def killed(path, content):
        written.append(path.name)
        if path.suffix == ".json":
            raise KeyboardInterrupt
        write(path, content)

    monkeypatch.setattr(results, "write_text", killed)
    with pytest.raises(KeyboardInterrupt):
        made(2.5).save(tmp_path)
    assert written == ["lesion.csv", "lesion.json"]
    assert read(tmp_path, "lesion").rows[0]["error"] == 2.5
    assert altered(tmp_path / "lesion.csv")


def test_a_table_that_was_changed_is_noticed(tmp_path):
    made = Result("lesion", ("network", "error"), ({"network": "a", "error": 1.5},), {"seed": 0})
    path, settings = made.save(tmp_path)
    assert not altered(path)
    content = path.read_bytes()
    for place in range(len(content)):
        for bit in range(8):
            path.write_bytes(bytes([*content[:place], content[place] ^ 1 << bit, *content[place + 1 :]]))
            assert altered(path)
    path.write_bytes(content)
    assert read_run([tmp_path]).altered == ()
    path.write_bytes(content.replace(b"1.5", b"2.5"))
    assert read_run([tmp_path]).altered == (path,)
    settings.unlink()
    assert not altered(path)  # nothing says what it was
