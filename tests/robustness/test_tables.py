"""Tables that were changed by hand: what they say is drawn, or they are named and left out."""

import json

import pytest

from resnet_probe.cli import main
from resnet_probe.tables import Result, read
from tests.report.pages import save_inspect, save_lesion, save_paths


@pytest.fixture
def run(tmp_path):
    for save in (save_inspect, save_lesion, save_paths):
        save(tmp_path)
    return tmp_path


@pytest.mark.slow
@pytest.mark.timeout(60)
@pytest.mark.parametrize("length", [2**70, pytest.param(-1, marks=pytest.mark.slow)])
def test_a_path_of_an_impossible_length(run, capfd, length):
    """It took all memory, since there is a place for each length up to the largest."""
    table = read(run, "paths")
    Result("paths", table.columns, ({**table.rows[0], "length": length}, *table.rows[1:]), table.settings).save(run)
    for command in ("report", "claims", "replot"):
        assert main([command, "--run", str(run), "--quiet"]) in (0, 2)
        err = capfd.readouterr().err
        assert err == "" or (err.startswith("error: ") and "paths.csv" in err and err.count("\n") == 1)


@pytest.mark.slow
@pytest.mark.parametrize("column", ["block", "unit", "network", "error"])
def test_a_column_that_is_missing_or_of_another_kind(run, capfd, column):
    for name in ("lesion", "inspect"):
        table = read(run, name)
        if column not in table.columns:
            continue
        for change in (lambda row: {k: v for k, v in row.items() if k != column}, lambda row: {**row, column: "x"}):
            rows = tuple(change(row) for row in table.rows)
            Result(name, tuple(rows[0]), rows, table.settings).save(run)
            for command in ("report", "claims"):
                assert main([command, "--run", str(run), "--quiet"]) in (0, 2)
                err = capfd.readouterr().err
                assert err == "" or (err.startswith("error: ") and str(run) in err and err.count("\n") == 1)
        table.save(run)
    assert "lesion" in (run / "report.html").read_text(encoding="utf-8")


@pytest.mark.parametrize("key", ["table", "versions", "networks", "arguments", "data_set"])
@pytest.mark.parametrize("value", ["x", {"columns": {"error": []}, "net": []}])
def test_settings_of_another_kind(run, capfd, key, value):
    path = run / "lesion.json"
    settings = json.loads(path.read_text(encoding="utf-8"))
    path.write_text(json.dumps({**settings, key: value}), encoding="utf-8")
    assert main(["claims", "--run", str(run), "--quiet"]) == 0
    assert capfd.readouterr().err == ""
