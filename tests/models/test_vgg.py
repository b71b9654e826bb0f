"""VGG networks against torchvision's and against closed forms."""

import pytest
import torch
import torchvision
from torch import nn

from resnet_probe.models import resolve

CONVOLUTIONS = {11: 8, 13: 10, 16: 13, 19: 16}


@pytest.mark.parametrize("depth", CONVOLUTIONS)
def test_layers_and_parameters(depth):
    model = resolve(f"vgg{depth}-w8", num_classes=5)
    convolutions = [module for module in model.modules() if isinstance(module, nn.Conv2d)]
    assert len(convolutions) == CONVOLUTIONS[depth]
    assert sum(isinstance(module, nn.MaxPool2d) for module in model.modules()) == 5
    weights = sum(9 * conv.in_channels * conv.out_channels + 3 * conv.out_channels for conv in convolutions)
    assert sum(parameter.numel() for parameter in model.parameters()) == weights + 64 * 5 + 5
    assert [conv.out_channels for conv in convolutions] == sorted(conv.out_channels for conv in convolutions)


@pytest.mark.parametrize("depth", CONVOLUTIONS)
@pytest.mark.parametrize("norm", [True, False])
def test_convolutions_are_torchvisions(depth, norm):
    with torch.device("meta"):
        ours = resolve(f"vgg{depth}" + ("" if norm else "-nobn"))
        theirs = torchvision.models.get_model(f"vgg{depth}" + ("_bn" if norm else ""))
    assert {name: tensor.shape for name, tensor in ours.features.state_dict().items()} == {
        name: tensor.shape for name, tensor in theirs.features.state_dict().items()
    }


def test_equals_torchvisions_layers():
    ours = resolve("vgg11-w4-f6.5", in_channels=1).eval()
    layers, channels = [], 1
    for width in (4, "M", 8, "M", 16, 16, "M", 32, 32, "M", 32, 32, "M"):
        if width == "M":
            layers.append(nn.MaxPool2d(2, 2))
        else:
            layers += [nn.Conv2d(channels, width, 3, padding=1), nn.BatchNorm2d(width), nn.ReLU()]
            channels = width
    features = nn.Sequential(*layers).eval()
    features.load_state_dict(ours.features.state_dict())
    weights = ours.classifier.state_dict()
    x = torch.randn(2, 1, 32, 32)
    expected = features(x).flatten(1)
    for index in (0, 3, 6):
        expected = nn.functional.linear(expected, weights[f"{index}.weight"], weights[f"{index}.bias"])
        expected = expected.relu() if index < 6 else expected
    torch.testing.assert_close(ours(x), expected)


@pytest.mark.parametrize("size", [8, 11, 32, 40])
def test_any_size(size):
    model = resolve("vgg19-w2", num_classes=3, in_channels=1).eval()
    assert model(torch.zeros(2, 1, size, size)).shape == (2, 3)


def test_own_layouts_and_options():
    model = resolve("vgg5-c6.M.7-nobias-nobn")
    assert [tuple(tensor.shape) for tensor in model.state_dict().values()] == [
        (6, 3, 3, 3),
        (7, 6, 3, 3),
        (10, 7),
        (10,),
    ]
    assert isinstance(resolve("vgg16").classifier, nn.Linear)
