"""An analysis of another package (`tests/toy`) is everywhere where ours are, and no file of this package knows it."""

from pathlib import Path

import pytest

from resnet_probe.tables import read
from tests.evaluate.runs import COMMAND, Fork, finish, shards

TOY = Path(__file__).parent / "toy"
FIXED = ("--data", "digits", "--normalize", "none", "--limit", "64", "--format", "svg")
# An installed package comes before what a process imports; a fork finds it in time, too: nothing was listed yet.
HERE = "import sys; sys.path.insert(0, sys.argv.pop(1))\n"
# The command, killed as soon as two shards are in the journal.
KILLED = """
import os, sys
from resnet_probe import cli, evaluate
commit, done = evaluate.Journal.commit, []
def killed(journal, rows):
    commit(journal, rows)
    done.append(1)
    if len(done) == 2:
        os._exit(9)
evaluate.Journal.commit = killed
cli.main(sys.argv[1:])
"""


def program(*words, code=COMMAND, folder=TOY):
    """Exit code, and what was printed."""
    return finish(Fork(HERE + code, folder, *words))


@pytest.fixture(scope="module")
def halved(tiny, tmp_path_factory):
    """What an undisturbed run writes, and says."""
    out = tmp_path_factory.mktemp("halved")
    code, said, err = program("halve", "--ckpt", tiny, "--out", out, "--batch-size", "8", *FIXED)
    assert (code, err) == (0, "")
    return out, said


def test_it_takes_few_lines():
    assert len((TOY / "toy_analysis.py").read_text(encoding="utf-8").splitlines()) <= 80


def test_it_is_in_the_help_and_its_options_have_theirs():
    assert "Halve each branch and measure the error." in program("--help")[1]
    text = program("halve", "--help")[1]
    assert "Divide the branches by N." in text
    assert "--fresh" in text
    assert program("halve", "--arch", "resnet8", "--factor", "0")[0] == 2


def test_it_writes_its_table_and_figure_and_says_what_they_say(halved):
    out, said = halved
    table = read(out, "halved")
    assert [row["block"] for row in table.rows[:2]] == ["(intact)", "layer1.0"]
    assert table.settings["arguments"]["factor"] == 2
    assert (out / "halved.svg").is_file()
    mean = sum(row["error"] for row in table.rows[1:]) / 6
    assert f"{mean:.4g} % with one branch halved" in said


@pytest.mark.slow
def test_a_killed_run_goes_on_and_ends_in_the_same_table(tiny, halved, tmp_path):
    words = ("halve", "--ckpt", tiny, "--out", tmp_path, "--batch-size", "8", *FIXED)
    assert program(*words, code=KILLED)[0] == 9
    assert len(shards(tmp_path, "halved.journal")) == 2
    assert not (tmp_path / "halved.csv").exists()
    assert program(*words)[0] == 0
    assert (tmp_path / "halved.csv").read_bytes() == (halved[0] / "halved.csv").read_bytes()


@pytest.mark.slow
def test_it_is_replotted(halved, tmp_path):
    assert program("replot", "--run", halved[0], "--out", tmp_path, "--format", "png")[0] == 0
    assert (tmp_path / "halved.png").stat().st_size > 1000


@pytest.mark.slow
def test_it_stands_in_a_study_in_the_report_and_among_the_claims(tiny, tmp_path):
    code, said, err = program("study", tiny, "--out", tmp_path, "--quick", "--draws", "1", *FIXED)
    assert code == 0, err
    assert "Halved branches of tiny" in said
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert ">Halving one branch</h2>" in page
    assert "What happens to the error when one branch is halved?" in page
    assert "with one branch halved" in page
    (verdict,) = [row for row in read(tmp_path, "claims").rows if row["claim"] == 900]
    rows = read(tmp_path / "tiny", "halved").rows
    worst = max(row["error"] for row in rows[1:]) - rows[0]["error"]
    assert verdict["verdict"] == ("holds" if worst <= 10 else "does not hold")
    assert verdict["statement"] == "Halving a branch changes little"


def test_one_that_cannot_be_imported_is_one_line_and_the_others_work(tmp_path):
    about = tmp_path / "broken-0.1.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: broken\nVersion: 0.1\n", encoding="utf-8")
    (about / "entry_points.txt").write_text("[resnet_probe.analyses]\nbad = no_such:X\n", encoding="utf-8")
    code, said, err = program("--help", folder=tmp_path)
    assert code == 0
    assert "lesion" in said
    assert len(err.splitlines()) == 1
    assert "the analysis bad (no_such:X) is left out: No module named 'no_such'" in err
