"""Networks from torchvision, timm and the user's code."""

import subprocess
import sys

import pytest
import torch
from torch import nn

from resnet_probe.models import MODELS, resolve

SOURCE = """
from torch import nn
import neighbour

class Net(nn.Module):
    def __init__(self, num_classes=10, in_channels=3):
        super().__init__()
        self.fc = nn.Linear(in_channels, num_classes)

def small(num_classes=10, in_channels=3):
    return Net(num_classes, in_channels)

def fixed():
    return Net()

def passes_on(**kwargs):
    return Net(**kwargs)

def needs(width):
    return Net()

def not_a_network():
    return "Net"

number = neighbour.number
"""


@pytest.fixture
def source(tmp_path):
    (tmp_path / "neighbour.py").write_text("number = 3\n")
    path = tmp_path / "net.py"
    path.write_text(SOURCE)
    yield path
    sys.modules.pop("neighbour", None)


def test_registry():
    assert set(MODELS) == {"resnet", "plain", "vgg", "lenet", "gpt", "fasterrcnn", "fcn"}
    for name in ("resnet8", "plain8", "vgg11-w2", "lenet5"):
        model = resolve(f"cifar:{name}", num_classes=4, in_channels=2)
        assert (model.arch, model.num_classes, model.in_channels) == (name, 4, 2)


def test_torchvision():
    with torch.device("meta"):
        assert sum(parameter.numel() for parameter in resolve("torchvision:resnet18").parameters()) == 11_689_512
        assert resolve("torchvision:googlenet", num_classes=4).fc.out_features == 4
    with pytest.raises(LookupError, match="did you mean resnet50"):
        resolve("torchvision:resnet51")
    detector = resolve("torchvision:fasterrcnn_mobilenet_v3_large_320_fpn", num_classes=5)  # downloads no backbone
    assert detector.roi_heads.box_predictor.cls_score.out_features == 5
    with pytest.raises(ValueError, match="1 input channels; torchvision's networks take 3"):
        resolve("torchvision:resnet18", in_channels=1)


def test_timm():
    pytest.importorskip("timm")
    with torch.device("meta"):
        model = resolve("timm:resnet10t", num_classes=6, in_channels=1)
    assert model.fc.out_features == 6
    assert next(model.parameters()).shape[1] == 1
    with pytest.raises(LookupError, match="did you mean resnet10t"):
        resolve("timm:resnet10tt")
    with pytest.raises(LookupError, match="timm has no network"):
        resolve("timm:hf-hub:someone/something")


def test_timm_missing(monkeypatch):
    monkeypatch.setitem(sys.modules, "timm", None)
    with pytest.raises(LookupError, match=r"install resnet-probe\[timm\]"):
        resolve("timm:resnet18")


def test_factory_in_a_file(source):
    before = list(sys.path)
    model = resolve(f"{source}:small", num_classes=7, in_channels=2)
    assert model.fc.weight.shape == (7, 2)
    assert resolve(f"{source}:passes_on", num_classes=7).fc.weight.shape == (7, 3)
    assert resolve(f"{source}:fixed", num_classes=7).fc.weight.shape == (10, 3)
    assert sys.path == before


def test_factory_in_a_module():
    model = resolve("torch.nn:Identity")
    assert isinstance(model, nn.Identity)


def test_wrong_factories(source, tmp_path):
    with pytest.raises(LookupError, match="did you mean small"):
        resolve(f"{source}:smal")
    with pytest.raises(LookupError, match="no factory 'number'"):
        resolve(f"{source}:number")
    with pytest.raises(ValueError, match=r"TypeError: needs\(\) missing 1 required"):
        resolve(f"{source}:needs")
    with pytest.raises(ValueError, match=r"returned str; a factory must return a torch.nn.Module"):
        resolve(f"{source}:not_a_network")
    with pytest.raises(LookupError, match="no file"):
        resolve(f"{tmp_path}/absent.py:net")
    with pytest.raises(LookupError, match=r"cannot import 'absent_package\.net'"):
        resolve("absent_package.net:factory")
    (tmp_path / "broken.py").write_text("import absent_package\n")
    with pytest.raises(
        LookupError, match=r"cannot import .*broken.py \(ModuleNotFoundError: No module named 'absent_package'\)"
    ):
        resolve(f"{tmp_path}/broken.py:net")


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("resnt56", "did you mean resnet56"),
        ("resnet", "did you mean resnet"),
        ("efficientnet_b0", "torchvision:efficientnet_b0"),
        ("mobilenet", "torchvision:mobilenet_v2"),
        ("cifar:foo", "unknown network 'cifar:foo'"),
        ("", "unknown network ''"),
    ],
)
def test_unknown_names_get_a_hint(name, hint):
    with pytest.raises(LookupError, match=hint) as caught:
        resolve(name)
    assert "\n" not in str(caught.value)


@pytest.mark.slow
def test_our_own_networks_wait_neither_for_torchvision_nor_for_torchs_compiler():
    """Each takes longer to import than a network for CIFAR takes to be built, with weights or without."""
    code = """
import sys, torch
from resnet_probe.models import resolve
for name in ("resnet20", "resnet110-gate6", "vgg11-f512", "lenet5"):
    with torch.device("meta"):
        resolve(name)
    resolve(name)
print(sorted({"torchvision", "torch._dynamo", "sympy", "scipy", "networkx"} & set(sys.modules)))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_a_file_without_a_factory_is_told_what_it_has(source):
    with pytest.raises(LookupError) as caught:
        resolve(str(source))
    asked = f"{source} given, which names no network in the file; give {source}:NAME with NAME one of "
    assert str(caught.value) == f"{asked}Net, small, fixed, passes_on, not_a_network"
    source.write_text("from pathlib import Path\n\n\ndef needs(width):\n    pass\n")
    with pytest.raises(LookupError, match=r"net\.py:NAME of a function that returns it without arguments"):
        resolve(str(source))
    with pytest.raises(LookupError, match=r"no file resnet20\.py"):
        resolve("resnet20.py")
