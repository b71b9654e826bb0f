"""Names that other people chose: for terminals, spreadsheets, figures and pages they are text and nothing else."""

import csv
import json
import os
import shutil
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from PIL import Image

from resnet_probe import checkpoint
from resnet_probe.cli import main
from resnet_probe.commands import output
from resnet_probe.models import resolve
from resnet_probe.tables import Result, read
from resnet_probe.tables.cells import visible
from tests.commands.subjects import write_good

NAMES = (
    "a\x1b[2Jb", "bell\x07", "csi\x9b2J", "\u202eevil", "new\nline", "back\rwards", "tab\there", "\udcff\udcfe",
    "=1+1", "@sum", "+x", "-x", "'=1", "''@", "'plain", "$\\frac{", "a$b$c", "<b>&amp;</b>", "网络", "[red]x[/red]",
)  # fmt: skip
FORBIDDEN = {chr(code) for code in (*range(9), *range(11, 32), *range(127, 160), 0x202E)}


def table(names):
    return Result("lesion", ("network", "n"), tuple({"network": name, "n": -1} for name in names), {"names": names})


def test_names_are_read_back_as_they_were(tmp_path):
    made = table(NAMES)
    path, settings = made.save(tmp_path)
    assert read(tmp_path, "lesion") == made
    assert [row["network"] for row in made.rows] == [visible(name) for name in NAMES]
    assert made.networks[8:] == list(NAMES[8:])  # nothing in these is hidden
    settings.unlink()
    assert read(tmp_path, "lesion").rows == made.rows
    text = path.read_text(encoding="utf-8")
    assert not FORBIDDEN - {"\r"} & set(text)


def test_no_spreadsheet_computes_a_name_and_numbers_stay_numbers(tmp_path):
    path, _ = table(NAMES).save(tmp_path)
    with path.open(encoding="utf-8", newline="") as file:
        _, *rows = csv.reader(file)
    assert not [name for name, _ in rows if name[0] in "=@+-\t\r"]
    assert {number for _, number in rows} == {"-1"}


@pytest.mark.parametrize("name", NAMES)
def test_a_screen_shows_no_control_character(capsys, name):
    output.console().print(f"{name}\nnext")
    output.columns(output.console(), ["a", "b"], [[visible(name, line=True), "1"]], right=1)
    assert not FORBIDDEN & set(capsys.readouterr().out)


def test_an_error_shows_no_control_character(capsys):
    for name in NAMES:
        code = main(["inspect", "--ckpt", f"absent/{name}.pt"])
        err = capsys.readouterr().err
        assert code == 2
        assert err.startswith("error: ")
        assert err.count("\n") == 1
        assert not FORBIDDEN & set(err)
    assert main(["inspect", "--arch", "resnet8\x1b[2J", "--debug"]) == 2
    assert "\x1b" not in capsys.readouterr().err.replace("\x1b[", "", 0).replace("\x1b[31m", "")


def test_json_on_the_screen_stays_json(capsys):
    output.console().print(json.dumps(list(NAMES), ensure_ascii=False))
    assert json.loads(capsys.readouterr().out) == list(NAMES)


FEW = [name for name in NAMES if {*name} & {"\x1b", "\udcff", "$", "网", "\r"} and name != "a$b$c"]


@pytest.mark.timeout(120)
@pytest.mark.parametrize("names", [FEW, pytest.param(NAMES, marks=pytest.mark.slow)], ids=["few", "all"])
def test_checkpoints_with_such_names_through_tables_figures_and_report(tmp_path, capfd, names):
    """A non-UTF-8 name too, which not every reader of files takes."""
    good = write_good(tmp_path, "good", arch="resnet8-w2")
    options = []
    for name in names:
        path = tmp_path / f"{name.replace('/', '')}.safetensors"
        shutil.copy(good, path)
        options += ["--ckpt", str(path)]
    run = tmp_path / "run\x1b[2J\udcff"
    assert main(["lesion", *options, "--data", "digits", "--limit", "10", "--out", str(run), "--format", "svg"]) == 0
    assert main(["report", "--run", str(run)]) == 0
    assert main(["replot", "--run", str(run), "--format", "svg"]) == 0
    out, err = capfd.readouterr()
    assert not FORBIDDEN & set(out)
    assert err == ""
    assert len(read(run, "lesion").networks) == len(names)
    for path in run.rglob("*.svg"):
        ElementTree.fromstring(path.read_text(encoding="utf-8"))
    assert not FORBIDDEN & set((run / "report.html").read_text(encoding="utf-8"))


@pytest.mark.slow
def test_class_names(tmp_path, capfd):
    data = tmp_path / "data"
    for number, name in enumerate(NAMES[:10]):
        (data / name.replace("/", "")).mkdir(parents=True)
        pixels = np.full((8, 8, 3), 20 * number, np.uint8)
        Image.fromarray(pixels).save(data / name.replace("/", "") / "1.png")
    path = checkpoint.save(tmp_path / "a.safetensors", resolve("resnet8-w2"), arch="resnet8-w2", metadata={})
    words = ["evaluate", "--ckpt", str(path), "--data", str(data), "--out", str(tmp_path / "run"), "--format", "svg"]
    assert main(words) == 0
    out, err = capfd.readouterr()
    assert not FORBIDDEN & set(out + err)
    for each in Path(tmp_path / "run").glob("*.csv"):
        assert read(each.parent, each.stem).rows
        assert os.fsdecode(each.read_bytes()).isprintable() or not FORBIDDEN - {"\r"} & set(each.read_text("utf-8"))
