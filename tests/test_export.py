"""What is shipped runs in a process in which this package cannot be imported, and gives the same outputs."""

import json
import subprocess
import sys

import pytest
import torch
from torch import nn

from resnet_probe import checkpoint
from resnet_probe import export as export_module
from resnet_probe.export import write
from resnet_probe.models import resolve
from resnet_probe.surgery import export
from resnet_probe.unraveled import unravel
from tests.networks import images, trained

ALONE = """
import importlib.abc, json, sys

class Refuse(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == "resnet_probe":
            raise ImportError("refused")

sys.meta_path.insert(0, Refuse())
sys.path.insert(0, sys.argv[1])
import torch

def of(form):
    if form == "pt2":
        recipe = {"recipe.json": ""}
        model = torch.export.load(f"{sys.argv[1]}/edited.pt2", extra_files=recipe).module()
        return model, json.loads(recipe["recipe.json"])
    if form == "onnx":
        import onnxruntime
        session = onnxruntime.InferenceSession(f"{sys.argv[1]}/edited.onnx")
        recipe = session.get_modelmeta().custom_metadata_map["recipe"]
        return lambda x: torch.from_numpy(session.run(None, {"images": x.numpy()})[0]), json.loads(recipe)
    from edited import model
    return model, None

found = {}
for form in sys.argv[2:]:
    model, recipe = of(form)
    with torch.no_grad():
        found[form] = recipe, [model(x) for x in torch.load(f"{sys.argv[1]}/inputs")]
torch.save(found, f"{sys.argv[1]}/found")
"""


def edited(folder, model, arch, shape, edits):
    """The file of an edited network, loaded."""
    source = folder / "source.safetensors"
    checkpoint.save(source, model, arch=arch, metadata={"input_size": shape[-1], "normalize": "0.5;0.5"})
    loaded = checkpoint.load(source)
    written = export(loaded, unravel(loaded.model, shape), edits, folder / "net.safetensors")
    return checkpoint.load(written.weights)


def spread(factory):
    """Weights for which every layer counts: of heads that start at zero, too."""
    model = trained(factory)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        for module in model.modules():
            if isinstance(module, nn.Linear):
                nn.init.normal_(module.weight, std=0.1)
    return model


VIT = [{"delete": ["blocks.1.mlp", "blocks.2.attn", "blocks.2.mlp"]}, {"scale": {"blocks.0.mlp": 0.5}}]
BOTTLENECKS = [
    {"delete": ["layer2.1", "layer3.0"]}, {"scale": {"layer1.1": 0.5}}, {"reorder": ["layer3.3", "layer3.2"]},
]  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arch", "size", "edits", "forms"),
    [
        ("resnet14-w4", 32, [{"delete": ["layer2.1", "layer3.0"]}, {"scale": {"layer1.0": 0.5}}], ["pt2", "onnx"]),
        ("torchvision:resnet50", 64, BOTTLENECKS, ["pt2", "onnx", "state_dict"]),
        ("timm:test_vit", 160, VIT, ["pt2", "onnx", "state_dict"]),
    ],
)
def test_a_process_without_this_package_gets_the_same_outputs(tmp_path, arch, size, edits, forms):
    if arch.startswith("timm"):
        pytest.importorskip("timm")
    if "onnx" in forms:
        pytest.importorskip("onnxruntime")
    model = spread(lambda: resolve(arch, num_classes=10))
    source = edited(tmp_path, model, arch, (3, size, size), edits)
    for form in forms:
        write(form, source, tmp_path / f"edited{ {'pt2': '.pt2', 'onnx': '.onnx', 'state_dict': '.pth'}[form] }")
    inputs = [images(count, (3, size, size), seed=count) for count in (1, 5)]
    torch.save(inputs, tmp_path / "inputs")
    subprocess.run([sys.executable, "-I", "-c", ALONE, str(tmp_path), *forms], check=True, timeout=600)
    found = torch.load(tmp_path / "found")
    with torch.no_grad():
        expected, whole = ([net(x) for x in inputs] for net in (source.model, model))
    assert expected[1].std() > 0.01
    assert not torch.allclose(expected[1], whole[1], rtol=1e-3)
    for form in forms:
        recipe, outputs = found[form]
        for ours, theirs in zip(expected, outputs, strict=True):
            assert (ours - theirs).abs().max() <= 1e-5 * ours.abs().max()
        if recipe:
            assert (recipe["edits"], recipe["arch"], recipe["normalize"]) == (edits, arch, "0.5;0.5")
            assert recipe["checkpoint"] == {"name": "net", "sha256": source.sha256}


def small(folder, edits, arch="torchvision:resnet18", size=32):
    return edited(folder, trained(lambda: resolve(arch, num_classes=3)), arch, (3, size, size), edits)


@pytest.mark.slow
def test_a_plain_state_dict_leaves_out_blocks_that_are_gone_and_zeroes_other_branches(tmp_path):
    source = small(tmp_path, [{"delete": ["layer1.0", "layer2.0"]}])
    weights, loader = write("state_dict", source, tmp_path / "plain")
    assert (weights.name, loader.name) == ("plain.pth", "plain.py")
    state = torch.load(weights)
    assert not [name for name in state if name.startswith("layer1.0.")]
    assert not any(state[name].any() for name in state if name.startswith("layer2.0.conv"))
    assert state["layer2.0.downsample.0.weight"].any()
    recipe = loader.read_text(encoding="utf-8").splitlines()[1].removeprefix("# ")
    assert json.loads(recipe)["edits"] == [{"delete": ["layer1.0", "layer2.0"]}]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("edits", "message"),
    [
        ([{"delete": ["conv1"]}], "net as state_dict gives other outputs"),
        ([{"scale": {"layer1.0": 0.0}}, {"scale": {"layer2.1": -1.0}}], None),
    ],
)
def test_an_edit_that_plain_weights_cannot_hold_is_refused_and_leaves_nothing(tmp_path, edits, message):
    source = small(tmp_path, edits)
    if message is None:
        assert len(write("state_dict", source, tmp_path / "plain")) == 2
        return
    with pytest.raises(ValueError, match=message):
        write("state_dict", source, tmp_path / "plain")
    assert not list(tmp_path.glob("plain*"))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("form", "arch", "names"),
    [("pt2", "resnet8-w2", ["x.pt2"]), ("state_dict", "torchvision:resnet18", ["x.pth", "x.py"])],
)
def test_a_failed_export_leaves_the_files_that_were_there(tmp_path, monkeypatch, form, arch, names):
    source = edited(tmp_path, trained(lambda: resolve(arch)), arch, (3, 32, 32), [])
    for name in names:
        (tmp_path / name).write_text(f"an earlier {name}", encoding="utf-8")
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    monkeypatch.setattr(export_module, "TOLERANCE", -1.0)
    with pytest.raises(ValueError, match="gives other outputs"):
        write(form, source, tmp_path / "x")
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before
    monkeypatch.undo()
    assert [path.name for path in write(form, source, tmp_path / "x")] == names
    assert not {path.name for path in tmp_path.iterdir()} - {path.name for path in before}
    assert all(path.read_bytes() != before[path] for path in map(tmp_path.joinpath, names))


def test_a_form_that_does_not_fit_is_refused(tmp_path):
    source = checkpoint.untrained("resnet8-w2")
    with pytest.raises(ValueError, match="neither torchvision nor timm can build"):
        write("state_dict", source, tmp_path / "x")
    with pytest.raises(ValueError, match="no form 'caffe' to export to; there are pt2, onnx, state_dict"):
        write("caffe", source, tmp_path / "x")
    with pytest.raises(ValueError, match=r"the size of the images that .* is made for is not known"):
        write("pt2", checkpoint.untrained("resnet8-w2", in_channels=1), tmp_path / "x")
    assert not list(tmp_path.iterdir())
