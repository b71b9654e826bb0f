"""`resnet-probe evaluate` as a person types it."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from resnet_probe.checkpoint import save
from resnet_probe.cli import main
from resnet_probe.models import resolve
from resnet_probe.tables import read
from tests.commands.running import ran
from tests.commands.subjects import is_one_line, write_good

SHARED = Path(__file__).parents[3] / "shared"


def run(capsys, *words):
    return ran(capsys, "evaluate", *words)


def test_two_checkpoints_all_views_and_the_ensemble(capsys):
    files = [write_good(Path(), name=name, arch=arch) for name, arch in (("one", "resnet8-w4"), ("two", "resnet14-w3"))]
    words = [word for file in files for word in ("--ckpt", file)]
    code, out, err = run(
        capsys, *words, "--ten-crop", "--scales", "auto", "--ensemble", "--limit", 60, "--out", "run", "--format", "svg"
    )
    assert (code, err) == (0, "")
    stems = ("evaluate", "evaluate_classes", "evaluate_reliability")
    assert {path.name for path in Path("run").iterdir()} == {
        f"{stem}.{end}" for stem in stems for end in ("csv", "json", "svg")
    }
    table = read(Path("run"), "evaluate")
    assert [row["network"] for row in table.rows] == ["one"] * 3 + ["two"] * 3 + ["(ensemble)"] * 3
    assert [row["view"] for row in table.rows[:3]] == ["single", "ten-crop", "multi-scale"]
    assert [row["inputs"] for row in table.rows[:3]] == [1, 10, 5]
    assert table.settings["views"]["ten-crop"] == {"crop": 8, "padding": 1}
    assert table.settings["views"]["multi-scale"] == {"scales": [6, 7, 8, 9, 10]}
    assert table.settings["members"] == ["one", "two"]
    assert len(table.settings["checkpoint_sha256"].split(", ")) == 2
    assert "(ensemble)\n" in out
    assert out.count("ten-crop ") >= 3
    assert len(read(Path("run"), "evaluate_classes").rows) == 9 * 10
    assert main(["replot", "--run", "run", "--out", "again", "--format", "svg", "-q"]) == 0
    for stem in stems:
        assert Path("again", f"{stem}.svg").read_bytes() == Path("run", f"{stem}.svg").read_bytes()


def test_single_view_agrees_with_the_lesion_command(capsys):
    file = write_good(Path())
    assert run(capsys, "--ckpt", file, "--limit", 80, "--format", "svg", "--out", "run")[0] == 0
    assert main(["lesion", "--ckpt", str(file), "--limit", "80", "--format", "svg", "--out", "cut", "-q"]) == 0
    ours, theirs = read(Path("run"), "evaluate").rows[0], read(Path("cut"), "lesion").rows[0]
    assert (ours["wrong"], ours["top1_low"]) == (theirs["wrong"], theirs["error_low"])
    assert ours["loss"] == pytest.approx(theirs["loss"], rel=1e-4)


def write_photos(folder):
    """Images larger than the network's input, of several sizes."""
    generator = np.random.default_rng(0)
    for label in ("a", "b"):
        for number in range(3):
            (folder / label).mkdir(parents=True, exist_ok=True)
            pixels = generator.integers(0, 256, (40 + number, 50, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(folder / label / f"{number}.png")


def write_color(path, normalize="none", **metadata):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = resolve("resnet8-w2", num_classes=2)
    return save(path, model, arch="resnet8-w2", metadata={"input_size": 28, "normalize": normalize, **metadata})


def test_ten_crops_of_a_folder_come_from_the_whole_shorter_side(capsys):
    write_photos(Path("photos"))
    file = write_color(Path("net.safetensors"))
    code, _, err = run(capsys, "--ckpt", file, "--data", "photos", "--ten-crop", "--out", "run", "--format", "svg")
    assert (code, err) == (0, "")
    views = read(Path("run"), "evaluate").settings["views"]
    assert views == {"single": {"crop": 28}, "ten-crop": {"crop": 28, "padding": 0}}  # of squares of 32
    assert run(capsys, "--ckpt", file, "--data", "photos", "--out", "plain", "--format", "svg")[0] == 0
    single, alone = (read(Path(name), "evaluate").rows[0] for name in ("run", "plain"))
    assert single["loss"] == pytest.approx(alone["loss"], rel=1e-5)  # cut before or after: the same pixels


def test_crop_smaller_than_the_images(capsys):
    file = write_good(Path())
    assert (
        run(capsys, "--ckpt", file, "--ten-crop", "--crop", 6, "--limit", 40, "--out", "run", "--format", "svg")[0] == 0
    )
    assert read(Path("run"), "evaluate").settings["views"]["ten-crop"] == {"crop": 6, "padding": 0}


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--ckpt", "not-a-network.txt", "--ensemble"), "--ensemble given with 1 checkpoints; give 2 or more"),
        (("--ckpt", "tiny.safetensors", "--ten-crop", "--crop", "9"), "--crop 9 of images of 8 pixels; give at most 8"),
        (("--ckpt", "tiny.safetensors", "--scales", "8,x"), "'8,x' given; give auto"),
        (("--ckpt", "tiny.safetensors", "--ckpt", "tiny.safetensors"), "the same checkpoint given twice"),
        (("--ckpt", "tiny.safetensors", "--ckpt", "b.safetensors", "--arch", "resnet8"), "--arch says what one"),
        (("--ckpt", "tiny.safetensors", "--ckpt", "b.safetensors"), "other images"),
        ((), "no network given"),
    ],
)
def test_wrong_use(capsys, words, message):
    write_good(Path())
    write_color(Path("b.safetensors"), data="photos")
    write_photos(Path("photos"))
    Path("not-a-network.txt").write_text("is not read", encoding="utf-8")
    code, _, err = run(capsys, *words)
    assert code == 2
    assert is_one_line(err)
    assert message in err


def test_an_untrained_network(capsys):
    code, out, _ = run(
        capsys, "--arch", "resnet8-w2", "--data", "fake", "--limit", 20, "--format", "svg", "--out", "run"
    )
    assert code == 0
    assert "the weights are random" in out
    assert (
        json.loads(Path("run/evaluate.json").read_text(encoding="utf-8"))["networks"]["resnet8-w2"]["arch"]
        == "resnet8-w2"
    )


UNTRACEABLE = """
import torch
from torch import nn

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(3072, 10)

    def forward(self, x):
        return self.fc(x.flatten(1)) * (2 if x.mean() > 0 else 1)
"""


def test_a_network_that_cannot_be_traced_is_run_as_it_is(capsys):
    Path("net.py").write_text(UNTRACEABLE, encoding="utf-8")
    code, _, err = run(
        capsys, "--arch", "net.py:Net", "--data", "fake", "--limit", 20, "--format", "svg", "--out", "run"
    )
    assert (code, err) == (0, "")
    assert read(Path("run"), "evaluate").rows[0]["images"] == 20


@pytest.mark.real
@pytest.mark.slow
@pytest.mark.skipif(not (SHARED / "checkpoints").is_dir(), reason="needs ../shared/checkpoints and ../shared/data")
def test_known_errors_of_two_checkpoints(capsys):
    files = ("resnet20-12fca82f.th", "resnet56-4bfd9763.th")
    words = [word for name in files for word in ("--ckpt", SHARED / "checkpoints" / name)]
    words += ["--data", SHARED / "data" / "cifar10", "--normalize", "imagenet", "--ensemble", "--format", "svg"]
    assert run(capsys, *words, "--out", "run")[0] == 0
    rows = read(Path("run"), "evaluate").rows
    assert [row["wrong"] for row in rows] == [85, 74, 69]
    assert all(row["images"] == 1000 for row in rows)
