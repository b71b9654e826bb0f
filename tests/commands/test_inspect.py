import json
import os
import re
from pathlib import Path

import pytest

from resnet_probe.cli import main
from resnet_probe.tables import read
from tests.commands.running import ran
from tests.commands.subjects import BAD_FILES, is_one_line, write_bad, write_good


def run(capsys, *words):
    return ran(capsys, "inspect", *words)


def cells(out, unit):
    """The line of a unit in the printed table."""
    (line,) = [line for line in out.splitlines() if line.split()[:1] == [unit]]
    return line.split()


def test_blocks_are_listed_with_stage_shortcut_and_numbers(capsys):
    code, out, err = run(capsys, "--arch", "resnet14-B")
    assert (code, err) == (0, "")
    # 3x3 convolutions 16 -> 32 and 32 -> 32, a 1x1 one, and three norms, on 16 x 16 pixels
    weights = 16 * 32 * 9 + 32 * 32 * 9 + 16 * 32
    shown = [
        "layer2.0",
        "block",
        "2",
        "conv1x1",
        "32x16x16",
        f"{weights + 6 * 32:,}",
        f"{weights * 256:,}",
    ]
    assert cells(out, "layer2.0")[:-1] == [*shown, "2"]
    assert cells(out, "layer1.1")[2:4] == ["1", "identity"]
    assert re.search(r"residual blocks +6\ in\ 3\ stages", out)
    assert re.search(r"input +3\ x\ 32\ x\ 32", out)


@pytest.mark.slow
def test_resnet50_has_16_blocks_and_vgg16_none(capsys):
    _, out, _ = run(capsys, "--arch", "torchvision:resnet50")
    assert re.search(r"residual blocks +16\ in\ 4\ stages", out)
    assert re.search(r"parameters +25,557,032", out)
    assert cells(out, "layer1.0")[:5] == ["layer1.0", "block", "1", "conv1x1", "256x56x56"]
    _, out, _ = run(capsys, "--arch", "torchvision:vgg16_bn", "--size", "32")
    assert re.search(r"residual blocks +none", out)
    assert cells(out, "features.0")[1] == "layer"


@pytest.mark.parametrize("how", ["argument", "option"])
def test_a_checkpoint_is_an_argument_or_an_option(capsys, how):
    write_good(Path())
    words = ["tiny.safetensors"] if how == "argument" else ["--ckpt", "tiny.safetensors"]
    code, out, err = run(capsys, *words)
    assert (code, err) == (0, "")
    assert "tiny (resnet14-w3)" in out
    assert re.search(r"input +1\ x\ 8\ x\ 8", out)
    assert list(Path().iterdir()) == [Path("tiny.safetensors")]


def test_with_a_folder_the_table_is_written(capsys):
    write_good(Path())
    code, out, _ = run(capsys, "tiny.safetensors", "--out", "out")
    assert code == 0
    assert "inspect.csv, inspect.json" in out
    result = read(Path("out"), "inspect")
    assert [row["unit"] for row in result.rows if row["kind"] == "block"][:2] == ["layer1.0", "layer1.1"]
    settings = json.loads(Path("out/inspect.json").read_text(encoding="utf-8"))
    assert settings["command"] == "resnet-probe inspect tiny.safetensors --out out"
    assert settings["networks"]["tiny"]["blocks"] == 6
    assert len(settings["checkpoint_sha256"]) == 64


def test_quiet_prints_nothing_and_writes_all_the_same(capsys):
    assert run(capsys, "--arch", "resnet8-w2", "--out", "out", "--quiet") == (0, "", "")
    assert Path("out/inspect.csv").exists()


def test_the_size_of_the_input_can_be_chosen(capsys):
    _, out, _ = run(capsys, "--arch", "resnet8-w2", "--size", "16")
    assert re.search(r"input +3\ x\ 16\ x\ 16", out)
    assert cells(out, "layer3.0")[4] == "8x4x4"


def test_branches_of_a_parallel_region_are_shown_without_its_name(capsys):
    Path("net.py").write_text("from tests.networks import Concatenated\n", encoding="utf-8")
    _, out, _ = run(capsys, "--arch", "net.py:Concatenated", "--size", "8")
    assert re.search(r"left, .*right", out)
    assert "1 parallel regions" in out or "1 parallel region" in out


@pytest.fixture(scope="module")
def bad(tmp_path_factory):
    folder = tmp_path_factory.mktemp("bad")
    write_bad(folder)
    return folder


@pytest.mark.parametrize("name", BAD_FILES)
def test_checkpoints_that_cannot_be_used(capsys, monkeypatch, bad, name):
    monkeypatch.chdir(bad)
    for words in ([name], ["--ckpt", name]):
        code, out, err = run(capsys, *words)
        assert (code, out) == (2, "")
        assert is_one_line(err)
        assert BAD_FILES[name] in err


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        ([], "no network given; give --ckpt FILE or --arch NAME"),
        (["--arch", "resnet9"], "depths are 6n+2, near 8 and 14"),
        (["--arch", "resnet50"], "torchvision:resnet50"),
        (["--arch", "torchvision:resnet51"], "did you mean"),
        (["--arch", "missing.py:net"], "no file missing.py"),
        (["--arch", "resnet8-w2", "--size", "0"], "0 is not in the range x>=1"),
        (["--arch", "lenet5", "--size", "5"], "does not accept inputs of shape (3, 5, 5)"),
        (["--arch", "resnet8-w2", "--out", "file"], "cannot write to the folder file"),
        (["tiny.safetensors", "--ckpt", "tiny.safetensors"], "two checkpoints given, tiny.safetensors and tiny"),
    ],
)
def test_wrong_use(capfd, words, problem):
    """Also what torch itself might write: nothing else than the line reaches standard error."""
    Path("file").touch()
    write_good(Path())
    code = main(["inspect", *words])
    out, err = capfd.readouterr()
    assert (code, out) == (2, "")
    assert is_one_line(err)
    assert problem in err


@pytest.mark.skipif(os.geteuid() == 0, reason="the superuser may read everything")
def test_a_file_without_permission_is_named(capsys):
    write_good(Path()).chmod(0)
    code, _, err = run(capsys, "tiny.safetensors")
    assert code in (1, 2)
    assert is_one_line(err)
    assert "tiny.safetensors" in err
