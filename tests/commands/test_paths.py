import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from resnet_probe.analyses.registry import facts_of
from resnet_probe.tables import read
from tests.commands.running import ran

ROOT = Path(__file__).parents[2]
CHECKPOINTS = ROOT.parent / "shared" / "checkpoints"


def run(capsys, *words):
    return ran(capsys, "paths", *words)


def counts(folder, unit):
    return {row["length"]: row["count"] for row in read(Path(folder), "paths").rows if row["unit"] == unit}


def test_depth_110_prints_and_writes_what_fig_6a_shows(capsys):
    code, out, err = run(capsys, "--depth", "110")
    assert (code, err) == (0, "")
    assert "2^54 = 18,014,398,509,481,984" in out
    facts = facts_of(read(Path("results/paths-resnet110"), "paths"))["resnet110"]
    assert {fact.label: (fact.value, fact.low, fact.high) for fact in facts} == {
        "paths": (2**54, None, None),
        "length in residual branches": (27, 20, 34),
        "length in layers": (56, 42, 70),
    }
    folder = Path("results/paths-resnet110")
    assert {path.name for path in folder.iterdir()} == {f"paths.{end}" for end in ("csv", "json", "pdf", "svg", "png")}
    assert sum(counts(folder, "module").values()) == 2**54


def test_settings_say_how_to_make_the_table_again(capsys):
    run(capsys, "--depth", "20", "--out", "my run", "--format", "png")
    settings = read(Path("my run"), "paths").settings
    assert settings["command"] == "resnet-probe paths --depth 20 --out 'my run' --format png"
    assert settings["arguments"]["depth"] == 20
    assert settings["arguments"]["formats"] == ["png"]
    about = settings["networks"]["resnet20"]
    assert (about["blocks"], about["block"]) == (9, "basic")
    assert b"resnet-probe paths --depth 20" in Path("my run/paths.png").read_bytes()


def test_quiet_prints_nothing(capsys):
    assert run(capsys, "--depth", "20", "--quiet") == (0, "", "")
    assert Path("results/paths-resnet20/paths.csv").exists()


def test_the_second_reading_of_a_depth_is_noted(capsys):
    assert "use --arch resnet164-bottleneck" in run(capsys, "--depth", "164", "--format", "png")[1]


def test_depth_1202_is_counted_to_the_last_digit(capsys):
    _, out, _ = run(capsys, "--depth", "1202", "--format", "png")
    assert "2^600 = about 4.150e+180 (all digits in paths.json)" in out
    about = json.loads(Path("results/paths-resnet1202/paths.json").read_text())["networks"]["resnet1202"]
    assert about["statistics"]["module"]["total"] == 2**600


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        ([], "no network given; give --ckpt FILE or --arch NAME"),
        (["--depth", "20", "--arch", "resnet20"], "resnet20 is counted without a network and images; leave out --arch"),
        (["--depth", "111"], "the nearest are 110 and 116"),
        (["--depth", "20", "--format", "tiff,png"], "tiff given; choose from pdf, svg, png"),
        (["--depth", "20", "--format", ","], "nothing given; choose from pdf, svg, png"),
        (["--ckpt", "missing.pt"], "'missing.pt' does not exist"),
        (["--arch", "resnet21"], "near 20 and 26"),
    ],
)
def test_wrong_use_is_one_line_and_writes_nothing(capsys, words, problem):
    code, out, err = run(capsys, *words)
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert problem in err
    assert not list(Path().iterdir())


@pytest.mark.parametrize("out", ["file", "file/inside"])
def test_a_folder_that_cannot_be_written_is_found_before_anything_is_counted(capsys, monkeypatch, out):
    Path("file").touch()
    monkeypatch.setattr("resnet_probe.analyses.paths.measure.run", None)
    code, _, err = run(capsys, "--depth", "20", "--out", out)
    assert (code, err.count("\n")) == (2, 1)
    assert f"cannot write to the folder {out}" in err


PROGRAM = """
import sys
from resnet_probe.cli import main
assert main(["paths", "--depth", "110", "--quiet"]) == 0
heavy = ("torch", "pandas", "scipy", "seaborn", "matplotlib.pyplot")
sys.exit(", ".join(name for name in heavy if name in sys.modules))
"""


def test_a_depth_needs_neither_torch_nor_pandas():
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, env=environment, check=False)
    assert done.stderr.strip() == ""


@pytest.mark.parametrize("depth", [8, 20])
def test_a_traced_network_has_the_paths_that_its_depth_says(capsys, depth):
    run(capsys, "--depth", str(depth), "--out", "formula", "--format", "png")
    code, _, err = run(capsys, "--arch", f"resnet{depth}", "--out", "traced", "--format", "png")
    assert (code, err) == (0, "")
    for unit in ("module", "layer"):
        assert counts("traced", unit) == counts("formula", unit)


def test_a_network_without_blocks_has_one_path_and_says_so(capsys):
    code, out, _ = run(capsys, "--arch", "vgg11-w4", "--format", "png")
    assert code == 0
    assert "vgg11-w4\n" in out
    facts = {fact.label: fact.value for fact in facts_of(read(Path("results/paths-vgg11-w4"), "paths"))["vgg11-w4"]}
    assert facts == {"paths": 1, "length in residual branches": 0, "length in layers": 9}


@pytest.mark.real
@pytest.mark.skipif(not CHECKPOINTS.is_dir(), reason="no folder ../shared/checkpoints")
def test_a_real_checkpoint_has_the_paths_that_its_depth_says(capsys):
    run(capsys, "--depth", "56", "--out", "formula", "--format", "png")
    code, out, _ = run(capsys, "--ckpt", str(CHECKPOINTS / "resnet56-4bfd9763.th"), "--out", "real", "--format", "png")
    assert code == 0
    assert "resnet56-4bfd9763\n" in out
    for unit in ("module", "layer"):
        assert counts("real", unit) == counts("formula", unit)
    assert read(Path("real"), "paths").settings["checkpoint_sha256"].startswith("4bfd9763")
