"""`--leaf`: a module that cannot be traced is kept as one operation, in every command that takes a network."""

import json
from pathlib import Path

import pytest
import torch

from resnet_probe import checkpoint
from resnet_probe.cli import commands, load
from resnet_probe.commands.loaded import with_leaves
from resnet_probe.commands.request import Request
from resnet_probe.commands.session import Session
from resnet_probe.tables import read
from tests.commands.running import ran as run
from tests.networks import trained

NET = """
from torch import nn


class Gate(nn.Module):
    def forward(self, x):
        return x * 2 if x.sum() > 1e9 else x


class Net(nn.Module):
    def __init__(self, num_classes=10, in_channels=1):
        super().__init__()
        self.stem, self.gate = nn.Conv2d(in_channels, 4, 3, padding=1), Gate()
        self.one, self.two = (nn.Sequential(nn.Conv2d(4, 4, 3, padding=1), nn.ReLU()) for _ in range(2))
        self.head = nn.Linear(4, num_classes)

    def forward(self, x):
        assert x.ndim == 4
        x = self.gate(self.stem(x))
        x = x + self.one(x)
        x = x + self.two(x)
        return self.head(x.mean((2, 3)))
"""
ARCH = ("--arch", "net.py:Net")


@pytest.fixture(autouse=True)
def net(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "net.py").write_text(NET, encoding="utf-8")
    model = trained(lambda: Session().load(None, "net.py:Net").checkpoint.model)
    torch.save(model.state_dict(), "net.pt")
    return model


def test_every_command_that_studies_a_network_has_it():
    studying = {name for name in commands() if {"--ckpt", "--arch"} <= _options(name)}
    assert studying >= {"lesion", "reorder", "paths", "iterative", "responses", "compare", "inspect", "surgery"}
    assert all("--leaf" in _options(name) for name in studying)


def _options(name):
    return {option for parameter in load(name).params for option in parameter.opts}


def test_the_message_names_the_option_that_helps(capsys):
    status, _, err = run(capsys, "inspect", *ARCH, "--size", 8)
    assert status == 2
    assert "(it depends on values of the images)" in err
    assert "--leaf gate" in err
    status, out, _ = run(capsys, "inspect", *ARCH, "--size", 8, "--leaf", "gate")
    assert status == 0
    assert [line.split()[:2] for line in out.splitlines() if " block " in line] == [["one", "block"], ["two", "block"]]


def test_a_table_keeps_it(capsys):
    words = ["lesion", "--ckpt", "net.pt", *ARCH, "--data", "digits", "--limit", 20, "--format", "svg", "--out", "run"]
    assert run(capsys, *words)[0] == 2
    status, _, _ = run(capsys, *words, "--leaf", "gate", "--leaf", "stem")
    table = read("run", "lesion")
    assert (status, [row["block"] for row in table.rows]) == (0, ["(intact)", "one", "two"])
    assert table.settings["arguments"]["leaf"] == ["gate", "stem"]
    assert "--leaf gate --leaf stem" in table.settings["command"]


def test_it_stands_in_the_command_line_of_a_request():
    from resnet_probe.analyses.registry import analysis

    lesion = analysis("lesion")
    words = Request(leaf=("gate", "one"), parameters=lesion.parameters()).words(lesion)
    assert words == ["lesion", "--leaf", "gate", "--leaf", "one"]


def test_of_several_networks_those_that_have_the_module_keep_it():
    session = Session()
    found = [session.load(None, "net.py:Net"), session.load(None, "resnet8-w4")]
    assert [one.leaves for one in with_leaves(found, ("gate", "layer1.0"))] == [("gate",), ("layer1.0",)]


def test_an_unknown_module_is_named_with_the_closest(capsys):
    status, _, err = run(capsys, "inspect", *ARCH, "--size", 8, "--leaf", "gates")
    assert status == 2
    assert "--leaf gates: no such module in net.py:Net; did you mean gate?" in err


def test_an_edited_network_keeps_it(capsys, net):
    words = ["--ckpt", "net.pt", *ARCH, "--size", 8, "--leaf", "gate", "--delete", "one", "--out", "edited.safetensors"]
    assert run(capsys, "surgery", *words)[0] == 0
    assert json.loads(Path("edited.recipe.json").read_text(encoding="utf-8"))["leaves"] == ["gate"]
    edited = checkpoint.load("edited.safetensors", arch="net.py:Net")
    x = torch.randn(3, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    h = net.stem(x)
    assert torch.equal(edited.model(x), net.head((h + net.two(h)).mean((2, 3))))
    again = ["surgery", "--ckpt", "edited.safetensors", *ARCH, "--delete", "two", "--out", "twice.safetensors"]
    assert run(capsys, *again)[0] == 0
    assert torch.equal(checkpoint.load("twice.safetensors", arch="net.py:Net").model(x), net.head(h.mean((2, 3))))
    status, _, err = run(capsys, *again, "--leaf", "gate")
    assert (status, "leave out --leaf" in err) == (2, True)


@pytest.mark.parametrize("command", ["inspect", "surgery"])
def test_the_size_is_asked_for_where_nothing_says_it(capsys, command):
    words = ["--ckpt", "net.pt", *ARCH, "--leaf", "gate"]
    words += ["--delete", "one", "--out", "edited.safetensors"] if command == "surgery" else []
    status, _, err = run(capsys, command, *words)
    assert status == 2
    assert "the size of the images that net is made for is not known; give --size N" in err
    assert run(capsys, command, *words, "--size", 8)[0] == 0


@pytest.fixture
def slices(net):
    """The network, with a value that is assigned into slices before the blocks; torch.fx cannot follow that."""
    written = "x = self.stem(x)\n        y = torch.zeros_like(x)\n        y[:] = x\n        x = y"
    code = "import torch\n" + NET.replace("x = self.gate(self.stem(x))", written)
    Path("slices.py").write_text(code, encoding="utf-8")
    return net


def test_what_torch_fx_cannot_follow_is_exported_and_inspect_says_why(capsys, slices):
    words = ["--arch", "slices.py:Net", "--size", 8]
    status, out, _ = run(capsys, "inspect", *words)
    assert status == 0
    assert [line.split()[:2] for line in out.splitlines() if " block " in line] == [["one", "block"], ["two", "block"]]
    assert "torch.export: torch.fx cannot trace Net: line" in " ".join(out.split())
    status, _, err = run(capsys, "inspect", *words, "--trace", "fx")
    assert (status, "stopped it" in err) == (2, True)
    status, out, _ = run(capsys, "inspect", "--arch", "resnet8-w4", "--size", 8, "--trace", "export", "--out", "here")
    assert status == 0
    assert read("here", "inspect").about("resnet8-w4")["traced"] == {"way": "export", "why": ""}


def test_an_edited_network_is_traced_again_as_it_was(capsys, net):
    words = ["--ckpt", "net.pt", "--arch", "slices.py:Net", "--size", 8, "--trace", "export", "--delete", "one"]
    Path("slices.py").write_text(NET.replace("x = self.gate(self.stem(x))", "x = self.stem(x)"), encoding="utf-8")
    assert run(capsys, "surgery", *words, "--out", "edited.safetensors")[0] == 0
    assert json.loads(Path("edited.recipe.json").read_text(encoding="utf-8"))["trace"] == "export"
    edited = checkpoint.load("edited.safetensors", arch="slices.py:Net")
    assert edited.chain.anatomy.traced.way == "export"
    x = torch.randn(3, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    h = net.stem(x)
    assert torch.allclose(edited.model(x), net.head((h + net.two(h)).mean((2, 3))), atol=1e-6)


DICT = """
from torch import nn
from net import Net


class Both(Net):
    def forward(self, x):
        x = self.stem(x)
        x = x + self.one(x)
        return {"features": x, "logits": self.head(x.mean((2, 3)))}
"""


def test_the_class_scores_among_several_outputs_are_measured(capsys, net):
    Path("both.py").write_text(DICT, encoding="utf-8")
    words = ["--arch", "both.py:Both", "--data", "digits", "--limit", 20, "--format", "svg", "--out", "both"]
    status, out, err = run(capsys, "lesion", *words)
    assert status == 0
    assert "returns features, logits; logits is measured" in " ".join((out + err).split())
    table = read("both", "lesion")
    assert table.about("both.py:Both")["output"] == "logits"
    model = Session().load(None, "both.py:Both").checkpoint.model
    from resnet_probe.data import load_data

    x, y = next(load_data("digits", limit=20).batches(20, device="cpu"))
    with torch.no_grad():
        wrong = (model.head(model.stem(x).mean((2, 3))).argmax(1) != y).sum().item()
    assert [row["wrong"] for row in table.rows if row["block"] == "one"] == [wrong]


def test_a_pruned_network_keeps_it(capsys, net):
    words = [
        "prune",
        "--ckpt",
        "net.pt",
        *ARCH,
        "--leaf",
        "gate",
        "--data",
        "digits",
        "--limit",
        20,
        "--orders",
        "last",
    ]
    assert run(capsys, *words, "--save", 1, "--format", "svg", "--out", "run")[0] == 0
    edited = checkpoint.load("run/net-without-1.safetensors", arch="net.py:Net")
    x = torch.randn(3, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    h = net.stem(x)
    assert torch.equal(edited.model(x), net.head((h + net.one(h)).mean((2, 3))))


def test_a_pruned_network_keeps_the_way_of_tracing(capsys, net):
    Path("slices.py").write_text(NET.replace("x = self.gate(self.stem(x))", "x = self.stem(x)"), encoding="utf-8")
    words = ("prune", "--ckpt", "net.pt", "--arch", "slices.py:Net", "--trace", "export", "--data", "digits")
    words += ("--limit", 20, "--orders", "last", "--save", 1, "--format", "svg", "--out", "run")
    assert run(capsys, *words)[0] == 0
    edited = checkpoint.load("run/net-without-1.safetensors", arch="slices.py:Net")
    assert edited.chain.anatomy.traced.way == "export"
    x = torch.randn(3, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    h = net.stem(x)
    assert torch.allclose(edited.model(x), net.head((h + net.one(h)).mean((2, 3))), atol=1e-6)
