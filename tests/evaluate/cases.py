"""A tiny ResNet, images, and edits made on the modules themselves: the serial loop that a sweep must agree with."""

import copy

import pytest
import torch
from torch import nn

from resnet_probe.data import Data
from resnet_probe.models import resolve
from resnet_probe.statistics import paired_difference
from resnet_probe.unraveled import unravel

SHAPE = (3, 8, 8)


def network(arch="resnet20-w4", seed=0):
    """The model and its chain; batch norms away from their initial values."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = resolve(arch, num_classes=4).eval()
        for module in model.modules():
            if isinstance(module, nn.BatchNorm2d):
                nn.init.uniform_(module.weight, 0.7, 1.4)
                nn.init.uniform_(module.bias, -0.3, 0.3)
                nn.init.uniform_(module.running_mean, -0.2, 0.2)
                nn.init.uniform_(module.running_var, 0.6, 1.5)
    return model, unravel(model, SHAPE)


def images(count=37, seed=1, classes=4):
    generator = torch.Generator().manual_seed(seed)
    pixels = torch.randint(0, 256, (count, *SHAPE), generator=generator, dtype=torch.uint8)
    labels = torch.randint(0, classes, (count,), generator=generator)
    return Data("noise", "test", pixels, labels, tuple("abcdefgh"[:classes]), "0.5;0.25")


def compared(right, before, after):
    """What a row says against the intact network, from the answers of both: counts, difference and interval."""
    counts = int(((before == right) & (after != right)).sum()), int(((before != right) & (after == right)).sum())
    _, low, high = paired_difference(*counts, len(right))
    return {
        "newly_wrong": counts[0],
        "newly_right": counts[1],
        "difference": pytest.approx(100 * (counts[0] - counts[1]) / len(right)),
        "difference_low": low,
        "difference_high": high,
    }


class Shortcut(nn.Module):
    """What is left of a post-activation block without its branch."""

    def __init__(self, block):
        super().__init__()
        self.downsample = block.downsample

    def forward(self, x):
        return torch.relu(x if self.downsample is None else self.downsample(x))


def without(model, *names):
    """A copy of the model in which the blocks' modules are replaced."""
    model = copy.deepcopy(model)
    for name in names:
        parent, _, last = name.rpartition(".")
        setattr(model.get_submodule(parent), last, Shortcut(model.get_submodule(name)))
    return model


def in_order(model, names, order):
    """A copy of the model in which the place of `names[i]` holds the module of `names[order[i]]`."""
    edited = copy.deepcopy(model)
    modules = [edited.get_submodule(name) for name in names]
    for name, index in zip(names, order, strict=True):
        parent, _, last = name.rpartition(".")
        setattr(edited.get_submodule(parent), last, modules[index])
    return edited


def loop(models, data, batch_size=16):
    """Per name the outputs `(N, classes)` of one model after the other."""
    with torch.no_grad():
        return {
            name: torch.cat([model(x) for x, _ in data.batches(batch_size)]).double() for name, model in models.items()
        }
