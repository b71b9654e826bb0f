"""Published networks: as many blocks as their code has, and deletions inside them as by hand."""

import runpy
from functools import partial
from pathlib import Path

import pytest
import torch
from torch import nn

from resnet_probe import unravel
from resnet_probe.anatomy import dissect
from tests.networks import images

timm = pytest.importorskip("timm")
pytestmark = pytest.mark.slow

BENCHMARK = runpy.run_path(str(Path(__file__).parents[2] / "benchmarks" / "anatomy.py"))

QUICK = {
    "timm": (
        *("convnext_atto", "cs3darknet_s", "dla34", "dpn48b", "efficientnet_b0", "focalnet_tiny_srf", "ghostnet_050"),
        *("hrnet_w18_small", "nf_ecaresnet26", "rexnet_100", "test_vit"),
    ),
    "torchvision": ("googlenet", "swin_t", "vgg11"),
}


@pytest.mark.parametrize(("source", "name"), [(source, name) for source, names in QUICK.items() for name in names])
def test_blocks_are_as_many_as_the_code_has(source, name):
    expected = BENCHMARK[source.upper()][name]
    with torch.device("meta"):
        model = BENCHMARK["make"](source, name)
    shape = model.default_cfg["input_size"] if source == "timm" else (3, 224, 224)
    found = BENCHMARK["numbers"](dissect(model, shape))
    assert found == (expected if isinstance(expected, tuple) else (expected, 0))


# -- deletions by hand: the last module of the branch yields zeros ---------------------------------------------------


class Encoder(nn.Module):
    def __init__(self):
        super().__init__()
        layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)
        self.encoder = nn.TransformerEncoder(layer, 3, enable_nested_tensor=False)
        self.head = nn.Linear(8, 5)

    def forward(self, x):
        return self.head(self.encoder(x).mean(1))


def gcvit():
    options = {"depths": (1, 2), "num_heads": (2, 4), "window_ratio": (16, 16), "embed_dim": 16, "img_size": 64}
    return timm.models.gcvit.GlobalContextVit(num_classes=5, **options)


def crossvit():
    options = {"embed_dim": (16, 32), "depth": ((1, 2, 0),) * 2, "num_heads": (2, 2), "mlp_ratio": (2, 2, 1)}
    return timm.models.crossvit.CrossVit(img_size=48, img_scale=(1.0, 2 / 3), num_classes=5, **options)


# Per network how it is made, the shape of an input, and for each block the path of the module that ends its branch.
BY_HAND = {
    "hrnet": (
        partial(timm.create_model, "hrnet_w18_small", num_classes=5),
        (3, 64, 64),
        lambda block, model: f"{block}.bn3" if hasattr(model.get_submodule(block), "bn3") else f"{block}.bn2",
    ),
    "dpn": (
        partial(timm.create_model, "dpn48b", num_classes=5),
        (3, 64, 64),
        lambda block, model: f"{block.rpartition('.')[0]}.c1x1_c1",
    ),
    "gcvit": (
        gcvit,
        (3, 64, 64),
        lambda block, model: f"{block}.conv_pw" if hasattr(model.get_submodule(block), "conv_pw") else block,
    ),
    "crossvit": (crossvit, (3, 48, 48), lambda block, model: f"{block}.attn" if block[-8:-1] == "fusion." else block),
    "encoder": (
        Encoder,
        (6, 8),
        lambda block, model: (
            f"{block.rpartition('.')[0]}.dropout1" if "attn" in block else f"{block.rpartition('.')[0]}.dropout2"
        ),
    ),
}


@pytest.mark.parametrize("which", BY_HAND)
def test_deleting_a_block_is_what_zeroing_its_branch_is(which):
    make, shape, branch = BY_HAND[which]
    torch.manual_seed(0)
    model = make().eval()
    net = unravel(model, shape)
    x = images(2, shape)
    for block in net.blocks:
        module = model.get_submodule(branch(block.name, model))
        hook = module.register_forward_hook(lambda module, inputs, output: torch.zeros_like(output))
        expected = model(x).detach()  # with gradients, without which the encoder takes a path of its own
        hook.remove()
        with torch.no_grad():
            edited, intact = net.delete(block.name)(x), net(x)
        assert torch.allclose(edited, expected, atol=1e-6, rtol=0), block.name
        assert not torch.equal(edited, intact), block.name
