import os
import subprocess
import sys
from pathlib import Path

import pytest

from resnet_probe.analyses.registry import plots
from resnet_probe.cli import main
from resnet_probe.lazy import named
from resnet_probe.tables import Result, read

ROOT = Path(__file__).parents[2]


@pytest.fixture
def finished():
    assert main(["paths", "--depth", "56", "--out", "run", "--quiet"]) == 0
    return Path("run")


def pictures(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.suffix in (".pdf", ".svg", ".png")}


def test_the_same_figures_come_from_the_tables_alone(finished, capsys):
    before = pictures(finished)
    for name in before:
        (finished / name).unlink()
    assert main(["replot", "--run", "run"]) == 0
    assert pictures(finished) == before
    assert capsys.readouterr().out == "run\n  paths.csv  56 rows -> run/: paths.pdf, paths.svg, paths.png\n"


def test_figures_go_where_they_are_wanted_in_the_formats_wanted(finished, capsys):
    before = pictures(finished)
    assert main(["replot", "--run", "run", "--out", "elsewhere", "--format", "svg", "--quiet"]) == 0
    assert capsys.readouterr().out == ""
    assert pictures(Path("elsewhere")) == {"paths.svg": before["paths.svg"]}


def test_another_style_does_not_replace_the_figures(finished, capsys):
    before = pictures(finished)
    for words, folder in ((("--style", "talk"), "talk"), (("--width", "page"), "page")):
        assert main(["replot", "--run", "run", "--format", "svg", "--quiet", *words]) == 0
        assert pictures(finished) == before
        assert list(pictures(finished / folder)) == ["paths.svg"]


def test_tables_for_a_paper(finished, capsys):
    rows = len(read(finished, "paths").rows)
    before = pictures(finished)
    (finished / "paths.svg").write_text("of another style")
    assert main(["replot", "--run", "run", "--table", "tex,md", "--quiet"]) == 0
    assert (finished / "paths.svg").read_text() == "of another style"  # tables are all that was asked for
    assert main(["replot", "--run", "run", "--format", "svg", "--table", "tex,md", "--quiet"]) == 0
    assert pictures(finished) == before
    assert len((finished / "paths.md").read_text().split("\n\n")[0].splitlines()) == rows + 2
    assert (finished / "paths.tex").read_text().count(r"\\") == rows + 1
    assert main(["replot", "--run", "run", "--table", "doc"]) == 2
    assert "doc given; choose from tex, md, parquet" in capsys.readouterr().err


def test_a_table_that_was_changed_is_told(finished, capsys):
    path = finished / "paths.csv"
    path.write_text(path.read_text().replace(",27,", ",28,"))
    assert main(["replot", "--run", "run", "--format", "svg"]) == 0
    assert "56 rows, which is not as it was written -> " in capsys.readouterr().out


def test_a_study_is_drawn_with_the_folders_in_it(finished):
    before = pictures(finished)
    (finished / "paths.svg").unlink()
    assert main(["replot", "--run", ".", "--quiet"]) == 0
    assert pictures(finished) == before
    assert main(["replot", "--run", ".", "--out", "all", "--format", "svg", "--quiet"]) == 0
    assert pictures(Path("all/run")) == {"paths.svg": before["paths.svg"]}


def test_a_table_without_its_settings_is_enough(finished):
    (finished / "paths.json").unlink()
    assert main(["replot", "--run", "run", "--format", "png"]) == 0


PROGRAM = """
import sys
from resnet_probe.analyses.registry import plots
from resnet_probe.cli import main
from resnet_probe.lazy import named
from resnet_probe.tables import Result, read
assert main(["replot", "--run", "run", "--quiet"]) == 0
sys.exit(", ".join(name for name in ("torch", "matplotlib.pyplot") if name in sys.modules))
"""


def test_torch_is_not_needed(finished):
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, env=environment, check=False)
    assert done.stderr.strip() == ""


@pytest.mark.parametrize("name", plots())
def test_every_known_table_has_something_that_draws_it(name):
    _, plot = plots()[name]
    assert callable(named(plot.draw))


def test_a_folder_without_tables_is_answered_with_what_is_expected(finished, capsys):
    Path("empty").mkdir()
    assert main(["replot", "--run", "empty"]) == 2
    err = capsys.readouterr().err
    assert "no table to draw in empty or in the folders in it: expected " in err
    assert "paths.csv" in err
    assert "give the folder that another command wrote with --out" in err


@pytest.mark.parametrize("content", ["", "a,b\n1,2\n", "network,unit,length,count,fraction\nx,module,one,1,1\n"])
def test_a_table_that_is_none_is_one_line(finished, capsys, content):
    (finished / "paths.csv").write_text(content)
    (finished / "paths.json").unlink()
    assert main(["replot", "--run", "run"]) == 2
    err = capsys.readouterr().err
    assert err.count("\n") == 1
    assert "paths" in err


def test_a_table_without_rows_does_not_stop_the_others(finished, capsys):
    Result("iterative_ranks", ("network", "measure"), (), {}).save(finished)
    assert main(["replot", "--run", "run", "--format", "svg", "--table", "md"]) == 0
    assert "iterative_ranks.csv  0 rows" in capsys.readouterr().out
    assert not (finished / "iterative_ranks.svg").exists()
    assert (finished / "paths.md").exists()
