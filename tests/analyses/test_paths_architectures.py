"""Path counts of other people's networks, against walking every path of a graph that torch.fx made by itself."""

from collections import Counter

import pytest
import torch
import torchvision
from torch import fx, nn
from torchvision.models.googlenet import Inception

from resnet_probe.analyses import paths
from resnet_probe.unraveled import unravel
from tests.gradients.networks import InvertedResiduals, timm_network, transformer

SIZES = ("size", "dim", "getattr", "eq", "_assert", "floordiv")


class TwoInceptions(nn.Module):
    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(3, 4, 3, padding=1)
        self.one = Inception(4, 2, 2, 2, 2, 2, 2)
        self.two = Inception(8, 2, 2, 2, 2, 2, 2)
        self.head = nn.Linear(8, 10)

    def forward(self, x):
        return self.head(self.two(self.one(self.stem(x))).mean((2, 3)))


def dense():
    return torchvision.models.DenseNet(
        growth_rate=4, block_config=(2, 3), num_init_features=4, bn_size=1, num_classes=10
    )


def vision_transformer():
    import timm

    return timm.create_model(
        "vit_tiny_patch16_224", img_size=16, patch_size=8, embed_dim=12, depth=2, num_heads=2, num_classes=10
    )


def convnext():
    import timm

    return timm.create_model("convnext_atto", depths=(1, 1, 1, 1), dims=(4, 8, 8, 8), num_classes=10)


def layers_of(module):
    if isinstance(module, nn.MultiheadAttention):
        return 2
    return int(isinstance(module, nn.Conv2d | nn.Linear))


class Tracer(fx.Tracer):
    def is_leaf_module(self, module, name):
        simple = not any(True for _ in module.children())
        return simple or isinstance(module, nn.MultiheadAttention) or super().is_leaf_module(module, name)


def walk_every_path(model):
    """Lengths in layers of all paths from input to output, one path after another."""
    graph = Tracer().trace(model)
    (source,) = [node for node in graph.nodes if node.op == "placeholder"]
    modules = dict(model.named_modules())
    lengths: Counter[int] = Counter()
    stack = [(source, 0)]
    while stack:
        node, length = stack.pop()
        if node.op == "output":
            lengths[length] += 1
            continue
        if node.op == "call_module":
            length += layers_of(modules[node.target])
        name = node.target if isinstance(node.target, str) else getattr(node.target, "__name__", "")
        if node.op in ("call_method", "call_function") and name in SIZES:
            continue
        for user in node.users:
            times = 3 if isinstance(modules.get(user.target), nn.MultiheadAttention) else 1
            assert times == 1 or user.args[:3] == (node,) * 3  # query, key and value are the same: one path, not three
            stack.append((user, length))
    return lengths


@pytest.mark.parametrize(
    ("make", "size"),
    [
        (dense, 32),
        (TwoInceptions, 8),
        (transformer, 8),
        (InvertedResiduals, 8),
        pytest.param(timm_network, 32, id="timm resnetv2"),
        pytest.param(convnext, 32, id="timm convnext"),
    ],
)
def test_counts_equal_those_of_walking_every_path(make, size):
    model = make().eval()
    network = unravel(model, (3, size, size))
    counts = paths.multiply(paths.chain_polynomials(network)["layer"])
    walked = walk_every_path(model)
    assert {length: count for length, count in enumerate(counts) if count} == walked
    assert sum(walked.values()) > 1


@pytest.mark.slow
def test_paths_of_published_networks_in_closed_form():
    with torch.device("meta"):
        models = {
            "densenet121": torchvision.models.densenet121(),
            "vit_b_16": torchvision.models.vit_b_16(),
            "googlenet": torchvision.models.googlenet(init_weights=False, aux_logits=False),
        }
    totals = {}
    for name, model in models.items():
        polynomials = paths.chain_polynomials(unravel(model.eval(), (3, 224, 224)))
        totals[name] = [sum(paths.multiply(polynomials[unit])) for unit in paths.UNITS]
    # a dense layer doubles the paths that arrive, for its output is concatenated to its input: 6 + 12 + 24 + 16 layers
    assert totals["densenet121"] == [2**58, 2**58]
    assert totals["vit_b_16"][0] == 2**24
    assert totals["googlenet"] == [4**9, 4**9]
