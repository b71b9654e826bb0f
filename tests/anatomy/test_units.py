import re
import sys
from collections import Counter
from functools import cache
from itertools import pairwise

import networkx as nx
import pytest
import torch
from torch import nn

from resnet_probe.anatomy import dissect, layers_in, trace
from resnet_probe.models import resolve
from tests.networks import MADE, SHAPE, Block, Random, Small, conv, make, trained

SEEDS = range(25)


@cache
def anatomy(which):
    model = trained(lambda: Random(which)) if isinstance(which, int) else make(which)
    return dissect(model, SHAPE)


def chain(which):
    return [(unit.name, unit.kind, unit.shortcut) for unit in anatomy(which).units]


STEM, POOL, HEAD = ("stem", "layer", ""), ("mean", "other", ""), ("head", "layer", "")
EXPECTED = {
    "flat": [STEM, ("one", "block", "identity"), ("three", "block", "identity"), POOL, HEAD],
    "bare": [("conv2d", "layer", ""), ("add", "block", "identity"), POOL, ("linear", "layer", "")],
    "blocks": [
        STEM,
        *[("blocks.0", "block", "identity"), ("blocks.0.relu@1", "other", "")],
        *[("blocks.1", "block", "identity"), ("blocks.1.relu@1", "other", ""), HEAD],
    ],
    # the first activation belongs to the stem; the second stands between the blocks
    "pre-activation": [
        *[STEM, ("blocks.0", "block", "identity"), ("blocks.1.bn", "other", ""), ("blocks.1", "block", "identity")],
        *[POOL, HEAD],
    ],
    # a block in the branch of another
    **{name: [STEM, ("two", "parallel", ""), POOL, HEAD] for name in MADE if name.startswith("in place")},
    "overwritten twice": [
        *[STEM, ("one", "block", "identity"), ("relu@1", "other", ""), ("two", "block", "identity"), POOL, HEAD]
    ],
    "three terms": [STEM, ("one", "block", "identity"), POOL, HEAD],
    "three terms by sum": [STEM, ("one", "block", "identity"), POOL, HEAD],
    "gated": [STEM, ("block", "block", "identity"), ("gate", "parallel", ""), POOL, HEAD],
    "concatenated": [STEM, ("mixed", "parallel", ""), POOL, HEAD],
    "shared block": [
        *[STEM, ("block", "block", "identity"), ("block.relu@1", "other", "")],
        *[("block@1", "block", "identity"), ("block.relu@3", "other", ""), HEAD],
    ],
    "projections": [
        *[STEM, ("identity", "block", "identity"), ("one", "block", "conv1x1"), ("three", "block", "conv3x3")],
        *[("pad", "block", "zero-pad"), ("add", "block", "identity"), POOL, HEAD],
    ],
    "tokens": [
        *[("patch", "layer", ""), ("reshape", "other", "")],
        *[(f"layers.{i}.{part}", "block", "identity") for i in (0, 1) for part in ("attention", "mlp")],
        *[("getitem", "other", ""), HEAD],
    ],
    "tokens first": [
        *[("flatten", "other", ""), ("embed", "layer", "")],
        *[("one", "block", "identity"), ("two", "block", "identity"), POOL, HEAD],
    ],
    "positions": [STEM, ("one", "block", "identity"), ("two", "block", "identity"), POOL, HEAD],
    "batch sizes": [STEM, ("one", "block", "identity"), ("two", "block", "identity"), POOL, HEAD],
    "buffers": [STEM, ("one", "block", "identity"), POOL, HEAD],
    "plain": [
        *[("0", "layer", ""), ("3", "other", ""), ("4", "layer", ""), ("7", "layer", "")],
        *[("9", "other", ""), ("11", "layer", "")],
    ],
}


@pytest.mark.parametrize("which", MADE)
def test_units_have_the_names_and_kinds_that_people_use(which):
    assert chain(which) == EXPECTED[which]


@pytest.mark.parametrize("which", [*MADE, *SEEDS])
def test_names_are_unique_and_begin_with_a_module(which):
    model = trained(lambda: Random(which)) if isinstance(which, int) else make(which)
    paths = {name for name, _ in model.named_modules()}
    names = [unit.name for unit in anatomy(which).units]
    assert len(set(names)) == len(names)
    for name in names:
        bare = re.sub(r"@\d+", "", name)
        assert bare in paths or bare.rpartition(".")[0] in paths, name


@pytest.mark.parametrize("which", [*MADE, *SEEDS])
def test_units_are_the_whole_trunk_in_order(which):
    traced, flow, units = anatomy(which).traced, anatomy(which).flow, anatomy(which).units
    assert units[0].entry is traced.source
    assert units[-1].exit is traced.result
    for before, after in pairwise(units):
        assert before.exit is after.entry
        assert before.out_shape == after.in_shape
        assert before.stage <= after.stage
    assert sum(len(unit.nodes) for unit in units) == len(flow) - 1
    assert units[0].in_shape == SHAPE
    for unit in units:
        assert unit.resizes == (unit.in_shape != unit.out_shape)
        assert (unit.kind == "block") == bool(unit.shortcut)
        assert (unit.kind == "parallel") == bool(unit.branches)
        assert unit.kind == "parallel" or not unit.blocks
        assert len(unit.regions) == 1 or unit.kind in ("layer", "other")


@pytest.mark.parametrize("which", [*MADE, *SEEDS])
def test_path_polynomials_are_those_of_all_paths(which):
    """Products over the chain against every path of the graph of ways, one by one."""
    found = anatomy(which)
    by_layer, by_module = [1], [1]
    for unit in found.units:
        by_layer = polynomial_product(by_layer, unit.layer_polynomial)
        by_module = polynomial_product(by_module, unit.module_polynomial)
    taken = {edge for each in found.sums.values() if each.block for edge in each.edges_of(each.block.branch)}
    layers, modules = Counter(), Counter()
    for path in nx.all_simple_paths(found.ways, found.traced.source, found.traced.result):
        layers[sum(map(layers_in, path))] += 1
        modules[sum(edge in taken for edge in pairwise(path))] += 1
    assert {k: n for k, n in enumerate(by_layer) if n} == layers
    assert {k: n for k, n in enumerate(by_module) if n} == modules
    assert sum(by_layer) == sum(by_module)


def polynomial_product(a, b):
    return [sum(a[i] * b[k - i] for i in range(len(a)) if 0 <= k - i < len(b)) for k in range(len(a) + len(b) - 1)]


def test_a_layer_ends_where_the_shape_changes():
    """Convolution, norm and activation are one layer; pooling and flattening are none."""
    sizes = [[node.name for node in unit.nodes] for unit in anatomy("plain").units]
    assert sizes == [["_0", "_1", "_2"], ["_3"], ["_4", "_5", "_6"], ["_7", "_8"], ["_9", "_10"], ["_11"]]


def test_stages_are_counted_along_the_blocks():
    units = dissect(resolve("resnet14-w2").eval(), (3, 8, 8)).units
    found = {unit.name: (unit.stage, unit.resizes, unit.shortcut) for unit in units if unit.kind == "block"}
    keep, pad = (False, "identity"), (True, "zero-pad")
    assert found == {
        **{"layer1.0": (1, *keep), "layer1.1": (1, *keep)},
        **{"layer2.0": (2, *pad), "layer2.1": (2, *keep)},
        **{"layer3.0": (3, *pad), "layer3.1": (3, *keep)},
    }


def test_stages_of_a_network_without_blocks_are_counted_along_its_layers():
    units = [unit for unit in anatomy("plain").units if unit.kind == "layer"]
    assert [(unit.name, unit.stage) for unit in units] == [("0", 1), ("4", 2), ("7", 3), ("11", 3)]


@pytest.mark.parametrize(
    ("arch", "shortcuts"),
    [
        ("resnet8-w2-A", ["identity", "zero-pad", "zero-pad"]),
        ("resnet8-w2-B", ["identity", "conv1x1", "conv1x1"]),
        ("resnet8-w2-B3x3", ["identity", "conv3x3", "conv3x3"]),
        ("resnet8-w2-C", ["conv1x1", "conv1x1", "conv1x1"]),
        ("resnet11-w2-bottleneck", ["conv1x1", "conv1x1", "conv1x1"]),
        ("resnet8-w2-preact", ["identity", "zero-pad", "zero-pad"]),
        ("plain8-w2", []),
        ("vgg11-w2", []),
    ],
)
def test_shortcuts_of_the_papers_networks(arch, shortcuts):
    units = dissect(resolve(arch).eval(), (3, 32, 32)).units
    assert [unit.shortcut for unit in units if unit.kind == "block"] == shortcuts
    assert [unit.name for unit in units if unit.kind == "block"] == [f"layer{i + 1}.0" for i in range(len(shortcuts))]


def test_a_parallel_region_names_its_branches():
    (mixed,) = [unit for unit in anatomy("concatenated").units if unit.kind == "parallel"]
    assert mixed.branches == ("mixed.left", "mixed.right")
    (gate,) = [unit for unit in anatomy("gated").units if unit.kind == "parallel"]
    assert gate.branches == ("identity", "gate.down")


class Twice(nn.Module):
    """Two blocks whose main parts have the same name, and a module that is called like one of them."""

    def __init__(self):
        super().__init__()
        self.conv = conv(3, 3)

    def forward(self, x):
        x = x + self.conv(x)
        return x + self.conv(x)


def test_names_that_would_be_equal_are_numbered():
    model = nn.Sequential(Twice(), Twice()).eval()
    assert [unit.name for unit in dissect(model, SHAPE).units] == ["0.conv", "0.conv@1", "1.conv", "1.conv@1"]


def test_a_copy_of_a_traced_network_has_the_same_units():
    before = anatomy("tokens")
    again = dissect(before.traced.module, SHAPE)
    assert [unit.name for unit in again.units] == [unit.name for unit in before.units]


def test_leaves_are_passed_on():
    model = trained(lambda: Small(block=Block()))
    model.middle = model.block
    assert [unit.name for unit in dissect(model, SHAPE, leaves=["block"]).units] == ["stem", "block", "mean", "head"]
    assert trace(model, SHAPE, leaves=[Block]).result.name == "head"


# -- networks of other libraries -------------------------------------------------------------------------------------


def on_meta(arch, shape=(3, 224, 224)):
    """Units of a network without weights."""
    try:
        with torch.device("meta"):
            model = resolve(arch)
    except NotImplementedError:  # torchvision's RegNets compute their widths with tensors
        model = resolve(arch).to("meta")
    return dissect(model, shape).units


def stages(prefix, *counts, first=1):
    return [f"{prefix}{first + i}.{j}" for i, count in enumerate(counts) for j in range(count)]


RESNET50 = stages("layer", 3, 4, 6, 3)
SWIN = [
    f"features.{stage}.{i}.{part}"
    for stage, count in ((1, 2), (3, 2), (5, 6), (7, 2))
    for i in range(count)
    for part in ("attn", "mlp")
]
REGNET = [f"trunk_output.block{s}.block{s}-{b}" for s, n in enumerate((1, 3, 6, 6), 1) for b in range(n)]
VIT = [f"encoder.layers.encoder_layer_{i}.{part}" for i in range(12) for part in ("self_attention", "mlp")]
CONVNEXT = [f"features.{s}.{b}" for s, n in ((1, 3), (3, 3), (5, 9), (7, 3)) for b in range(n)]
EFFICIENT = [f"features.{s}.{b}" for s, n in ((2, 2), (3, 2), (4, 3), (5, 3), (6, 4)) for b in range(1, n)]
BLOCKS = {  # network -> names of its blocks, shortcuts that are no identity, stages
    "resnet18": (stages("layer", 2, 2, 2, 2), {"layer2.0", "layer3.0", "layer4.0"}, 4),
    "resnet50": (RESNET50, {"layer1.0", "layer2.0", "layer3.0", "layer4.0"}, 4),
    "wide_resnet50_2": (RESNET50, {"layer1.0", "layer2.0", "layer3.0", "layer4.0"}, 4),
    "resnext50_32x4d": (RESNET50, {"layer1.0", "layer2.0", "layer3.0", "layer4.0"}, 4),
    "mobilenet_v2": ([f"features.{i}" for i in (3, 5, 6, 8, 9, 10, 12, 13, 15, 16)], set(), 5),
    "mobilenet_v3_small": ([f"features.{i}" for i in (3, 5, 6, 8, 10, 11)], set(), 4),
    "efficientnet_b0": (EFFICIENT, set(), 5),
    "convnext_tiny": (CONVNEXT, set(), 4),
    "regnet_y_400mf": (REGNET, {f"trunk_output.block{s}.block{s}-0" for s in (1, 2, 3, 4)}, 4),
    "vit_b_16": (VIT, set(), 1),
    "swin_t": (SWIN, set(), 4),
}
QUICK = {"resnet18"}


@pytest.mark.parametrize(
    "name", [name if name in QUICK else pytest.param(name, marks=pytest.mark.slow) for name in BLOCKS]
)
def test_blocks_of_torchvisions_networks(name):
    units = on_meta(f"torchvision:{name}")
    names, projected, count = BLOCKS[name]
    blocks = [unit for unit in units if unit.kind == "block"]
    assert [unit.name for unit in blocks] == names
    assert {unit.name for unit in blocks if unit.shortcut != "identity"} == projected
    assert {unit.shortcut for unit in blocks} <= {"identity", "conv1x1"}
    assert max(unit.stage for unit in blocks) == count
    assert len({unit.name for unit in units}) == len(units)


def test_vgg_is_layers_and_no_blocks():
    units = on_meta("torchvision:vgg11_bn")
    assert {unit.kind for unit in units} == {"layer", "other"}
    layers = [unit.name for unit in units if unit.kind == "layer"]
    convolutions = [f"features.{i}" for i in (0, 4, 8, 11, 15, 18, 22, 25)]
    assert layers == [*convolutions, *(f"classifier.{i}" for i in (0, 3, 6))]
    assert [unit.stage for unit in units if unit.name in convolutions] == [1, 2, 3, 3, 4, 4, 5, 5]


INCEPTIONS = [f"inception{name}" for name in ("3a", "3b", "4a", "4b", "4c", "4d", "4e", "5a", "5b")]
PARALLEL = {
    "googlenet": INCEPTIONS,
    "densenet121": [f"features.denseblock{i}" for i in (1, 2, 3, 4)],
}


@pytest.mark.slow
@pytest.mark.parametrize("name", PARALLEL)
def test_concatenations_are_parallel_regions(name):
    units = on_meta(f"torchvision:{name}")
    parallel = [unit for unit in units if unit.kind == "parallel"]
    assert [unit.name for unit in parallel] == PARALLEL[name]
    assert not any(unit.kind == "block" for unit in units)
    if name == "googlenet":
        assert {unit.branches for unit in parallel} == {
            tuple(f"{name}.branch{i}" for i in (1, 2, 3, 4)) for name in INCEPTIONS
        }


TIMM = {
    "resnet18": stages("layer", 2, 2, 2, 2),
    "vit_tiny_patch16_224": [f"blocks.{i}.{part}" for i in range(12) for part in ("attn", "mlp")],
    "mixer_s32_224": [f"blocks.{i}.{part}" for i in range(8) for part in ("mlp_tokens", "mlp_channels")],
    "resnetv2_50": [f"stages.{i}.blocks.{j}" for i, count in enumerate((3, 4, 6, 3)) for j in range(count)],
    "convnext_atto": [f"stages.{i}.blocks.{j}" for i, count in enumerate((2, 2, 6, 2)) for j in range(count)],
}


@pytest.mark.filterwarnings("ignore")  # timm's own
@pytest.mark.parametrize("name", [n if n == "resnet18" else pytest.param(n, marks=pytest.mark.slow) for n in TIMM])
def test_blocks_of_timms_networks(name):
    pytest.importorskip("timm")
    assert [unit.name for unit in on_meta(f"timm:{name}") if unit.kind == "block"] == TIMM[name]
    assert "timm.models" in sys.modules
