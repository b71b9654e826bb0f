import json
from pathlib import Path

import pytest

from resnet_probe.cli import main
from resnet_probe.tables import read
from tests.claims.runs import lesions


@pytest.fixture(autouse=True)
def folder():
    wrong = {f"b{i}": 101 for i in range(9)} | {"r": 500, "s": 400}
    deleted = lesions(100, wrong, arch="resnet20", resizes=("r", "s"))
    deleted.result.save(Path("run"))
    return Path("run")


def test_verdicts_in_words_with_what_is_missing(capsys):
    assert main(["claims", "--run", "run"]) == 0
    out = capsys.readouterr().out
    assert "CANNOT SAY  net: these are 1,000 images of CIFAR-10's 10,000 test images" in out
    assert "HOLDS  net: all 9 blocks add less than 5 points" in out
    assert "8 (needs lesion --multi 1:20)" in out


def test_a_claim_that_does_not_speak_of_these_networks_asks_for_no_table_that_is_there(capsys):
    lesions(100, {f"b{i}": 101 for i in range(9)}, arch="resnet8-w4").result.save(Path("small"))
    assert main(["claims", "--run", "small"]) == 0
    out = capsys.readouterr().out
    assert "2 (says nothing of these networks)" in out
    assert "3 (needs grid)" in out


def test_json_and_the_table_say_the_same(capsys):
    assert main(["claims", "--run", "run", "--format", "json", "--out", "found"]) == 0
    told = json.loads(capsys.readouterr().out)
    saved = read(Path("found"), "claims")
    assert told["verdicts"] == list(saved.rows)
    assert saved.settings["counts"] == told["counts"] == {"holds": 2, "does not hold": 0, "cannot say": 2}
    assert "resnet-probe claims --run run" in saved.settings["command"]
    assert main(["claims", "--run", "run", "--run", "found", "--quiet"]) == 0  # claims are no table to judge


def test_claims_for_a_paper(capsys):
    assert main(["claims", "--run", "run", "--out", "found", "--table", "md,tex", "--quiet"]) == 0
    lines = Path("found/claims.md").read_text().splitlines()
    assert lines[0] == "| claim | statement | published | measured | 95 % interval | verdict |"
    assert len(lines) == 4 + len(read(Path("found"), "claims").rows)
    assert lines[-1] == "network: net"
    assert main(["claims", "--run", "run", "--table", "md"]) == 2
    assert "--table given without --out" in capsys.readouterr().err


def test_a_folder_without_tables_is_one_line(capsys):
    Path("empty").mkdir()
    assert main(["claims", "--run", "empty"]) == 2
    assert "no table in empty" in capsys.readouterr().err
    assert main(["claims"]) == 2
