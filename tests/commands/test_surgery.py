import json
import re
from pathlib import Path

import pytest
import torch

from resnet_probe import checkpoint
from resnet_probe.claims import judge
from resnet_probe.claims.verdicts import CANNOT_SAY
from resnet_probe.cli import main
from resnet_probe.tables import read, read_run
from resnet_probe.unraveled import unravel
from tests.commands.running import ran
from tests.commands.subjects import BAD_FILES, is_one_line, write_bad, write_good
from tests.networks import images

SHAPE = (1, 8, 8)


@pytest.fixture(autouse=True)
def in_a_folder_with_a_checkpoint(tmp_path):
    write_good(tmp_path)


def run(capsys, *words, ckpt="tiny.safetensors"):
    return ran(capsys, "surgery", "--ckpt", ckpt, *words)


def outputs(path):
    with torch.no_grad():
        return checkpoint.load(path).model(images(4, SHAPE))


def expected(edits):
    net = unravel(checkpoint.load("tiny.safetensors").model, SHAPE)
    with torch.no_grad():
        return net.edit(edits)(images(4, SHAPE))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("words", "edits", "said"),
    [
        (["--delete", "layer2.1"], [{"delete": ["layer2.1"]}], "delete: layer2.1"),
        (["--delete", "layer1.0, layer2.1,"], [{"delete": ["layer1.0", "layer2.1"]}], "delete: layer1.0, layer2.1"),
        (["--delete", "layer1.0", "--delete", "conv1"], [{"delete": ["layer1.0", "conv1"]}], "layer1.0, conv1"),
        (["--scale", "layer1.0=0.5"], [{"scale": {"layer1.0": 0.5}}], "scale: layer1.0 x 0.5"),
        (
            ["--scale", "layer1.0=2", "--scale", "layer3.1 = -1e-1"],
            [{"scale": {"layer1.0": 2, "layer3.1": -0.1}}],
            "x 2",
        ),
        (["--reorder", "layer1.1,layer1.0"], [{"reorder": ["layer1.1", "layer1.0"]}], "reorder: layer1.1, layer1.0"),
        (
            ["--reorder", "layer1.1,layer1.0", "--scale", "layer1.0=3", "--delete", "layer3.1"],
            [{"delete": ["layer3.1"]}, {"scale": {"layer1.0": 3}}, {"reorder": ["layer1.1", "layer1.0"]}],
            "delete: layer3.1",
        ),
    ],
)
def test_what_is_written_loads_again_bit_for_bit(capsys, words, edits, said):
    code, out, err = run(capsys, *words, "--out", "edited.safetensors")
    assert (code, err) == (0, "")
    assert said in out
    assert "tiny, edited" in out
    assert "edited.safetensors, edited.recipe.json" in out
    assert torch.equal(outputs("edited.safetensors"), expected(edits))
    recipe = json.loads(Path("edited.recipe.json").read_text(encoding="utf-8"))
    assert recipe["edits"] == edits
    assert recipe["source"]["name"] == "tiny"


def test_the_parameters_that_are_saved_are_counted(capsys):
    _, out, _ = run(capsys, "--delete", "layer2.1", "--out", "edited")
    before = checkpoint.load("tiny.safetensors").model
    gone = sum(parameter.numel() for parameter in before.layer2[1].parameters())
    total = sum(parameter.numel() for parameter in before.parameters())
    assert f"{total:,} -> {total - gone:,}" in out


def test_the_file_works_in_every_command_and_a_second_time(capsys):
    run(capsys, "--delete", "layer2.1", "--scale", "layer1.0=0.3", "--out", "first")
    code, out, err = run(
        capsys, "--scale", "layer1.0=0.7", "--delete", "layer3.0", "--out", "second", ckpt="first.safetensors"
    )
    assert (code, err) == (0, "")
    assert "first, edited" in out
    both = [
        *[{"delete": ["layer2.1"]}, {"scale": {"layer1.0": 0.3}}],
        *[{"delete": ["layer3.0"]}, {"scale": {"layer1.0": 0.7}}],
    ]
    assert torch.equal(outputs("second.safetensors"), expected(both))
    assert json.loads(Path("second.recipe.json").read_text(encoding="utf-8"))["edits"] == both
    assert main(["inspect", "second.safetensors"]) == 0
    assert re.search(r"residual blocks +4 in", capsys.readouterr().out)
    lesion = ["lesion", "--ckpt", "second.safetensors", "--limit", "20", "--format", "png", "--out", "out"]
    assert main(lesion) == 0
    out = capsys.readouterr().out
    assert "over 4 single deletions" in out
    assert "an edited resnet14-w3: deleted layer2.1; layer1.0 scaled by 0.3; deleted layer3.0" in " ".join(out.split())
    about = read(Path("out"), "lesion").about("second")
    assert about["edits"] == both
    assert any(note.startswith("an edited resnet14-w3: deleted layer2.1") for note in about["notes"])
    judged = judge(read_run(["out"])).rows
    assert {row["verdict"] for row in judged} == {CANNOT_SAY}
    assert any("edited before it was measured" in row["why"] for row in judged)
    assert main(["report", "--run", "out", "-q"]) == 0
    assert "second</span> is an edited resnet14-w3: deleted layer2.1" in Path("out/report.html").read_text("utf-8")


def test_the_size_of_the_images_is_asked_for_where_nothing_says_it(capsys):
    write_bad(Path())
    words = ["--delete", "layer1.0", "--out", "edited"]
    code, _, err = run(capsys, *words, ckpt="whole.pt")
    assert code == 2
    assert is_one_line(err)
    assert "the size of the images that whole is made for is not known; give --size N" in err
    assert run(capsys, *words, "--size", "8", ckpt="whole.pt")[0] == 0
    assert checkpoint.load("edited.safetensors").input_size == 8


@pytest.mark.slow
def test_the_file_is_written_in_other_forms_too(capsys):
    words = ["--delete", "layer2.1", "--export", "pt2", "--export", "pt2", "--out", "edited"]
    code, out, err = run(capsys, *words)
    assert (code, err) == (0, "")
    assert "edited.safetensors, edited.recipe.json, edited.pt2" in out
    model = torch.export.load("edited.pt2").module()
    with torch.no_grad():
        for count in (1, 5):
            x = images(count, SHAPE)
            assert torch.allclose(model(x), checkpoint.load("edited.safetensors").model(x), atol=1e-5)


def test_a_form_that_cannot_hold_the_network_is_refused_before_anything_is_written(capsys):
    words = ["--delete", "layer2.1", "--export", "pt2", "--export", "state_dict", "--out", "edited"]
    code, _, err = run(capsys, *words)
    assert code == 2
    assert is_one_line(err)
    assert "neither torchvision nor timm can build" in err
    assert not list(Path().glob("edited*"))


@pytest.mark.parametrize(("form", "file"), [("pt2", "edited.pt2"), ("state_dict", "edited.py")])
def test_another_form_is_written_over_by_the_same_checkpoint_only(capsys, form, file):
    Path(file).write_text("somebody's")
    code, _, err = run(capsys, "--delete", "layer2.1", "--export", form, "--out", "edited")
    assert code == 2
    assert f"{file} is there and was not made from tiny.safetensors" in err
    assert Path(file).read_text() == "somebody's"
    assert not Path("edited.safetensors").exists()


def test_quiet_prints_nothing(capsys):
    assert run(capsys, "--delete", "layer2.1", "--out", "edited", "--quiet") == (0, "", "")
    assert Path("edited.safetensors").exists()


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        ([], "nothing to do; give --delete BLOCK, --scale BLOCK=F, --reorder BLOCK,BLOCK or --export"),
        (["--delete", ","], "nothing to do"),
        (["--delete", "layer2.7"], "no block or layer named 'layer2.7': did you mean layer2.1"),
        (["--delete", "relu"], "no block or layer named 'relu'"),
        (["--scale", "layer2.7=1"], "no block or layer named 'layer2.7': did you mean layer2.1"),
        (["--scale", "layer2.1"], "--scale layer2.1: give BLOCK=FACTOR, such as layer2.3=0.5"),
        (["--scale", "=2"], "--scale =2: give BLOCK=FACTOR"),
        (["--scale", "layer2.1=much"], "--scale layer2.1=much: give BLOCK=FACTOR"),
        (["--scale", "layer2.1=inf"], "the factor of layer2.1 is inf; it must be a finite number"),
        (["--scale", "fc=2"], "no block or layer named 'fc'"),
        (["--scale", "conv1=2"], "conv1 is no residual block, so it has no branch to scale"),
        (["--delete", "layer2.1", "--scale", "layer2.1=0.5"], "layer2.1 is deleted and scaled"),
        (["--reorder", "layer2.0,layer3.1"], "are in this order already"),
        (["--reorder", "layer1.0,layer1.0"], "a block is named twice in the order"),
        (["--reorder", "layer3.1,layer1.1"], "layer3.1 maps (12, 2, 2) to (12, 2, 2) and cannot stand in the place of"),
    ],
)
def test_edits_that_cannot_be_made_are_one_line_and_write_nothing(capsys, words, problem):
    code, out, err = run(capsys, *words, "--out", "edited")
    assert (code, out) == (2, "")
    assert is_one_line(err)
    assert problem in err
    assert [path.name for path in Path().iterdir()] == ["tiny.safetensors"]


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        (["--ckpt", "tiny.safetensors", "--delete", "layer2.1"], "Missing option '--out'"),
        (["--arch", "resnet8", "--delete", "layer2.1", "--out", "x"], "no checkpoint given; give --ckpt FILE"),
        (
            ["--ckpt", "tiny.safetensors", "--delete", "layer2.1", "--out", "folder"],
            "--out folder is a folder; give the",
        ),
        (["--ckpt", "tiny.safetensors", "--delete", "layer2.1", "--out", "file/x"], "cannot write file/x.safetensors"),
        (["--ckpt", "tiny.safetensors", "--delete", "layer2.1", "--out", "x.pth"], "give a name such as x.safetensors"),
        (
            ["--ckpt", "tiny.safetensors", "--delete", "layer2.1", "--out", "tiny.safetensors"],
            "tiny.safetensors is there and was not made from tiny.safetensors; give another --out, or remove it",
        ),
    ],
)
def test_places_that_cannot_be_written_are_one_line(capsys, words, problem):
    Path("folder").mkdir()
    Path("file").touch()
    code = main(["surgery", *words])
    out, err = capsys.readouterr()
    assert (code, out) == (2, "")
    assert is_one_line(err)
    assert problem in err


@pytest.mark.parametrize("name", BAD_FILES)
def test_checkpoints_that_cannot_be_used(capsys, name):
    write_bad(Path())
    code, out, err = run(capsys, "--delete", "layer2.1", "--out", "edited", ckpt=name)
    assert (code, out) == (2, "")
    assert is_one_line(err)
    assert BAD_FILES[name] in err
    assert not Path("edited.safetensors").exists()


def test_what_was_deleted_before_cannot_be_deleted_again(capsys):
    run(capsys, "--delete", "layer2.1", "--out", "first")
    code, _, err = run(capsys, "--delete", "layer2.1", "--out", "second", ckpt="first.safetensors")
    assert code == 2
    assert is_one_line(err)
    assert "layer2.1 was deleted from first before" in err


def test_a_file_is_written_over_by_the_same_checkpoint_only(capsys):
    assert run(capsys, "--delete", "layer2.1", "--out", "first")[0] == 0
    assert run(capsys, "--delete", "layer2.1", "--out", "first")[0] == 0
    assert run(capsys, "--delete", "layer3.0", "--out", "second", ckpt="first.safetensors")[0] == 0
    before = Path("second.safetensors").read_bytes()
    assert run(capsys, "--delete", "layer2.1", "--out", "second")[0] == 2
    assert run(capsys, "--delete", "layer1.0", "--out", "first", ckpt="first.safetensors")[0] == 2
    assert Path("second.safetensors").read_bytes() == before


def test_an_edited_network_keeps_its_history(capsys):
    words = ["--delete", "layer3.1", "--scale", "layer1.1=0.5"]
    assert run(capsys, *words, "--out", "edited.safetensors")[0] == 0
    assert main(["lesion", "--ckpt", "edited.safetensors", "--data", "digits", "--limit", "20", "--out", "run"]) == 0
    (settings,) = json.loads(Path("run/lesion.json").read_text(encoding="utf-8"))["networks"].values()
    assert settings["edits"] == [{"delete": ["layer3.1"]}, {"scale": {"layer1.1": 0.5}}]
    told = "deleted layer3.1; layer1.1 scaled by 0.5"
    assert any(told in note for note in settings["notes"])
    capsys.readouterr()
    assert main(["inspect", "edited.safetensors"]) == 0
    assert told in capsys.readouterr().out


@pytest.mark.slow
def test_an_edited_network_is_exported_as_it_is(capsys):
    assert run(capsys, "--delete", "layer1.0", "--out", "once.safetensors")[0] == 0
    assert run(capsys, "--export", "pt2", "--out", "again.safetensors", ckpt="once.safetensors")[0] == 0
    assert torch.equal(outputs("again.safetensors"), outputs("once.safetensors"))
    shipped = torch.export.load("again.pt2").module()(images(4, SHAPE))
    torch.testing.assert_close(shipped, outputs("once.safetensors"))
