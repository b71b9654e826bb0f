"""The main job on checkpoints that others trained; needs ../shared, of which nothing is in this repository.

The oracles share no code with the package: networks are written out below with plain torch, images are read with PIL,
and a block is deleted by replacing its forward.
"""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from torch import nn

from resnet_probe.cli import main
from resnet_probe.tables import read

SHARED = Path(__file__).parents[2] / "shared"
pytestmark = [
    pytest.mark.real,
    pytest.mark.skipif(not (SHARED / "checkpoints").is_dir(), reason="needs ../shared/checkpoints and ../shared/data"),
]
DATA = SHARED / "data" / "cifar10"
RESNET20, RESNET56, VGG = (
    SHARED / "checkpoints" / name for name in ("resnet20-12fca82f.th", "resnet56-4bfd9763.th", "vgg16_half_jpeg.pth")
)


@pytest.fixture(scope="module")
def images():
    """CIFAR-10 test images, normalised as ImageNet's, and labels: (1000, 3, 32, 32), (1000,)."""
    folders = sorted((DATA / "test").iterdir())
    files = [(path, label) for label, folder in enumerate(folders) for path in sorted(folder.iterdir())]
    pixels = np.stack([np.asarray(Image.open(path).convert("RGB")) for path, _ in files]).astype(np.float32) / 255
    pixels = (pixels - np.float32([0.485, 0.456, 0.406])) / np.float32([0.229, 0.224, 0.225])
    return torch.from_numpy(pixels.transpose(0, 3, 1, 2).copy()), torch.tensor([label for _, label in files])


def state(path):
    """The weights of a file, without the package."""
    found = torch.load(path, map_location="cpu", weights_only=True)
    found = found.get("state_dict", found)
    return {name.removeprefix("module."): tensor for name, tensor in found.items()}


def wrong(model, images):
    pixels, labels = images
    with torch.inference_mode():
        return sum(
            int((model(x).argmax(1) != y).sum()) for x, y in zip(pixels.split(100), labels.split(100), strict=True)
        )


# -- ResNets, written out ---------------------------------------------------------------------------------------------


class Block(nn.Module):
    """He 2015, Fig. 2, with option A: every second pixel, zero channels half before and half after."""

    def __init__(self, inputs, outputs, stride):
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.stride, self.added = stride, outputs - inputs

    def shortcut(self, x):
        if self.stride == 1:
            return x
        return F.pad(x[:, :, :: self.stride, :: self.stride], (0, 0, 0, 0, self.added // 2, self.added // 2))

    def forward(self, x):
        branch = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x)))))
        return F.relu(branch + self.shortcut(x))


class ResNet(nn.Module):
    def __init__(self, blocks):
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(3, 16, 3, 1, 1, bias=False), nn.BatchNorm2d(16)
        for stage, (inputs, outputs) in enumerate(((16, 16), (16, 32), (32, 64)), 1):
            shapes = [(inputs, outputs, 1 if stage == 1 else 2), *[(outputs, outputs, 1)] * (blocks - 1)]
            setattr(self, f"layer{stage}", nn.Sequential(*(Block(*shape) for shape in shapes)))
        self.linear = nn.Linear(64, 10)

    def forward(self, x):
        x = F.relu(self.bn1(self.conv1(x)))
        x = self.layer3(self.layer2(self.layer1(x)))
        return self.linear(x.mean((2, 3)))


def loop_over_blocks(path, blocks, images, every=1):
    """Wrong predictions of the intact network, then with the forward of each n-th block replaced by its shortcut."""
    model = ResNet(blocks).eval()
    model.load_state_dict(state(path))
    counts = {"(intact)": wrong(model, images)}
    for stage in (1, 2, 3):
        for index, block in list(enumerate(getattr(model, f"layer{stage}")))[::every]:
            block.forward = lambda x, shortcut=block.shortcut: F.relu(shortcut(x))
            counts[f"layer{stage}.{index}"] = wrong(model, images)
            del block.forward
    return counts


# -- VGG, written out -------------------------------------------------------------------------------------------------

WIDTHS = (32, 32, "M", 64, 64, "M", 128, 128, 128, "M", 256, 256, 256, "M", 256, 256, 256, "M")


def vgg(weights, x, gone=None):
    """VGG-16 with batch norm; the layer `gone` is replaced by an identity that keeps or adds channels."""
    index, layer = 0, 0
    for width in WIDTHS:
        if width == "M":
            x = F.max_pool2d(x, 2)
            index += 1
            continue
        if layer == gone:
            missing = width - x.shape[1]
            x = F.pad(x, (0, 0, 0, 0, missing // 2, missing - missing // 2))
        else:
            x = F.conv2d(x, weights[f"features.{index}.weight"], weights.get(f"features.{index}.bias"), padding=1)
            norm = {name: weights[f"features.{index + 1}.{name}"] for name in ("running_mean", "running_var")}
            x = F.batch_norm(
                x, **norm, weight=weights[f"features.{index + 1}.weight"], bias=weights[f"features.{index + 1}.bias"]
            )
            x = F.relu(x)
        layer, index = layer + 1, index + 3
    (name,) = [name for name in weights if name.startswith("classifier") and name.endswith("weight")]
    return F.linear(x.flatten(1), weights[name], weights[name.replace("weight", "bias")])


def loop_over_layers(path, images):
    weights = state(path)
    positions = [i for i in range(len(WIDTHS)) if WIDTHS[i] != "M"]
    names = [f"features.{3 * sum(w != 'M' for w in WIDTHS[:i]) + WIDTHS[:i].count('M')}" for i in positions]
    gone = dict(zip(["(intact)", *names], [None, *range(13)], strict=True))
    return {name: wrong(lambda x, layer=layer: vgg(weights, x, layer), images) for name, layer in gone.items()}


# -- lesion -----------------------------------------------------------------------------------------------------------


def lesion(folder, path, capsys, *words):
    where = ["--data", str(DATA), "--split", "test", "--out", str(folder), "--format", "png"]
    code = main(["lesion", "--ckpt", str(path), *where, *words])
    out, err = capsys.readouterr()
    return code, out, err


def test_resnet20_lesion_by_lesion(tmp_path, capsys, images):
    code, _, err = lesion(tmp_path, RESNET20, capsys, "--normalize", "imagenet")
    assert (code, err) == (0, "")
    rows = read(tmp_path, "lesion").rows
    found = {row["block"]: row["wrong"] for row in rows}
    assert found == loop_over_blocks(RESNET20, 3, images)
    assert found["(intact)"] == 85
    assert len(rows) == 1 + 9
    assert {row["images"] for row in rows} == {1000}
    settings = json.loads((tmp_path / "lesion.json").read_text(encoding="utf-8"))
    assert settings["checkpoint_sha256"].startswith("12fca82f")
    (network,) = settings["networks"].values()
    assert (network["arch"], network["normalization"]) == ("resnet20", "imagenet")


@pytest.mark.slow
def test_resnet56_lesion_by_lesion(tmp_path, capsys, images):
    code, _, err = lesion(tmp_path, RESNET56, capsys, "--normalize", "imagenet", "--limit", "200")
    assert (code, err) == (0, "")
    rows = read(tmp_path, "lesion").rows
    found = {row["block"]: row["wrong"] for row in rows}
    looped = loop_over_blocks(RESNET56, 9, first(images, 20), every=4)
    assert len(looped) == 1 + 9
    assert looped.items() <= found.items()
    assert len(rows) == 1 + 27
    assert [row["block"] for row in rows if row["resizes"]] == ["layer2.0", "layer3.0"]
    assert {row["shortcut"] for row in rows if row["resizes"]} == {"zero-pad"}


@pytest.mark.slow
def test_vgg16_lesion_by_lesion(tmp_path, capsys, images):
    code, _, err = lesion(tmp_path, VGG, capsys, "--normalize", "imagenet", "--limit", "200")
    assert (code, err) == (0, "")
    intact, *rows = read(tmp_path, "lesion").rows
    looped = loop_over_layers(VGG, first(images, 20))
    assert {row["block"]: row["wrong"] for row in (intact, *rows)} == looped
    assert len(rows) == 13
    assert all(row["wrong"] > 160 for row in rows)  # chance: 180
    assert {row["kind"] for row in rows} == {"layer"}


def first(images, number):
    """The first images of each class, which `--limit` keeps."""
    pixels, labels = images
    kept = torch.cat([torch.nonzero(labels == label)[:number, 0] for label in range(10)])
    return pixels[kept], labels[kept]


def test_the_right_normalization_is_found_or_named(tmp_path, capsys):
    """A folder's default is ImageNet's normalisation, with which these networks were trained."""
    code, out, err = lesion(tmp_path / "a", RESNET20, capsys, "--limit", "200")
    assert (code, err) == (0, "")
    assert "normalisation 'imagenet', no other known one is clearly better" in out
    code, _, err = lesion(tmp_path / "b", RESNET20, capsys, "--normalize", "cifar10", "--limit", "200")
    assert code == 0  # as told


def test_a_wrong_normalization_stops_the_run_and_names_a_good_one(tmp_path, capsys, monkeypatch, images):
    monkeypatch.setattr("resnet_probe.data.load_data", with_default("none"))
    code, out, err = lesion(tmp_path, RESNET20, capsys, "--limit", "300")
    assert (code, out) == (2, "")
    assert err.count("\n") == 1
    model = ResNet(3).eval()
    model.load_state_dict(state(RESNET20))
    pixels, labels = first(images, 30)
    mean, deviation = (torch.tensor(each)[:, None, None] for each in ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]))
    error = 100 * wrong(model, (pixels * deviation + mean, labels)) / 300
    assert f"with normalisation 'none' resnet20-12fca82f has {error:.3g} % error on 300 images, with " in err
    assert any(f"give --normalize {name} " in err for name in ("imagenet", "cifar10", "cifar100"))  # all near 8 %
    assert not (tmp_path / "lesion.csv").exists()


def with_default(normalization):
    """`load_data` as if the folder's default were another."""
    from resnet_probe.data import load_data

    def load(spec, *, normalize=None, **options):
        return load_data(spec, normalize=normalize or normalization, **options)

    return load


# -- inspect and surgery ----------------------------------------------------------------------------------------------


def test_inspect_reads_the_network_from_the_weights(capsys):
    assert main(["inspect", str(RESNET56)]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    assert "residual blocks  27 in 3 stages" in out
    assert "parameters       853,018" in out
    assert main(["inspect", str(VGG)]) == 0
    assert "residual blocks  none" in capsys.readouterr().out


def test_surgery_saves_what_the_lesion_measured(tmp_path, capsys, images):
    edited = tmp_path / "edited.safetensors"
    assert main(["surgery", "--ckpt", str(RESNET20), "--delete", "layer2.1", "--out", str(edited)]) == 0
    assert main(["inspect", str(edited)]) == 0
    assert "residual blocks  8 in 3 stages" in capsys.readouterr().out
    from resnet_probe.checkpoint import load

    model = ResNet(3).eval()
    model.load_state_dict(state(RESNET20))
    model.layer2[1].forward = F.relu
    assert wrong(load(edited).model, images) == wrong(model, images) > 85
    words = ["--reorder", "layer1.2,layer1.1", "--scale", "layer3.2=0.5", "--out", str(tmp_path / "again")]
    assert main(["surgery", "--ckpt", str(edited), *words]) == 0
    again = load(tmp_path / "again.safetensors").model
    layer1, last = model.layer1, model.layer3[2]
    layer1[1], layer1[2] = layer1[2], layer1[1]
    for parameter in last.bn2.parameters():
        parameter.data *= 0.5
    with torch.inference_mode():
        torch.testing.assert_close(again(images[0][:100]), model(images[0][:100]), rtol=1e-4, atol=1e-4)
