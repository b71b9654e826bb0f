import json
import os
from pathlib import Path

import pytest

from resnet_probe import checkpoint
from resnet_probe.cli import main
from resnet_probe.evaluate.baseline import Baseline
from resnet_probe.models import resolve
from resnet_probe.tables import read, read_run
from tests.commands.running import ran
from tests.commands.subjects import BAD_FILES, is_one_line, write_bad, write_good, write_images


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("files")
    write_good(folder)
    write_bad(folder)
    write_images(folder)
    return folder


@pytest.fixture(autouse=True)
def in_a_folder_of_links(tmp_path, files):
    """Each test has the files, and an otherwise empty folder, for itself."""
    for path in files.iterdir():
        (tmp_path / path.name).symlink_to(path)


def run(capsys, *words):
    return ran(capsys, "lesion", *words)


QUICK = ("--ckpt", "tiny.safetensors", "--limit", "30", "--format", "png", "--out", "out", "--batch-size", "16")


def test_a_run_writes_table_settings_and_figures_and_says_what_they_say(capsys):
    words = ("--ckpt", "tiny.safetensors", "--limit", "30", "--batch-size", "16")
    code, out, err = run(capsys, *words)
    assert (code, err) == (0, "")
    folder = Path("results/lesion-tiny")
    assert {f"lesion.{end}" for end in ("csv", "json", "pdf", "svg", "png")} <= {path.name for path in folder.iterdir()}
    result = read(folder, "lesion")
    intact, *rows = result.rows
    assert [row["block"] for row in rows] == [f"layer{stage}.{i}" for stage in (1, 2, 3) for i in (0, 1)]
    assert intact["block"] == "(intact)"
    assert {row["network"] for row in result.rows} == {"tiny"}
    assert {row["images"] for row in result.rows} == {30}
    worst, mildest = (pick(rows, key=lambda row: row["error"]) for pick in (max, min))
    assert worst["error"] > mildest["error"]
    assert f"{intact['wrong']} wrong of 30" in out
    assert "lesion.csv, lesion.json, lesion.pdf, lesion.svg, lesion.png" in out
    assert "30 images of digits (normalisation 'digits')" in out


def test_settings_say_how_to_make_the_table_again(capsys):
    run(capsys, *QUICK, "--seed", "3")
    settings = json.loads(Path("out/lesion.json").read_text(encoding="utf-8"))
    assert settings["command"] == "resnet-probe lesion " + " ".join((*QUICK, "--seed", "3"))
    assert settings["seed"] == 3
    assert settings["device"] == "cpu"
    assert len(settings["checkpoint_sha256"]) == len(settings["data_fingerprint"]) == 64
    about = settings["networks"]["tiny"]
    assert (about["arch"], about["normalization"]) == ("resnet14-w3", "digits")
    assert (about["checkpoint_sha256"], about["classes"]) == (settings["checkpoint_sha256"], 10)
    assert settings["checkpoint_sha256"].encode() in Path("out/lesion.png").read_bytes()


def test_the_same_run_gives_the_same_table(capsys):
    run(capsys, *QUICK)
    table = Path("out/lesion.csv").read_bytes()
    run(capsys, *QUICK[:-2], "--batch-size", "30", "--fresh")
    assert Path("out/lesion.csv").read_bytes() == table


def test_each_of_several_networks_says_which_images_it_was_measured_on(capsys):
    model = resolve("resnet8-w2")
    described = {"data": "fake", "normalize": "none", "input_size": 32}
    checkpoint.save(Path("other.safetensors"), model, arch="resnet8-w2", metadata=described)
    code, _, err = run(capsys, "--ckpt", "tiny.safetensors", "--ckpt", "other.safetensors", *QUICK[2:])
    assert (code, err) == (0, "")
    (table,) = read_run([Path("out")]).named("lesion")
    assert [table.images(name) for name in ("tiny", "other")] == ["digits", "fake"]
    prints = [table.about(name)["data_fingerprint"] for name in ("tiny", "other")]
    assert table.result.settings["data_fingerprint"] == ", ".join(prints)


def test_several_checkpoints_stand_in_one_table_as_they_do_alone(capsys):
    Path("twin.safetensors").write_bytes(Path("tiny.safetensors").read_bytes())
    run(capsys, *QUICK)
    alone = read(Path("out"), "lesion").rows
    words = ("--ckpt", "tiny.safetensors", "--ckpt", "twin.safetensors", *QUICK[2:-4], "--out", "both")
    code, _, err = run(capsys, *words, "--batch-size", "16")
    assert (code, err) == (0, "")
    both = read(Path("both"), "lesion")
    assert both.rows == tuple({**row, "network": name} for name in ("tiny", "twin") for row in alone)
    assert {path.name for path in Path("both").glob("*.journal")} == {"lesion.tiny.journal", "lesion.twin.journal"}
    assert both.about("twin")["arch"] == "resnet14-w3"


def test_a_table_of_another_network_is_not_lost(capsys):
    assert run(capsys, *QUICK)[0] == 0
    before = Path("out/lesion.csv").read_bytes()
    Path("out/lesion.journal").unlink()
    for more in ((), ("--multi", "1:2", "--draws", "1")):
        code, _, err = run(capsys, "--ckpt", "whole.pt", "--data", "digits", "--normalize", "half", *QUICK[2:], *more)
        assert code == 2
        assert is_one_line(err)
        assert "out holds lesion.csv of other networks" in err
    assert Path("out/lesion.csv").read_bytes() == before


def test_another_limit_replaces_a_finished_table(capsys):
    assert run(capsys, *QUICK)[0] == 0
    code, out, _ = run(capsys, *QUICK, "--limit", "17")
    assert code == 0
    assert "out/lesion.csv is of another --limit; it is replaced" in out
    assert {row["images"] for row in read(Path("out"), "lesion").rows} == {17}
    code, _, err = run(capsys, *QUICK, "--limit", "17", "--normalize", "half")
    assert code == 2
    assert "another normalisation" in err


def test_an_interrupted_run_of_another_limit_goes_on(capsys, monkeypatch):
    """Its table is still the earlier one's, and its journal is its own."""
    from resnet_probe.evaluate import Journal

    assert run(capsys, *QUICK)[0] == 0
    real, commits = Journal.commit, []

    def stops(self, rows):
        if len(commits) == 1:
            raise KeyboardInterrupt
        commits.append(real(self, rows))

    with monkeypatch.context() as patch:
        patch.setattr(Journal, "commit", stops)
        assert run(capsys, *QUICK, "--limit", "40")[0] == 130
    monkeypatch.setattr(Journal, "commit", lambda self, rows: commits.append(real(self, rows)))
    assert run(capsys, *QUICK, "--limit", "40")[0] == 0
    assert {row["images"] for row in read(Path("out"), "lesion").rows} == {40}
    assert len(commits) == 3  # of three shards of 16 images; the first one was kept


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        (("--recalibrate", "--recalibrate-split", "nowhere"), "nowhere"),
        (("--recalibrate", "--precision", "bf16"), "--recalibrate computes in fp32"),
        (("--multi", "1:2", "--recalibrate", "--precision", "bf16"), "--recalibrate computes in fp32"),
    ],
)
def test_a_mistake_about_recalibration_costs_no_sweep(capsys, words, problem):
    code, _, err = run(capsys, *QUICK, *words)
    assert (code, is_one_line(err)) == (2, True)
    assert problem in err
    assert not list(Path("out").glob("*.journal"))


@pytest.mark.parametrize("command", [("lesion", "--multi", "1:20"), ("reorder",), ("iterative",)])
def test_what_a_network_does_not_have_costs_no_pass_over_the_images(capsys, monkeypatch, command):
    def look(*_, **__):
        raise AssertionError("the images were measured")

    monkeypatch.setattr("resnet_probe.evaluate.baseline.baseline", look)
    words = ("--arch", "vgg11-w2", "--data", "fake", "--limit", "10", "--out", "out")
    code = main([*command, *words])
    assert (code, is_one_line(capsys.readouterr().err)) == (2, True)


def test_options_without_effect_are_refused(capsys):
    for words, problem in {
        ("--draws", "100"): "--draws given without --multi",  # the default too
        ("--recalibrate-limit", "5"): "--recalibrate-limit given without --recalibrate",
        ("--resizing",): "--resizing given without --multi",
    }.items():
        code, _, err = run(capsys, *QUICK, *words)
        assert (code, is_one_line(err)) == (2, True)
        assert problem in err


def test_quiet_prints_nothing(capsys):
    assert run(capsys, *QUICK, "--quiet") == (0, "", "")


def test_an_architecture_without_weights_can_be_lesioned(capsys):
    words = ("--arch", "vgg11-w2", "--data", "fake", "--limit", "10", "--out", "out", "--format", "png")
    code, _, err = run(capsys, *words)
    assert (code, err) == (0, "")
    rows = read(Path("out"), "lesion").rows
    assert [row["kind"] for row in rows] == [None, *["layer"] * 8]


def test_another_normalization_that_is_clearly_better_stops_the_run(capsys, monkeypatch):
    found = Baseline(1000, {"cifar10": 9.0, "imagenet": 7.4}, "imagenet")
    monkeypatch.setattr("resnet_probe.evaluate.baseline.baseline", lambda *_, **__: found)
    code, out, err = run(capsys, "--ckpt", "whole.pt", "--data", "digits", "--out", "out")
    assert (code, out) == (2, "")
    assert is_one_line(err)
    assert "with normalisation 'digits' whole has 9.0 % error on 1000 images, with 'imagenet' 7.4 %" in err
    assert "give --normalize imagenet (or --normalize digits to go on as it is)" in err


@pytest.mark.slow
def test_other_normalizations_are_tried_only_where_none_was_given(capsys, monkeypatch):
    asked = []

    def baseline(*_, others, **__):
        asked.append(others)
        return Baseline(30, {"digits": 50.0}, None)

    monkeypatch.setattr("resnet_probe.evaluate.baseline.baseline", baseline)
    common = ("--data", "digits", "--limit", "10", "--format", "png", "--out")
    _, out, _ = run(capsys, "--ckpt", "whole.pt", *common, "a")
    assert "no other known one is clearly better" in out
    _, out, _ = run(capsys, "--ckpt", "whole.pt", "--normalize", "half", *common, "b")
    assert "no other known one" not in out
    run(capsys, "--ckpt", "tiny.safetensors", *common, "c")  # the file says which
    assert asked == [True, False, False]


def test_a_network_that_guesses_is_noted(capsys):
    note = "that is about chance (90 %); check --data, --normalize and --arch"
    assert note in run(capsys, "--ckpt", "whole.pt", "--data", "digits", "--normalize", "digits", *QUICK[2:])[1]
    assert note not in run(capsys, *QUICK, "--fresh")[1]


# -- bad input: one line, the right exit code, and nothing is written -------------------------------------------------


@pytest.mark.parametrize("name", BAD_FILES)
def test_checkpoints_that_cannot_be_used(capsys, name):
    code, out, err = run(capsys, "--ckpt", name, "--data", "digits", "--out", "out")
    assert (code, out) == (2, "")
    assert is_one_line(err)
    assert BAD_FILES[name] in err
    assert not Path("out").exists()


TINY = ("--ckpt", "tiny.safetensors")


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        ([], "no network given; give --ckpt FILE or --arch NAME"),
        (["--arch", "resnet21", "--data", "fake"], "near 20 and 26"),
        (["--arch", "no.such:thing", "--data", "fake"], "cannot import 'no.such'"),
        (["--arch", "resnet8-w2"], "no images given; give --data digits, cifar10, cifar100, fake, a folder or f"),
        ([*TINY, "--data", "empty"], "folder empty is empty"),
        ([*TINY, "--data", "broken"], "cannot read image broken/a/2.png"),
        (
            [*TINY, "--data", "nowhere"],
            "no data 'nowhere': give digits, cifar10, cifar100, canvases, fake, a folder that exists or",
        ),
        ([*TINY, "--data", "two", "--normalize", "none"], "tiny has 10 classes and two has 2"),
        ([*TINY, "--data", "fake", "--normalize", "none"], "tiny takes images of 1 channels and fake has 3"),
        ([*TINY, "--split", "val"], "digits has no split 'val'"),
        ([*TINY, "--limit", "0"], "0 is not in the range x>=1"),
        ([*TINY, "--limit", "many"], "'many' is not a valid integer"),
        ([*TINY, "--batch-size", "0"], "0 is not in the range x>=1"),
        ([*TINY, "--normalize", "imagenett"], "unknown normalisation 'imagenett'"),
        ([*TINY, "--normalize", "imagenet"], "normalisation 'imagenet' is for 3 channels"),
        ([*TINY, "--device", "abacus"], "no device 'abacus' here"),
        ([*TINY, "--precision", "int3"], "'int3' is not one of"),
        ([*TINY, "--format", "tiff"], "tiff given; choose from pdf, svg, png"),
        ([*TINY, "--out", "text.pt"], "cannot write to the folder text.pt"),
        ([*TINY, "--out", "text.pt/inside"], "cannot write to the folder text.pt/inside"),
        ([*TINY, "--lmit", "3"], "No such option"),
        (["tiny.safetensors"], "unexpected extra argument"),
    ],
)
def test_wrong_use(capsys, words, problem):
    code, out, err = run(capsys, *words)
    assert (code, out) == (2, "")
    assert is_one_line(err)
    assert problem in err


@pytest.mark.skipif(os.geteuid() == 0, reason="the superuser may write everywhere")
def test_a_folder_without_permission_is_named(capsys):
    Path("closed").mkdir(mode=0o500)
    code, _, err = run(capsys, *TINY, "--out", "closed/out")
    assert code == 2
    assert is_one_line(err)
    assert "cannot write to the folder closed/out (Permission denied)" in err


def test_an_untraceable_network_is_one_line_that_names_the_line(capsys):
    code = """
import torch
class Net(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = torch.nn.Conv2d(3, 10, 3)
    def forward(self, x):
        if x.mean() > 0:
            return self.conv(x).mean((2, 3))
        return -self.conv(x).mean((2, 3))
"""
    Path("net.py").write_text(code, encoding="utf-8")
    status, _, err = run(capsys, "--arch", "net.py:Net", "--data", "fake", "--limit", "5", "--out", "out")
    assert status == 2
    assert is_one_line(err)
    assert "cannot trace Net: line 8 of " in err
    assert "net.py, `if x.mean() > 0:`, stopped it" in err


def test_a_network_with_nothing_to_delete_is_one_line(capsys):
    code = "import torch\ndef net():\n    return torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(3072, 10))\n"
    Path("net.py").write_text(code, encoding="utf-8")
    status, _, err = run(capsys, "--arch", "net.py:net", "--data", "fake", "--limit", "5", "--out", "out")
    assert status == 2
    assert is_one_line(err)
    assert "net.py:net has no residual blocks and no layer that an identity could replace" in err


def test_debug_shows_the_traceback(capsys):
    code, _, err = run(capsys, "--ckpt", "text.pt", "--data", "digits", "--debug")
    assert code == 2
    assert err.startswith("Traceback")
    assert err.splitlines()[-1].startswith("error: text.pt is no checkpoint")
