"""Checkpoints in all key styles, each against a network of that style written out here; our own format; bad files."""

import json

import pytest
import torch
import torch.nn.functional as F
from safetensors import safe_open
from safetensors.torch import save_file
from torch import nn

from resnet_probe import cli
from resnet_probe.checkpoint import CheckpointError, load, save, untrained
from resnet_probe.models import resolve
from resnet_probe.surgery import export
from resnet_probe.unraveled import unravel
from tests.networks import trained


def images(channels=3, size=32):
    return torch.randn(2, channels, size, size, generator=torch.Generator().manual_seed(5))


def conv(inside, outside, kernel, stride=1):
    return nn.Conv2d(inside, outside, kernel, stride, kernel // 2, bias=False)


class Pad(nn.Module):
    def forward(self, x):
        return F.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, x.shape[1] // 2, x.shape[1] // 2))


class Block(nn.Module):
    """One residual block in any style: `side` names the shortcut, `kernel` 0 is zero-padding."""

    def __init__(self, inside, width, stride, *, side, kernel=1, bottleneck=False):
        super().__init__()
        outside = 4 * width if bottleneck else width
        plan = [(inside, width, 1, 1), (width, width, 3, stride), (width, outside, 1, 1)]
        plan = plan if bottleneck else [(inside, width, 3, stride), (width, width, 3, 1)]
        self.layers = len(plan)
        for number, (a, b, k, s) in enumerate(plan, start=1):
            self.add_module(f"conv{number}", conv(a, b, k, s))
            self.add_module(f"bn{number}", nn.BatchNorm2d(b))
        projection = nn.Sequential()
        if stride != 1 or inside != outside:
            projection = (
                nn.Sequential(conv(inside, outside, kernel, stride), nn.BatchNorm2d(outside)) if kernel else Pad()
            )
        self.side = side
        self.add_module(side, projection)

    def forward(self, x):
        y = x
        for number in range(1, self.layers + 1):
            y = getattr(self, f"bn{number}")(getattr(self, f"conv{number}")(y))
            y = F.relu(y) if number < self.layers else y
        return F.relu(y + getattr(self, self.side)(x))


class Net(nn.Module):
    def __init__(self, blocks, widths, *, names=("conv1", "bn1", "fc"), side="downsample", kernel=1, bottleneck=False):
        super().__init__()
        self.names, self.count = names, len(blocks)
        self.add_module(names[0], conv(3, widths[0], 3))
        self.add_module(names[1], nn.BatchNorm2d(widths[0]))
        inside = widths[0]
        for number, (count, width) in enumerate(zip(blocks, widths, strict=True), start=1):
            stage = []
            for index in range(count):
                stride = 2 if number > 1 and index == 0 else 1
                stage.append(Block(inside, width, stride, side=side, kernel=kernel, bottleneck=bottleneck))
                inside = 4 * width if bottleneck else width
            self.add_module(f"layer{number}", nn.Sequential(*stage))
        self.add_module(names[2], nn.Linear(inside, 10))

    def forward(self, x):
        x = F.relu(getattr(self, self.names[1])(getattr(self, self.names[0])(x)))
        for number in range(1, self.count + 1):
            x = getattr(self, f"layer{number}")(x)
        return getattr(self, self.names[2])(F.adaptive_avg_pool2d(x, 1).flatten(1))


class PreActBlock(nn.Module):
    """Basic pre-activation block; `raw`: the shortcut takes the raw input, else a projection the activated one."""

    def __init__(self, inside, width, stride, *, side, raw):
        super().__init__()
        self.bn1, self.conv1 = nn.BatchNorm2d(inside), conv(inside, width, 3, stride)
        self.bn2, self.conv2 = nn.BatchNorm2d(width), conv(width, width, 3)
        self.side, self.raw = side, raw
        if stride != 1 or inside != width:
            self.add_module(side, nn.Sequential(conv(inside, width, 1, stride)))

    def forward(self, x):
        y = F.relu(self.bn1(x))
        shortcut = getattr(self, self.side)(x if self.raw else y) if hasattr(self, self.side) else x
        return self.conv2(F.relu(self.bn2(self.conv1(y)))) + shortcut


class PreActNet(nn.Module):
    def __init__(self, blocks, widths, *, side, raw, last, classifier):
        super().__init__()
        self.conv1, inside, stages = conv(3, widths[0], 3), widths[0], []
        for number, (count, width) in enumerate(zip(blocks, widths, strict=True), start=1):
            stage = []
            for index in range(count):
                stage.append(PreActBlock(inside, width, 2 if number > 1 and index == 0 else 1, side=side, raw=raw))
                inside = width
            self.add_module(f"layer{number}", nn.Sequential(*stage))
            stages.append(getattr(self, f"layer{number}"))
        self.stages = tuple(stages)  # a tuple, so that their weights have the names layer1 to layer4 only
        self.last, self.classifier = last, classifier
        if last:
            self.add_module(last, nn.BatchNorm2d(inside))
        self.add_module(classifier, nn.Linear(inside, 10))

    def forward(self, x):
        x = self.conv1(x)
        for stage in self.stages:
            x = stage(x)
        x = F.relu(getattr(self, self.last)(x)) if self.last else x
        return getattr(self, self.classifier)(x.mean((2, 3)))


class VGG(nn.Module):
    def __init__(self, *, dropout=False, hidden=False):
        super().__init__()
        layers, inside = [], 3
        for width in (4, 0, 8, 0, 16, 16, 0, 32, 32, 0, 32, 32, 0):
            if width == 0:
                layers.append(nn.MaxPool2d(2))
                continue
            layers += [nn.Conv2d(inside, width, 3, padding=1), nn.BatchNorm2d(width), nn.ReLU()]
            layers += [nn.Dropout(0.3)] if dropout else []
            inside = width
        self.features = nn.Sequential(*layers)
        more = [nn.Dropout(), nn.Linear(32, 24), nn.ReLU(), nn.Dropout(), nn.Linear(24, 10)]
        self.classifier = nn.Sequential(*more) if hidden else nn.Linear(32, 10)

    def forward(self, x):
        return self.classifier(self.features(x).flatten(1))


class LeNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1, self.conv2 = nn.Conv2d(3, 6, 5), nn.Conv2d(6, 16, 5)
        self.fc1, self.fc2, self.fc3 = nn.Linear(400, 120), nn.Linear(120, 84), nn.Linear(84, 10)

    def forward(self, x):
        x = F.max_pool2d(F.relu(self.conv1(x)), 2)
        x = F.max_pool2d(F.relu(self.conv2(x)), 2).flatten(1)
        return self.fc3(F.relu(self.fc2(F.relu(self.fc1(x)))))


STYLES = {
    "zero-padding, linear": (
        "resnet14-w4",
        lambda: Net([2] * 3, [4, 8, 16], names=("conv1", "bn1", "linear"), side="shortcut", kernel=0),
    ),
    "shortcut.0, linear, three stages": (
        "resnet14-w4-B",
        lambda: Net([2] * 3, [4, 8, 16], names=("conv1", "bn1", "linear"), side="shortcut"),
    ),
    "shortcut.0, linear, four stages": (
        "resnet12-s2.1.1.1-w4-B",
        lambda: Net([2, 1, 1, 1], [4, 8, 16, 32], names=("conv1", "bn1", "linear"), side="shortcut"),
    ),
    "shortcut.0, linear, four stages of bottlenecks": (
        "resnet17-s1.2.1.1-w4-bottleneck",
        lambda: Net([1, 2, 1, 1], [4, 8, 16, 32], names=("conv1", "bn1", "linear"), side="shortcut", bottleneck=True),
    ),
    "tutorial: conv, bn, 3x3 downsample": (
        "resnet14-B3x3",
        lambda: Net([2] * 3, [16, 32, 64], names=("conv", "bn", "fc"), kernel=3),
    ),
    "torchvision names, 1x1 downsample": ("resnet20-w4-B", lambda: Net([3] * 3, [4, 8, 16])),
    "torchvision names, zero-padding": ("resnet20-w4", lambda: Net([3] * 3, [4, 8, 16], kernel=0)),
    "torchvision names, bottleneck": ("resnet20-w4-bottleneck", lambda: Net([2] * 3, [4, 8, 16], bottleneck=True)),
    "pre-activation, raw shortcut, bn at the end": (
        "resnet14-w4-B-preactraw",
        lambda: PreActNet([2] * 3, [4, 8, 16], side="downsample", raw=True, last="bn", classifier="fc"),
    ),
    "pre-activation, activated projection, no norm at the end": (
        "resnet12-s2.1.1.1-w4-B-preactopen",
        lambda: PreActNet([2, 1, 1, 1], [4, 8, 16, 32], side="shortcut", raw=False, last="", classifier="linear"),
    ),
    "VGG": ("vgg11-w4", VGG),
    "VGG with hidden layers": ("vgg11-w4-f24", lambda: VGG(hidden=True)),
    "VGG with dropout": ("vgg11-w4", lambda: VGG(dropout=True)),
    "LeNet": ("lenet5-relu", LeNet),
}


@pytest.mark.parametrize("style", STYLES)
def test_key_styles(tmp_path, style):
    arch, build = STYLES[style]
    theirs = trained(build)
    path = tmp_path / "net.pth"
    torch.save({"state_dict": {f"module.{name}": tensor for name, tensor in theirs.state_dict().items()}}, path)
    checkpoint = load(path)
    assert checkpoint.arch == arch
    assert (checkpoint.num_classes, checkpoint.in_channels, checkpoint.input_size) == (10, 3, 32)
    assert not checkpoint.model.training
    torch.testing.assert_close(checkpoint.model(images()), theirs(images()))
    assert torch.equal(load(path, arch=arch).model(images()), checkpoint.model(images()))


@pytest.mark.parametrize(
    "name",
    [
        "resnet14-w4",
        "resnet14-w4-C",
        "resnet11-w4-bottleneck",
        "resnet14-w4-preact",
        "resnet14-w4-B-preact",
        "vgg11-w4-f6",
    ],
)
@pytest.mark.parametrize("suffix", ["pt", "safetensors"])
def test_our_own_networks_as_bare_weights(tmp_path, name, suffix):
    model = trained(lambda: resolve(name, num_classes=4, in_channels=1))
    path = tmp_path / f"net.{suffix}"
    (save_file if suffix == "safetensors" else torch.save)(model.state_dict(), path)
    checkpoint = load(path)
    assert (checkpoint.arch, checkpoint.num_classes, checkpoint.in_channels) == (name, 4, 1)
    assert checkpoint.input_size is None
    assert torch.equal(checkpoint.model(images(1)), model(images(1)))


def test_torchvision(tmp_path):
    model = trained(lambda: resolve("torchvision:resnet18", num_classes=5))
    torch.save({"net": model.state_dict()}, tmp_path / "net.pt")
    checkpoint = load(tmp_path / "net.pt")
    assert (checkpoint.arch, checkpoint.num_classes, checkpoint.input_size) == ("torchvision:resnet18", 5, 224)
    assert torch.equal(checkpoint.model(images()), model(images()))


@pytest.mark.parametrize("name", ["torchvision:regnet_y_400mf", "torchvision:squeezenet1_1", "timm:resnet10t"])
def test_networks_that_have_to_be_named(tmp_path, name):
    if name.startswith("timm"):
        pytest.importorskip("timm")
    model = trained(lambda: resolve(name, num_classes=6))
    torch.save(model.state_dict(), tmp_path / "net.pt")
    checkpoint = load(tmp_path / "net.pt", arch=name)
    assert checkpoint.num_classes == 6
    assert torch.equal(checkpoint.model(images(size=64)), model(images(size=64)))


def test_a_factory_of_the_user(tmp_path):
    source = tmp_path / "net.py"
    source.write_text(
        "import torch\nfrom torch import nn\n\n"
        "class Net(nn.Module):\n"
        "    def __init__(self, num_classes):\n        super().__init__()\n"
        "        self.stem = nn.Conv2d(3, 4, 3)\n        self.out = nn.Linear(4, num_classes)\n"
        "        self.register_buffer('table', torch.ones(3), persistent=False)\n\n"
        "    def forward(self, x):\n        return self.out(self.stem(x).mean((2, 3))) + self.table.sum()\n\n"
        "def net(num_classes=10):\n    return Net(num_classes)\n"
    )
    model = resolve(f"{source}:net", num_classes=3)
    torch.save(model.state_dict(), tmp_path / "net.pt")
    checkpoint = load(tmp_path / "net.pt", arch=f"{source}:net")
    assert (checkpoint.num_classes, checkpoint.in_channels, checkpoint.input_size) == (3, 3, None)
    assert torch.equal(checkpoint.model(images()), model(images()))
    with pytest.raises(CheckpointError, match=r"no known network .*stem.weight.*name it with --arch"):
        load(tmp_path / "net.pt")


def test_arch_settles_what_the_weights_leave_open(tmp_path):
    plain = trained(lambda: resolve("plain14-w4"))
    torch.save(plain.state_dict(), tmp_path / "net.pt")
    guessed, told = load(tmp_path / "net.pt"), load(tmp_path / "net.pt", arch="plain14-w4")
    assert (guessed.arch, told.arch, told.notes) == ("resnet14-w4", "plain14-w4", ())
    assert "--arch plain14-w4" in guessed.notes[0]
    assert torch.equal(told.model(images()), plain(images()))
    assert not torch.allclose(guessed.model(images()), plain(images()))


def test_a_file_named_for_another_depth(tmp_path):
    model = trained(lambda: resolve("resnet29-w4-bottleneck"))
    torch.save(model.state_dict(), tmp_path / "resnet20.pth")
    checkpoint = load(tmp_path / "resnet20.pth")
    assert checkpoint.arch == "resnet29-w4-bottleneck"
    assert "the file is called resnet20, its weights are those of resnet29-w4-bottleneck" in checkpoint.notes


def test_old_files_without_batch_counters(tmp_path):
    model = trained(lambda: resolve("resnet8-w4"))
    state = {name: tensor for name, tensor in model.state_dict().items() if "num_batches" not in name}
    torch.save(state, tmp_path / "net.pt")
    assert torch.equal(load(tmp_path / "net.pt").model(images()), model(images()))


@pytest.mark.parametrize("prefix", ["model.", "net.", "module.model.", "backbone.", "lit.net.encoder."])
def test_any_word_that_all_names_begin_with(tmp_path, prefix):
    model = trained(lambda: resolve("resnet14-w4-B"))
    state = {prefix + name: tensor for name, tensor in model.state_dict().items()}
    torch.save({"state_dict": {**state, "criterion.weight": torch.ones(10)}}, tmp_path / "net.ckpt")
    checkpoint = load(tmp_path / "net.ckpt")
    assert checkpoint.arch == "resnet14-w4-B"
    assert torch.equal(checkpoint.model(images()), model(images()))
    for word in prefix.removeprefix("module.").split(".")[:-1]:
        assert any(f"begin with {word}., which is taken off" in note for note in checkpoint.notes)
    assert any("left out beside them: criterion.weight" in note for note in checkpoint.notes)
    told = load(tmp_path / "net.ckpt", arch="resnet14-w4-B")
    assert torch.equal(told.model(images()), model(images()))
    assert "conv1.weight is 4x3x3x3, not 8x3x3x3" in refusal(tmp_path / "net.ckpt", arch="resnet14-w8-B")
    torch.save({**state, "adapter.weight": torch.ones(3, 3, 1, 1)}, tmp_path / "more.pt")
    assert "no known network" in refusal(tmp_path / "more.pt")


@pytest.mark.parametrize("word", ["model", "net"])
def test_a_word_that_the_network_itself_has_stays(tmp_path, word):
    source = tmp_path / "own.py"
    source.write_text(
        "from torch import nn\nclass Own(nn.Module):\n    def __init__(self):\n        super().__init__()\n"
        f"        self.{word} = nn.Sequential(nn.Flatten(), nn.Linear(12, 3))\n"
        f"    def forward(self, x):\n        return self.{word}(x)\n"
    )
    arch = f"{source}:Own"
    model = trained(lambda: resolve(arch))
    torch.save(model.state_dict(), tmp_path / "a.pt")
    torch.save({f"net.{name}": tensor for name, tensor in model.state_dict().items()}, tmp_path / "b.pt")
    for name, notes in (("a", 0), ("b", 1)):
        checkpoint = load(tmp_path / f"{name}.pt", arch=arch)
        assert torch.equal(checkpoint.model(images(size=2)), model(images(size=2)))
        assert len(checkpoint.notes) == notes


@pytest.mark.parametrize("style", STYLES)
def test_layers_have_the_names_of_the_file(tmp_path, style):
    theirs = trained(STYLES[style][1])
    torch.save(theirs.state_dict(), tmp_path / "net.pt")
    checkpoint = load(tmp_path / "net.pt")
    assert checkpoint.model.state_dict().keys() == theirs.state_dict().keys()
    assert not any("a name of ours" in note for note in checkpoint.notes)
    ours, own = (unravel(model, (3, 32, 32)) for model in (checkpoint.model, theirs))
    for kind in ("block", "layer"):
        assert [u.name for u in ours.units if u.kind == kind] == [u.name for u in own.units if u.kind == kind]
    blank = untrained(checkpoint.arch, names=checkpoint.names)
    assert blank.model.state_dict().keys() == theirs.state_dict().keys()


def test_a_layer_that_the_file_nests_otherwise_is_said(tmp_path):
    state = trained(lambda: resolve("resnet8")).state_dict()
    torch.save({name.replace("fc.", "linear.1."): tensor for name, tensor in state.items()}, tmp_path / "net.pt")
    assert "fc.1" in refusal(tmp_path / "net.pt")
    state = trained(VGG).state_dict()
    torch.save({name.replace("classifier.", "classifier.1."): state[name] for name in state}, tmp_path / "vgg.pt")
    checkpoint = load(tmp_path / "vgg.pt")
    assert checkpoint.notes[-1].endswith("classifier (classifier.1)")
    assert {"classifier.weight", "features.0.weight"} <= checkpoint.model.state_dict().keys()


@pytest.mark.parametrize(
    ("style", "edits"),
    [
        ("shortcut.0, linear, three stages", [{"delete": ["layer2.0"]}]),
        ("shortcut.0, linear, three stages", [{"delete": ["layer1.0", "layer2.0", "layer3.1"]}]),
        ("VGG", [{"delete": ["features.4"]}]),
        ("VGG with dropout", [{"delete": ["features.0", "features.10"]}]),
    ],
)
def test_an_edited_network_keeps_the_names_of_the_file(tmp_path, style, edits):
    theirs = trained(STYLES[style][1])
    torch.save(theirs.state_dict(), tmp_path / "net.pt")
    source = load(tmp_path / "net.pt")
    expected = unravel(theirs, (3, 32, 32)).edit(edits)(images())
    path = export(source, unravel(source.model, (3, 32, 32)), edits, tmp_path / "edited.safetensors").weights
    edited = load(path)
    torch.testing.assert_close(edited.model(images()), expected)
    held = set(safe_open(path, "pt").keys())
    assert held < theirs.state_dict().keys()
    assert {name for name in edited.model.state_dict() if name in held} == held
    again = export(edited, edited.chain, [], tmp_path / "again.safetensors").weights
    assert torch.equal(load(again).model(images()), edited.model(images()))


@pytest.mark.parametrize("names", [3, {"linear.weight": 5}, {"gone": "no.such.weight"}])
def test_names_that_mean_nothing_in_a_file_of_ours_are_ignored(tmp_path, names):
    model = trained(lambda: resolve("resnet8"))
    path = save(tmp_path / "net.safetensors", model, arch="resnet8", metadata={"names": names, "removed": ["gone"]})
    assert torch.equal(load(path).model(images()), model(images()))


def test_two_tensors_of_a_file_of_ours_with_one_place_are_refused(tmp_path):
    model = trained(lambda: resolve("resnet8"))
    names = {"bn1.bias": "bn1.weight"}
    assert "same place" in refusal(save(tmp_path / "n.safetensors", model, arch="resnet8", metadata={"names": names}))


def test_the_random_state_stays(tmp_path):
    torch.save(resolve("torchvision:regnet_y_400mf").state_dict(), tmp_path / "a.pt")
    torch.save(resolve("resnet8").state_dict(), tmp_path / "b.pt")
    before = torch.random.get_rng_state()
    load(tmp_path / "a.pt", arch="torchvision:regnet_y_400mf")
    load(tmp_path / "b.pt")
    assert torch.equal(torch.random.get_rng_state(), before)


def test_the_weights_can_be_trained(tmp_path):
    torch.save(resolve("resnet8").state_dict(), tmp_path / "net.pt")
    model = load(tmp_path / "net.pt").model
    model(images()).sum().backward()
    assert all(parameter.grad is not None for parameter in model.parameters())


METADATA = {
    "normalize": "cifar10",
    "error": 6.97,
    "recipe": {"lr": 0.1},
    "input_size": 8,
}


@pytest.mark.parametrize("name", ["resnet14-w4-preact", "lenet5", "plain8-w4"])
def test_own_format_round_trip(tmp_path, name):
    model = trained(lambda: resolve(name, num_classes=3))
    path = save(tmp_path / "new" / "net.safetensors", model, arch=name, metadata=METADATA)
    checkpoint = load(path)
    assert (checkpoint.arch, checkpoint.name, checkpoint.notes) == (name, "net", ())
    assert checkpoint.metadata == {**METADATA, "arch": name, "format": 1}
    assert checkpoint.input_size == 8
    assert torch.equal(checkpoint.model(images()), model(images()))
    assert list(path.parent.iterdir()) == [path]
    again = save(
        tmp_path / "again.safetensors", model.state_dict(), arch=name, metadata=dict(reversed(METADATA.items()))
    )
    assert again.read_bytes() == path.read_bytes()


def test_own_format_is_told_otherwise(tmp_path):
    path = save(tmp_path / "net.safetensors", resolve("resnet8-w4"), arch="resnet8-w4", metadata={})
    checkpoint = load(path, arch="plain8-w4")
    assert checkpoint.arch == "plain8-w4"
    assert "the file names its network resnet8-w4; read as plain8-w4, as told" in checkpoint.notes


def test_saving_leaves_the_model_alone_and_copies_views(tmp_path):
    weight = torch.arange(12.0).reshape(3, 4)
    state = {"a": weight.t(), "b": weight, "c": weight[0]}
    path = save(tmp_path / "net.safetensors", state, arch="resnet8", metadata={})
    with safe_open(path, framework="pt") as file:
        assert json.loads(file.metadata()["resnet-probe"]) == {"arch": "resnet8", "format": 1}
        assert all(torch.equal(file.get_tensor(name), tensor) for name, tensor in state.items())
    assert state["a"].data_ptr() == weight.data_ptr()


def test_saving_what_cannot_be_saved(tmp_path):
    with pytest.raises(ValueError, match=r"metadata of net.safetensors is not JSON"):
        save(tmp_path / "net.safetensors", {}, arch="resnet8", metadata={"model": object()})
    with pytest.raises(ValueError, match="not JSON"):
        save(tmp_path / "net.safetensors", {}, arch="resnet8", metadata={"error": float("nan")})
    (tmp_path / "file").write_text("")
    with pytest.raises(CheckpointError, match=r"cannot write .*file/net\.safetensors"):
        save(tmp_path / "file" / "net.safetensors", {}, arch="resnet8", metadata={})
    with pytest.raises(CheckpointError, match="cannot write"):
        save(tmp_path, {}, arch="resnet8", metadata={})
    assert not list(tmp_path.parent.glob(".*.tmp"))


def refusal(path, **options):
    with pytest.raises(CheckpointError) as caught:
        load(path, **options)
    message = str(caught.value)
    assert str(path) in message
    assert "\n" not in message
    return message


def test_weights_that_do_not_fit(tmp_path):
    torch.save(resolve("resnet14-w4").state_dict(), tmp_path / "net.pt")
    message = refusal(tmp_path / "net.pt", arch="resnet14-w8")
    assert "conv1.weight is 4x3x3x3, not 8x3x3x3; bn1.weight is 4, not 8" in message
    message = refusal(tmp_path / "net.pt", arch="resnet20-w4")
    assert "no layer1.2.conv1.weight (4x4x3x3)" in message
    assert "fc" not in message
    message = refusal(tmp_path / "net.pt", arch="resnet8-w4")
    assert "layer1.1.conv1.weight (4x4x3x3) has no place" in message
    assert "more; give the --arch" in message
    refusal(tmp_path / "net.pt", arch="vgg16")
    refusal(tmp_path / "net.pt", arch="torchvision:resnet18")


def test_weights_of_no_known_network(tmp_path):
    torch.save(nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 2)).state_dict(), tmp_path / "net.pt")
    assert "no known network (4 tensors: 0.weight, 0.bias, 1.weight, …)" in refusal(tmp_path / "net.pt")
    assert "--arch" in refusal(tmp_path / "net.pt")
    state = resolve("resnet8").state_dict()
    torch.save({**state, "layer1.0.conv1.bias": torch.zeros(16)}, tmp_path / "net.pt")
    assert "(closest resnet8: layer1.0.conv1.bias (16) has no place)" in refusal(tmp_path / "net.pt")
    torch.save({**state, "linear.weight": torch.zeros(10, 64)}, tmp_path / "net.pt")
    refusal(tmp_path / "net.pt")
    del state["fc.weight"]
    torch.save(
        {**state, "linear.weight": torch.zeros(10, 64), "classifier.weight": torch.zeros(10, 64)}, tmp_path / "net.pt"
    )
    assert "the same place" in refusal(tmp_path / "net.pt")


def test_a_network_that_does_not_exist(tmp_path):
    torch.save(resolve("resnet8").state_dict(), tmp_path / "net.pt")
    with pytest.raises(ValueError, match=r"depths are 6n\+2"):
        load(tmp_path / "net.pt", arch="resnet9")
    with pytest.raises(LookupError, match="did you mean"):
        load(tmp_path / "net.pt", arch="resnt8")


def test_a_file_must_not_choose_code_to_run(tmp_path):
    source = tmp_path / "net.py"
    source.write_text(f"open({str(tmp_path / 'ran')!r}, 'w').close()\n\ndef net():\n    raise ValueError\n")
    path = save(tmp_path / "net.safetensors", resolve("resnet8"), arch=f"{source}:net", metadata={})
    assert "which is code; if you trust it, give --arch" in refusal(path)
    path = save(tmp_path / "net.safetensors", resolve("resnet8"), arch="os:getcwd", metadata={})
    assert "names its network os:getcwd, which is code" in refusal(path)
    assert not (tmp_path / "ran").exists()


def test_own_format_gone_wrong(tmp_path):
    path = save(tmp_path / "net.safetensors", resolve("resnet8"), arch="resnet14", metadata={})
    assert "do not fit resnet14" in refusal(path)
    path = save(tmp_path / "net.safetensors", resolve("resnet8"), arch="resnet9", metadata={})
    assert "resnet9" in refusal(path)
    state = {name: tensor.contiguous() for name, tensor in resolve("resnet8").state_dict().items()}
    for header, part in (('{"arch": "resnet8", "format": 2}', "update"), ("[1]", "no JSON object"), ("{", "damaged")):
        save_file(state, path, metadata={"resnet-probe": header})
        assert part in refusal(path)


@pytest.mark.timeout(60)
@pytest.mark.parametrize(
    ("metadata", "problem"),
    [
        ({"input_size": 100_000}, "inputs of (3, 100000, 100000)"),
        ({"input_size": 3000}, "one layer makes 576,000,000 bytes"),
        ({"input_size": -3}, "inputs of (3, -3, -3)"),
        ({"input_size": 8, "edits": [{"delete": ["layer1.0"]}], "input_shape": [3, 30_000, 30_000]}, "(3, 30000,"),
        ({"input_size": 8, "edits": [{"delete": ["layer1.0"]}], "input_shape": [3, "x", 8]}, "inputs of (3, 'x', 8)"),
        ({"input_size": 8, "edits": [{"delete": ["layer1.0"]}], "input_shape": 8}, "cannot be made again"),
    ],
)
def test_a_description_that_asks_for_all_memory(tmp_path, metadata, problem):
    path = save(tmp_path / "a.safetensors", resolve("resnet8-w8"), arch="resnet8-w8", metadata=metadata)
    with pytest.raises(CheckpointError) as caught:
        load(path)
    assert str(path) in str(caught.value)
    assert problem in str(caught.value)


def test_a_description_may_ask_for_large_images(tmp_path):
    path = save(tmp_path / "a.safetensors", resolve("resnet8-w4"), arch="resnet8-w4", metadata={"input_size": 1024})
    assert load(path).input_size == 1024


def test_a_user_who_says_the_size_is_believed(tmp_path):
    path = save(tmp_path / "a.safetensors", resolve("resnet8-w8"), arch="resnet8-w8", metadata={"input_size": 3000})
    assert load(path, size=3000).input_size == 3000
    assert cli.main(["inspect", str(path)]) == 2
    assert cli.main(["inspect", str(path), "--size", "32"]) == 0


@pytest.mark.timeout(60)
@pytest.mark.parametrize("arch", ["resnet9998-w16384", "vgg16-w4096", "torchvision:vit_h_14", "resnet110-w1024"])
def test_a_small_file_that_names_a_giant_network(tmp_path, arch):
    with torch.device("meta"):
        names = ["conv1.weight"] if "9998" in arch else list(resolve(arch).state_dict())
    state = {names[0]: torch.zeros(3)}
    for metadata in ({}, {"removed": names[1:]}):
        path = save(tmp_path / "a.safetensors", state, arch=arch, metadata=metadata)
        with pytest.raises(CheckpointError, match=r"a\.safetensors"):
            load(path)


TIED = """
import torch
from torch import nn

class Tied(nn.Module):
    def __init__(self):
        super().__init__()
        self.token = nn.Embedding(7, 4)
        self.head = nn.Linear(4, 7, bias=False)
        self.head.weight = self.token.weight

    def forward(self, x):
        return self.head(self.token(x))
"""


@pytest.mark.parametrize("kept", ["token.weight", "head.weight"])
def test_a_tensor_with_two_names_may_be_in_the_file_once(tmp_path, kept):
    (tmp_path / "tied.py").write_text(TIED)
    weight = torch.randn(7, 4)
    torch.save({kept: weight}, tmp_path / "tied.pth")
    loaded = load(tmp_path / "tied.pth", arch=f"{tmp_path / 'tied.py'}:Tied")
    assert torch.equal(loaded.model(torch.arange(7)), weight @ weight.T)
