"""Data of one's own and class maps on the command line."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from resnet_probe import checkpoint
from resnet_probe.commands.request import Request
from resnet_probe.commands.session import Session
from resnet_probe.models import resolve
from tests.commands.running import ran
from tests.commands.subjects import write_good
from tests.networks import trained

CODE = """
import torch
from torch import nn
from resnet_probe.data import load_data

def digits(split):
    data = load_data("digits", split=split, limit=60)
    return zip(data.images, data.labels)

def spectra():
    generator = torch.Generator().manual_seed(0)
    return torch.randn(40, 2, 16, generator=generator), torch.arange(40) % 3

class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.branch = nn.Sequential(nn.Conv1d(4, 4, 3, padding=1), nn.ReLU())

    def forward(self, x):
        return x + self.branch(x)

def net():
    torch.manual_seed(1)
    return nn.Sequential(nn.Conv1d(2, 4, 3), Block(), Block(), nn.AdaptiveAvgPool1d(1), nn.Flatten(), nn.Linear(4, 3))
"""
NAMES = [f"class{number}" for number in range(10)]
FOLDERS = ("class7", "class2", "class4")


@pytest.fixture(autouse=True)
def files(tmp_path):
    (tmp_path / "mine.py").write_text(CODE)


def rows(path):
    with Path(path).open() as file:
        return list(csv.DictReader(file))


def test_a_table_of_ones_own_digits_is_that_of_the_digits(tmp_path, capsys):
    write_good(tmp_path)
    for name, data in (("named", ("digits", "--limit", "60")), ("own", ("mine.py:digits",))):
        code, out, err = ran(
            capsys, "lesion", "--ckpt", "tiny.safetensors", "--data", *data, "--format", "svg", "--out", name
        )
        assert code == 0, err
        assert "of mine.py:digits" in out or name == "named"
    assert Path("own/lesion.csv").read_text() == Path("named/lesion.csv").read_text()
    settings = json.loads(Path("own/lesion.json").read_text())
    assert settings["networks"]["tiny"]["data_set"]["name"] == "mine.py:digits"
    assert settings["networks"]["tiny"]["normalization"] == "digits"


def test_inputs_that_are_no_images_are_measured_as_they_are(tmp_path, capsys, monkeypatch):
    code, _, err = ran(
        capsys, "lesion", "--arch", "mine.py:net", "--data", "mine.py:spectra", "--format", "svg", "--out", "out"
    )
    assert code == 0, err
    table = rows("out/lesion.csv")
    monkeypatch.syspath_prepend(str(tmp_path))
    import mine

    x, y = mine.spectra()
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = mine.net().eval()
    for block, row in zip((None, 1, 2), table, strict=True):
        layers = [layer for number, layer in enumerate(model) if number != block]
        with torch.no_grad():
            assert int(row["wrong"]) == int((torch.nn.Sequential(*layers)(x).argmax(1) != y).sum())


@pytest.mark.parametrize(("trained_on", "expected"), [("mine.py:spectra", "-8;1"), ("cifar10", "none"), (None, "none")])
def test_floats_are_normalised_only_for_a_network_that_was_trained_on_them(tmp_path, trained_on, expected):
    metadata = {"normalize": "-8;1", "input_size": 8, **({"data": trained_on} if trained_on else {})}
    checkpoint.save(tmp_path / "net.safetensors", resolve("resnet8-w2"), arch="resnet8-w2", metadata=metadata)
    session = Session()
    data = session.images(session.load(Path("net.safetensors")), Request(data="mine.py:spectra"))
    assert data.normalization == expected


def test_code_that_a_checkpoint_names_is_not_run(tmp_path, capsys):
    (tmp_path / "evil.py").write_text("from pathlib import Path\nPath('ran').touch()\n\ndef data(): pass\n")
    write_good(tmp_path, data="evil.py:data")
    for command in ("lesion", "evaluate", "compare"):
        code, out, err = ran(capsys, command, "--ckpt", "tiny.safetensors")
        assert (code, out) == (2, "")
        assert "names its data evil.py:data, which is code; if you trust it, give --data evil.py:data" in err
    assert not Path("ran").exists()


@pytest.fixture
def some(tmp_path):
    """A network of ten classes, and a folder of images of three of them."""
    generator = np.random.default_rng(0)
    for number in range(30):
        path = tmp_path / "some" / FOLDERS[number % 3] / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(generator.integers(0, 256, (8, 8, 3), dtype=np.uint8)).save(path)
    model = trained(lambda: resolve("resnet14-w3"))

    def save(**metadata):
        described = {"normalize": "none", "input_size": 8, **metadata}
        return checkpoint.save(tmp_path / "net.safetensors", model, arch="resnet14-w3", metadata=described)

    return model, save


def test_some_classes_of_a_network_are_measured_over_all_of_its_outputs(capsys, some):
    model, save = some
    save()
    Path("names.txt").write_text("\n".join(NAMES))
    words = ("--ckpt", "net.safetensors", "--data", "some", "--classes", "names.txt", "--format", "svg", "--out", "out")
    code, out, err = ran(capsys, "evaluate", *words)
    assert code == 0, err
    assert "some has 3 of the 10 classes of net" in out + err
    wrong = {}
    for name in sorted(FOLDERS):
        pixels = [np.asarray(Image.open(path)) for path in Path("some", name).iterdir()]
        x = torch.from_numpy(np.stack(pixels)).permute(0, 3, 1, 2) / 255
        with torch.no_grad():
            wrong[name] = int((model(x).argmax(1) != int(name[5:])).sum())
    assert [(row["class"], int(row["index"]), int(row["wrong"])) for row in rows("out/evaluate_classes.csv")] == [
        (name, int(name[5:]), wrong[name]) for name in sorted(FOLDERS)
    ]
    assert int(rows("out/evaluate.csv")[0]["wrong"]) == sum(wrong.values())
    settings = json.loads(Path("out/evaluate.json").read_text())
    assert settings["classes"] == 10
    assert settings["networks"]["net"]["data_set"]["classes"] == 3


def test_a_map_of_folders_and_a_network_that_knows_its_classes_give_the_same_labels(some):
    Path("map.json").write_text(json.dumps({name: int(name[5:]) for name in FOLDERS}))
    for known, path in ((None, Path("map.json")), (NAMES, None)):
        session = Session()
        one = session.load(some[1](**({"classes": known} if known else {})))
        data = session.images(one, Request(data="some", classes=path))
        assert data.labels.tolist() == [2] * 10 + [4] * 10 + [7] * 10
        assert [data.classes[label] for label in (2, 4, 7)] == sorted(FOLDERS)
        assert len(data.classes) == 10


def test_without_a_map_the_mismatch_says_how_to_give_one(tmp_path, capsys, some):
    some[1]()
    code, _, err = ran(capsys, "lesion", "--ckpt", "net.safetensors", "--data", "some")
    assert code == 2
    assert "net has 10 classes and some has 3; give the data the network was trained for, or --classes FILE" in err
