import os
import subprocess
import sys
from pathlib import Path

import pytest

from resnet_probe.cli import main
from tests.report.pages import save_inspect, save_lesion, save_paths

ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def folder():
    for save in (save_inspect, save_lesion, save_paths):
        save(Path("run/net"))


@pytest.mark.slow
def test_the_page_goes_into_the_first_folder_or_where_it_is_wanted(capsys):
    assert main(["report", "--run", "run"]) == 0
    assert "report: run/report.html" in capsys.readouterr().out
    first = Path("run/report.html").read_text(encoding="utf-8")
    assert "<h2" in first
    assert main(["report", "--run", "run/net", "--run", "run", "--out", "new/page.html", "--quiet"]) == 0
    assert capsys.readouterr().out == ""
    assert Path("new/page.html").is_file()
    assert main(["report", "--run", "run", "--out", "new", "--quiet"]) == 0
    assert sorted(path.name for path in Path("new").iterdir()) == ["page.html", "report.html"]
    assert main(["report", "--run", "run", "--out", "rep", "--quiet"]) == 0
    assert Path("rep/report.html").is_file()


def test_a_report_on_a_report_is_the_same_page(capsys):
    assert main(["report", "--run", "run"]) == 0
    first = Path("run/report.html").read_bytes()
    assert main(["report", "--run", "run"]) == 0
    assert Path("run/report.html").read_bytes() == first


PROGRAM = """
import sys
from resnet_probe.cli import main
assert main(["report", "--run", "run", "--quiet"]) == 0
sys.exit(", ".join(name for name in ("torch", "matplotlib.pyplot", "pandas") if name in sys.modules))
"""


def test_torch_is_not_needed():
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, env=environment, check=False)
    assert done.stderr.strip() == ""


def test_wrong_use_is_one_line(capsys):
    Path("empty").mkdir()
    assert main(["report", "--run", "empty"]) == 2
    assert capsys.readouterr().err.startswith("error: no table in empty")
    assert main(["report", "--run", "nowhere"]) == 2
    assert "nowhere" in capsys.readouterr().err
