"""Residual and plain networks against the papers' numbers, torchvision's blocks and a forward pass by hand."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torchvision.models.resnet import BasicBlock, Bottleneck
from torchvision.models.resnet import ResNet as TorchvisionResNet

from resnet_probe.models import resolve
from resnet_probe.models.resnet import PadShortcut
from tests.networks import trained

PARAMETERS = {20: 269_722, 32: 464_154, 44: 658_586, 56: 853_018, 110: 1_727_962, 1202: 19_421_274}  # He 2015, option A


def parameters(model):
    return sum(parameter.numel() for parameter in model.parameters())


def build(name, **sizes):
    """A network whose norms have been, as it were, trained: fresh ones would hide a wrong order of layers."""
    return trained(lambda: resolve(name, **sizes), seed=len(name))


def images(count=2, size=16, channels=3):
    return torch.randn(count, channels, size, size, generator=torch.Generator().manual_seed(3))


@pytest.mark.parametrize("depth", PARAMETERS)
def test_parameter_counts_of_the_paper(depth):
    with torch.device("meta"):
        residual, plain = resolve(f"resnet{depth}"), resolve(f"plain{depth}")
    assert parameters(residual) == parameters(plain) == PARAMETERS[depth]
    assert {k: v.shape for k, v in residual.state_dict().items()} == {k: v.shape for k, v in plain.state_dict().items()}


def test_parameter_counts_of_the_other_variants():
    projections = 16 * 32 + 2 * 32 + 32 * 64 + 2 * 64  # the two 1x1 convolutions of option B, each with a norm
    assert parameters(resolve("resnet20-B")) == PARAMETERS[20] + projections
    assert parameters(resolve("resnet20-B3x3")) == PARAMETERS[20] + projections + 8 * (16 * 32 + 32 * 64)
    identities = 3 * (16**2 + 2 * 16) + 2 * (32**2 + 2 * 32) + 2 * (64**2 + 2 * 64)
    assert parameters(resolve("resnet20-C")) == PARAMETERS[20] + projections + identities
    assert parameters(resolve("resnet20-preact")) == PARAMETERS[20]
    with torch.device("meta"):
        assert round(parameters(resolve("resnet164-bottleneck-preact")) / 1e6, 1) == 1.7  # He 2016, Table 4
        assert round(parameters(resolve("resnet18-s2.2.2.2-w64-B")) / 1e4) == 1117
    bottleneck = resolve("resnet29-bottleneck-s3.3.3-w64").layer1[1]
    assert sum(p.numel() for n, p in bottleneck.named_parameters() if n.startswith("conv")) == 69_632  # He 2015, Fig. 5


@pytest.mark.parametrize("size", [8, 15, 32])
@pytest.mark.parametrize(
    "name", ["resnet8", "plain8", "resnet11-bottleneck", "resnet8-C-preact", "resnet10-s1.1.1.1-w4-B"]
)
def test_any_size_classes_and_channels(name, size):
    model = build(name, num_classes=7, in_channels=1)
    assert model(images(size=size, channels=1)).shape == (2, 7)
    assert (model.num_classes, model.in_channels) == (7, 1)
    assert resolve(model.arch).arch == model.arch


def test_stages_halve_the_resolution():
    shapes = []
    model = build("resnet8")
    for stage in (model.layer1, model.layer2, model.layer3):
        stage.register_forward_hook(lambda module, inputs, output: shapes.append(tuple(output.shape[1:])))
    model(images(size=32))
    assert shapes == [(16, 32, 32), (32, 16, 16), (64, 8, 8)]


@pytest.mark.parametrize(
    ("inside", "outside", "stride", "size"), [(16, 32, 2, 8), (4, 9, 2, 5), (6, 6, 2, 4), (4, 16, 1, 3)]
)
def test_option_a_pixel_by_pixel(inside, outside, stride, size):
    x = images(size=size, channels=inside)
    expected = torch.zeros(2, outside, -(-size // stride), -(-size // stride))
    before = (outside - inside) // 2
    for channel in range(inside):
        for row in range(0, size, stride):
            for column in range(0, size, stride):
                expected[:, before + channel, row // stride, column // stride] = x[:, channel, row, column]
    shortcut = PadShortcut(inside, outside, stride)
    assert torch.equal(shortcut(x), expected)
    assert not shortcut.state_dict()


@pytest.mark.parametrize(
    ("name", "block"), [("resnet10-s1.1.1.1-w64-B", BasicBlock), ("resnet14-s1.1.1.1-w64-bottleneck", Bottleneck)]
)
def test_equals_torchvision_with_a_cifar_stem(name, block):
    ours = build(name)
    theirs = TorchvisionResNet(block, [1, 1, 1, 1], num_classes=10)
    theirs.conv1, theirs.maxpool = nn.Conv2d(3, 64, 3, padding=1, bias=False), nn.Identity()
    theirs.load_state_dict(ours.state_dict())
    x = images()
    torch.testing.assert_close(ours(x), theirs.eval()(x))


def forward_by_hand(state, x, *, blocks, shortcut, order, bottleneck=False):
    """The network as the papers describe it, from its weights alone."""

    def norm(name, x):
        s = {key: state[f"{name}.{key}"] for key in ("running_mean", "running_var", "weight", "bias")}
        return F.batch_norm(x, s["running_mean"], s["running_var"], s["weight"], s["bias"])

    def conv(name, x, stride=1):
        weight = state[f"{name}.weight"]
        return F.conv2d(x, weight, stride=stride, padding=weight.shape[-1] // 2)

    def skip(name, x, width, stride):
        changes = stride == 2 or x.shape[1] != width
        if shortcut == "A" and changes:
            x = x[:, :, ::stride, ::stride]
            zeros = x.new_zeros(x.shape[0], (width - x.shape[1]) // 2, *x.shape[2:])
            return torch.cat([zeros, x, zeros], 1)
        if shortcut == "C" or (shortcut in ("B", "B3x3") and changes):
            x = conv(f"{name}.downsample.0", x, stride)
            return norm(f"{name}.downsample.1", x) if order == "post" else x
        return x

    layers = 3 if bottleneck else 2
    x = conv("conv1", x)
    if order == "post":
        x = norm("bn1", x).relu()
    for stage in (1, 2, 3):
        for index in range(blocks):
            name, stride = f"layer{stage}.{index}", 2 if stage > 1 and index == 0 else 1
            width = state[f"{name}.conv{layers}.weight"].shape[0]
            first, changes = stage == 1 and index == 0, x.shape[1] != width
            y = x
            if order != "post":
                y = norm(f"{name}.bn1", x).relu()
                if (order == "preact" and (first or changes)) or (order == "preactopen" and changes):
                    x = y
            for layer in range(1, layers + 1):
                y = conv(f"{name}.conv{layer}", y, stride if layer == layers - 1 else 1)
                if order == "post":
                    y = norm(f"{name}.bn{layer}", y)
                elif layer < layers:
                    y = norm(f"{name}.bn{layer + 1}", y)
                if layer < layers:
                    y = y.relu()
            x = y if shortcut == "none" else y + skip(name, x, width, stride)
            if order == "post":
                x = x.relu()
    if order in ("preact", "preactraw"):
        x = norm("norm", x).relu()
    return F.linear(x.mean((2, 3)), state["fc.weight"], state["fc.bias"])


@pytest.mark.parametrize("bottleneck", [False, True])
@pytest.mark.parametrize(
    ("shortcut", "order"),
    [
        ("none", "post"),
        ("A", "post"),
        ("B", "post"),
        ("B3x3", "post"),
        ("C", "post"),
        ("A", "preact"),
        ("B", "preact"),
        ("C", "preact"),
        ("B", "preactraw"),
        ("A", "preactraw"),
        ("B", "preactopen"),
    ],
)
def test_equals_the_forward_pass_by_hand(shortcut, order, bottleneck):
    family = "plain" if shortcut == "none" else "resnet"
    name = f"{family}{20 if bottleneck else 14}-w4" + ("-bottleneck" if bottleneck else "")
    name += "" if shortcut == "none" else f"-{shortcut}"
    name += "" if order == "post" else f"-{order}"
    model = build(name)
    by_hand = forward_by_hand(
        model.state_dict(), images(), blocks=2, shortcut=shortcut, order=order, bottleneck=bottleneck
    )
    torch.testing.assert_close(model(images()), by_hand)


def test_without_its_branch_a_block_is_its_shortcut():
    model = build("resnet8")
    for name in ("layer1", "layer2"):
        block = model.get_submodule(name)[0]
        nn.init.zeros_(block.bn2.weight), nn.init.zeros_(block.bn2.bias)
        x = images(channels=16).relu()
        assert torch.equal(block(x), x if block.downsample is None else block.downsample(x))


@pytest.mark.parametrize(
    "name", ["resnet8", "plain8", "resnet11-bottleneck-A", "resnet8-preact", "resnet8-C", "vgg11-w4", "lenet5"]
)
def test_can_be_traced(name):
    model = build(name)
    x = images(size=32)
    assert torch.equal(torch.fx.symbolic_trace(model)(x), model(x))


def test_he_initialisation():
    weight = resolve("resnet20-w64").layer3[0].conv1.weight  # 128 to 256 channels
    assert weight.std().item() == pytest.approx((2 / (9 * 256)) ** 0.5, rel=0.02)
