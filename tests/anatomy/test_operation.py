"""What an operation is said to be, against the model's own list of modules."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from resnet_probe.anatomy import dissect
from resnet_probe.models import resolve


def operations(model, shape):
    anatomy = dissect(model, shape)
    return [anatomy.traced.operation(node) for node in anatomy.flow.nodes]


@pytest.mark.parametrize("arch", ["resnet20", "resnet14-preact", "vgg11-w16", "torchvision:mobilenet_v2"])
def test_modules_are_told_by_their_class(arch):
    model, shape = resolve(arch), (3, 64, 64) if ":" in arch else (3, 32, 32)
    found = {one.name: one for one in operations(model, shape) if one.module is not None}
    called = {name: module for name, module in model.named_modules() if not list(module.children())}
    convolutions = {name for name, module in called.items() if isinstance(module, nn.Conv2d)}
    norms = {name for name, module in called.items() if isinstance(module, nn.BatchNorm2d)}
    assert {name for name, one in found.items() if one.is_convolution} == convolutions
    assert {name for name, one in found.items() if one.is_norm} == norms
    assert {name for name, one in found.items() if one.is_batch_norm} == norms
    assert {name: one.kernel_size for name, one in found.items() if one.kernel_size} == {
        name: called[name].kernel_size for name in convolutions
    }
    assert {name for name, one in found.items() if one.learned_layers} == convolutions | {
        name for name, module in called.items() if isinstance(module, nn.Linear)
    }


class Functional(nn.Module):
    """The same kinds of operation without modules."""

    def __init__(self):
        super().__init__()
        self.first = nn.Parameter(torch.ones(4, 3, 3, 5))
        self.last = nn.Parameter(torch.ones(2, 4))

    def forward(self, x):
        x = F.conv2d(x, self.first - self.first.mean(), padding=1)
        x = F.instance_norm(x)
        x = F.batch_norm(x, torch.zeros(4), torch.ones(4))
        return F.linear(x.mean((2, 3)), self.last)


def test_functions_are_told_by_their_name_and_weight():
    convolution, instance, batch, mean, linear = (
        one for one in operations(Functional(), (3, 8, 8)) if one.node.op != "placeholder"
    )
    assert (convolution.kernel_size, convolution.learned_layers, convolution.shape) == ((3, 5), 1, (4, 8, 6))
    assert (instance.is_norm, instance.is_batch_norm) == (True, False)
    assert (batch.is_norm, batch.is_batch_norm) == (True, True)
    assert (mean.is_norm, mean.is_convolution, mean.learned_layers) == (False, False, 0)
    assert (linear.is_convolution, linear.learned_layers, linear.shape) == (False, 1, (2,))


def test_readers_of_a_value():
    class Twice(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.Linear(3, 3)

        def forward(self, x):
            y = self.layer(x)
            return torch.relu(y) + y

    layer = next(one for one in operations(Twice(), (3,)) if one.name == "layer")
    assert layer.readers == 2
