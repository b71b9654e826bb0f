"""Which sums are residual blocks, wherever they stand, and which are not."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from resnet_probe import unravel
from resnet_probe.anatomy import dissect
from tests.networks import SHAPE, Block, Bypassed, Small, conv, images, trained


def network(middle, **parts):
    return trained(lambda: type("Model", (Small,), {"middle": middle})(**parts))


def found(model, shape=SHAPE):
    """Blocks of a network by name, and the reasons of its other sums."""
    anatomy = dissect(model, shape)
    blocks = [block.name for unit in anatomy.units for block in (unit, *unit.blocks) if block.kind == "block"]
    return blocks, [each.reason for each in anatomy.sums.values() if each.reason]


# -- blocks that are no links of the chain -----------------------------------------------------------------------------


class Conditioned(Small):
    """Every block reads one vector made from the input."""

    def __init__(self):
        super().__init__(condition=nn.Linear(4, 4), one=conv(), two=conv(), three=conv())

    def middle(self, x, gone=()):
        shift = self.condition(x.mean((2, 3)))[:, :, None, None]
        for name in ("one", "two", "three"):
            if name not in gone:
                x = x + getattr(self, name)(F.relu(x * shift))
        return x


class Streams(Small):
    """Two resolutions side by side that are added to one another (Wang et al. 2019, HRNet)."""

    def __init__(self):
        super().__init__(down=conv(stride=2), high=Block(), low=Block(), up=conv(4, 4, 1), lower=conv(stride=2))

    def middle(self, x, gone=()):
        high, low = F.relu(x), F.relu(self.down(x))
        high = high.relu() if "high" in gone else self.high(high)
        low = low.relu() if "low" in gone else self.low(low)
        fused = high + F.interpolate(self.up(low), scale_factor=2)
        return F.relu(fused) + F.interpolate(F.relu(low + self.lower(high)), scale_factor=2)


class Partial(Small):
    """Half of the channels go around the blocks (Wang et al. 2020, CSPNet)."""

    def __init__(self):
        super().__init__(left=conv(4, 4, 1), right=conv(4, 4, 1), one=conv(), two=conv(), join=conv(8, 4, 1))

    def middle(self, x, gone=()):
        y = self.right(x)
        for name in ("one", "two"):
            if name not in gone:
                y = y + F.relu(getattr(self, name)(y))
        return self.join(torch.cat([self.left(x), y], 1))


class DualPath(Small):
    """A residual and a dense part; the branch reads both (Chen et al. 2017, DPN)."""

    def __init__(self):
        super().__init__(first=conv(4, 6), one=conv(6, 6), two=conv(8, 6))

    def middle(self, x, gone=()):
        x = F.relu(self.first(x))
        residual, dense = x[:, :4], x[:, 4:]
        for name in ("one", "two"):
            y = F.relu(getattr(self, name)(torch.cat([residual, dense], 1)))
            residual = residual if name in gone else residual + y[:, :4]
            dense = torch.cat([dense, y[:, 4:]], 1)
        return residual + 0 * dense.mean()


class Projected(Small):
    """A projection shortcut inside a bypassed stage."""

    def __init__(self):
        super().__init__(down=conv(4, 6, stride=2), deep=conv(6, 6), way=nn.Conv2d(4, 6, 1, stride=2), last=conv(6, 4))

    def middle(self, x, gone=()):
        y = self.way(x) if "down" in gone else self.way(x) + self.deep(F.relu(self.down(x)))
        return x + F.interpolate(self.last(F.relu(y)), scale_factor=2)


class Joined(Small):
    """A block, and another behind it that a concatenation puts beside the first (Li et al. 2022, Next-ViT)."""

    def __init__(self):
        super().__init__(one=conv(), less=conv(4, 2, 1), two=conv(2, 2), join=conv(6, 4, 1))

    def middle(self, x, gone=()):
        x = x if "one" in gone else x + F.relu(self.one(x))
        y = self.less(x)
        y = y if "two" in gone else y + F.relu(self.two(y))
        return self.join(torch.cat([x, y], 1))


NESTED = {
    "conditioned": (Conditioned, ["one", "two", "three"], 0),
    "bypassed": (Bypassed, ["one", "two"], 1),
    "streams": (Streams, ["high", "low"], 0),
    "partial": (Partial, ["one", "two"], 0),
    "dual path": (DualPath, ["one", "two"], 0),
    "projected": (Projected, ["down"], 1),
    "joined": (Joined, ["one", "two"], 0),
}


def named(blocks, names):
    """Which block is meant by each name: the one whose name begins so, or the next in order."""
    return {name: next((block for block in blocks if block.split(".")[0] == name), None) for name in names}


@pytest.mark.parametrize("which", NESTED)
def test_blocks_inside_a_unit_are_found(which):
    make, names, bypasses = NESTED[which]
    anatomy = dissect(trained(make), SHAPE)
    blocks, _ = found(trained(make))
    assert len(blocks) == len(names)
    assert sum(bool(each.holds) for each in anatomy.sums.values()) == bypasses
    inside = {block.inside for unit in anatomy.units for block in unit.blocks}
    assert inside <= {unit.name for unit in anatomy.units}


@pytest.mark.parametrize("which", NESTED)
def test_deleting_one_is_what_deleting_by_hand_is(which):
    """Every set of blocks against the model's own code without them."""
    make, names, _ = NESTED[which]
    model = trained(make)
    net = unravel(model, SHAPE)
    blocks = [unit.name for unit in net.blocks]
    x = images(5)
    with torch.no_grad():
        stem = model.stem(x)
        for kept in range(2 ** len(names)):
            gone = [i for i in range(len(names)) if not kept >> i & 1]
            expected = model.head(model.middle(stem, gone=[names[i] for i in gone]).mean((2, 3)))
            edited = net.delete(*(blocks[i] for i in gone))
            assert torch.allclose(edited(x), expected, atol=1e-6)
            assert torch.equal(edited.to_module()(x), edited(x))


@pytest.mark.parametrize("which", NESTED)
def test_scaling_one_by_0_deletes_it_and_by_1_changes_nothing(which):
    net = unravel(trained(NESTED[which][0]), SHAPE)
    x = images(2)
    with torch.no_grad():
        for unit in net.blocks:
            name = unit.name
            assert torch.allclose(net.scale({name: 0.0})(x), net.delete(name)(x), atol=1e-6)
            assert torch.equal(net.scale({name: 1.0})(x), net(x))
            middle = (net.scale({name: 0.5}).scale({name: 0.5})(x), net.scale({name: 0.25})(x))
            assert torch.allclose(*middle, atol=1e-6)


def test_a_block_inside_a_unit_has_its_certificate():
    net = unravel(trained(Bypassed), SHAPE)
    assert set(net.certificate.block_errors) == {unit.name for unit in net.blocks}
    assert max(net.certificate.block_errors.values()) <= 1e-6
    assert not net.links


def test_only_links_of_the_chain_can_be_reordered():
    net = unravel(trained(Bypassed), SHAPE)
    with pytest.raises(ValueError, match="links of the chain"):
        net.reorder([unit.name for unit in net.blocks[::-1]])


def test_an_edited_network_keeps_its_names():
    """Also where one of two blocks of a module is gone."""
    net = unravel(trained(Bypassed), SHAPE)
    first, second = (unit.name for unit in net.blocks)
    for gone, left in ((first, second), (second, first)):
        again = unravel(net.delete(gone).to_module(), SHAPE)
        assert [unit.name for unit in again.blocks] == [left]
    again = unravel(net.scale({first: 0.5, second: 0.5}).to_module(), SHAPE)
    assert [unit.name for unit in again.blocks] == [first, second]


# -- sums in other words -----------------------------------------------------------------------------------------------

WORDS = {
    "alpha": (lambda x, f: torch.add(x, f, alpha=0.3), 1),
    "alpha of a method": (lambda x, f: x.add(f, alpha=0.3), 1),
    "in place": (lambda x, f: (x * 1).add_(f, alpha=0.3), 1),
    "names": (lambda x, f: torch.add(input=x, other=f), 1),
    "addcmul": (lambda x, f: torch.addcmul(x, f, f.sigmoid(), value=2), 1),
    "lerp": (lambda x, f: torch.lerp(x, f, 0.25), 0.75),
    "lerp by a gate": (lambda x, f: torch.lerp(x, f, x.sigmoid()), lambda x: x * (1 - x.sigmoid())),
    "difference": (lambda x, f: x - f, 1),
    "stack": (lambda x, f: torch.stack([x, f, f.relu()]).sum(0), 1),
    "scaled": (lambda x, f: 0.5 * x + f, 0.5),
    "gated": (lambda x, f: x * 0.5 + f * torch.sigmoid(f), 0.5),
}


@pytest.mark.parametrize("which", WORDS)
def test_every_way_to_write_a_sum_is_a_block(which):
    add, left = WORDS[which]
    model = network(lambda net, x: add(x, net.two(F.relu(net.one(x)))), one=conv(), two=conv())
    net = unravel(model, SHAPE)
    (block,) = net.blocks
    x = images(3)
    with torch.no_grad():
        assert torch.allclose(net(x), model(x), atol=1e-6)
        rest = left(model.stem(x)) if callable(left) else left * model.stem(x)  # what deletion leaves
        assert torch.allclose(net.delete(block.name)(x), model.head(rest.mean((2, 3))), atol=1e-6)


# -- shortcuts of several operations, and sums that belong to a larger one ---------------------------------------------

MADE_OF_SEVERAL = {
    # Han et al. 2020 (GhostNet): a projection in two steps, depthwise and pointwise, is one linear map
    "separable projection": (
        lambda net, x: net.point(net.depth(x)) + net.three(F.relu(net.two(F.relu(net.one(x))))),
        lambda net, x: net.point(net.depth(x)),
    ),
    # Srivastava et al. 2015: what is carried is gated by what gates the branch
    "highway": (
        lambda net, x: torch.lerp(x, net.two(x), torch.sigmoid(net.one(x))),
        lambda net, x: x * (1 - torch.sigmoid(net.one(x))),
    ),
    "highway of a pooled value": (
        lambda net, x: F.avg_pool2d(x, 3, 1, 1) * torch.tanh(net.one(x)) + net.two(F.relu(net.point(x))),
        lambda net, x: F.avg_pool2d(x, 3, 1, 1) * torch.tanh(net.one(x)),
    ),
    "highway whose gate is a product": (
        lambda net, x: x * torch.sigmoid(net.one(x) * net.three(x)) + net.two(F.relu(net.point(x))),
        lambda net, x: x * torch.sigmoid(net.one(x) * net.three(x)),
    ),
    # Vasu et al. 2023 (FastViT), Lee et al. 2024 (EfficientViM): a step from the input to a function of it
    "step": (lambda net, x: x + 0.5 * (net.two(F.relu(net.one(x))) - x), lambda net, x: x),
    "learned step": (lambda net, x: x + net.scale * (net.two(x) - net.norm(x)), lambda net, x: x),
}


@pytest.mark.parametrize("which", MADE_OF_SEVERAL)
def test_a_shortcut_of_several_operations_and_a_scaled_difference_make_one_block(which):
    middle, left = MADE_OF_SEVERAL[which]
    parts = {
        "depth": conv(groups=4),
        "point": conv(4, 4, 1),
        "norm": nn.BatchNorm2d(4),
        "scale": nn.Parameter(torch.ones(1)),
    }
    model = network(middle, one=conv(), two=conv(), three=conv(), **parts)
    net = unravel(model, SHAPE)
    (block,) = net.blocks
    assert not any(each.holds for each in net.anatomy.sums.values())
    x = images(3)
    with torch.no_grad():
        expected = model.head(left(model, model.stem(x)).mean((2, 3)))
        assert torch.allclose(net.delete(block.name)(x), expected, atol=1e-6)


# -- sums that are no blocks -------------------------------------------------------------------------------------------


def reversible(net, x):
    """Gomez et al. 2017: each half is added to a function of the other."""
    a, b = x.chunk(2, 1)
    for first, second in ((net.f, net.g), (net.h, net.k)):
        a = a + F.relu(first(b))
        b = b + F.relu(second(a))
    return torch.cat([a, b], 1)


def hierarchical(net, x):
    """Gao et al. 2019 (Res2Net): each part is added to the convolution of the part before."""
    a, b = x.split(2, 1)
    a = F.relu(net.f(a))
    return torch.cat([a, F.relu(net.g(a + b))], 1)


def low_rank(net, x):
    """Hu et al. 2021 (LoRA): two linear maps that are one."""
    return net.one(x) + net.two(net.three(x))


def heads(net, x):
    return (net.one(x) + net.three(F.relu(net.two(x)))) / 2


def halved(net, x):
    return 0.5 * (net.one(x) + net.three(F.relu(net.two(x))))


def recurrent(net, x):
    """A recurrence that reads its input at every step (Elman 1990)."""
    state = torch.tanh(net.one(x))
    for _ in range(2):
        state = torch.tanh(net.one(x) + net.two(state))
    return state


def gated_unit(net, x):
    """Cho et al. 2014 (GRU), one step."""
    state = torch.tanh(net.one(x))
    gate = torch.sigmoid(net.one(x) + net.two(state))
    return torch.sigmoid(net.three(gate * torch.tanh(net.one(x) + net.two(state))))


def focal(net, x):
    """Yang et al. 2022 (FocalNet): contexts of growing width, each times its gate."""
    context, gates = net.one(x).split([3, 1], 1)
    first = F.gelu(net.two(context))
    return net.four(first * gates + F.gelu(net.three(first)) * gates.sigmoid())


def pooled(net, x):
    """Li et al. 2023 (EfficientFormerV2): queries at half the resolution are a convolution and a picked pixel."""
    return F.interpolate(F.relu(net.one(x) + F.avg_pool2d(x, 1, 2)), scale_factor=2)


def normed(net, x):
    """Ding et al. 2021 (RepVGG) without the third branch: one convolution and a norm, which make one convolution."""
    return F.relu(net.norm(x) + net.one(x))


def response(net, x):
    """Woo et al. 2023 (ConvNeXt V2): response normalisation adds to each channel its multiple."""
    size = x.norm(dim=(2, 3), keepdim=True)
    return x + torch.addcmul(
        net.shift.view(1, 4, 1, 1), net.scale.view(1, 4, 1, 1), x * (size / (size.mean(1, keepdim=True) + 1))
    )


def colours(net, x):
    """From RGB to differences from the brightness."""
    red, green, blue = x[:, :1], x[:, 1:2], x[:, 2:3]
    bright = 0.3 * red + 0.6 * green + 0.1 * blue
    return torch.cat([bright, x[:, 3:], F.relu(0.5 * (blue - bright)), F.relu(0.7 * (red - bright))], 1)


def queries(net, x):
    """Li et al. 2022 (MViTv2): attention adds the queries that it pooled."""
    query, key, value = (part(x).flatten(2).transpose(1, 2) for part in (net.one, net.two, net.three))
    mixed = torch.softmax(query @ key.transpose(1, 2), -1) @ value + query
    return net.four(mixed.transpose(1, 2).reshape(x.shape))


def experts(net, x):
    """Jacobs et al. 1991: a mixture of experts, without a shortcut."""
    gate = torch.softmax(net.three(x).mean((2, 3), keepdim=True), 1)
    return net.one(x) * gate[:, :1] + net.two(F.relu(net.one(x))) * gate[:, 1:2]


def averaged(net, x):
    return net.one(x) + net.two(x)


def masked_attention(net, x):
    tokens = x.flatten(2).transpose(1, 2)
    scores = net.query(tokens) @ net.key(tokens).transpose(1, 2)
    mask = tokens.mean(2)[:, None, :] * torch.ones(64, 1)
    values = torch.softmax(scores + mask, -1) @ tokens
    return values.transpose(1, 2).reshape(x.shape)


def scan(net, x):
    """Gu and Dao 2023 (Mamba): a recurrence, a skip past it, and a gate that reads both."""
    gate, u = F.silu(net.one(x)), F.silu(net.two(x))
    state = torch.zeros_like(u[..., 0])
    rows = []
    decay, drive = torch.sigmoid(net.three(u)), net.three(u) * u
    for i in range(4):
        state = decay[..., i] * state + drive[..., i]
        rows.append(state)
    y = torch.stack(rows, -1).repeat(1, 1, 1, 2)
    return (y + u * net.skip) * gate


def cell(net, x):
    """Zoph et al. 2018 (NASNet): sums of pairs, gathered by a concatenation."""
    left, right = net.one(x), net.two(x)
    sums = [F.relu(net.three(left)) + left, F.avg_pool2d(right, 3, 1, 1) + left, F.relu(net.four(right)) + right]
    return net.join(torch.cat(sums, 1))


def stem_cell(net, x):
    """NASNet's first cell: one of the gathered sums is read by another too."""
    left = net.one(x)
    first = F.max_pool2d(left, 3, 1, 1) + net.three(F.relu(net.two(x)))
    second = F.avg_pool2d(left, 3, 1, 1) + net.four(F.relu(net.two(x)))
    third = F.max_pool2d(left, 3, 1, 1) + net.five(F.relu(first))
    return net.join(torch.cat([first, second, third], 1))


def pyramid(net, x):
    """Lin et al. 2017 (FPN): a lateral projection and what comes from below."""
    low = F.relu(net.down(x))
    return net.lateral(x) + F.interpolate(net.one(low), scale_factor=2)


def half(size=3):
    return conv(2, 2, size)


OTHERS = {
    "reversible": (reversible, {"f": half(), "g": half(), "h": half(), "k": half()}, "parts of one value are coupled"),
    "hierarchical": (hierarchical, {"f": half(), "g": half()}, "parts of one value are coupled"),
    "low rank": (
        low_rank,
        {"one": conv(), "two": conv(1, 4, 1), "three": conv(4, 1, 1)},
        "one linear map in two parts",
    ),
    "heads": (heads, {"one": conv(), "two": conv(), "three": conv()}, "the mean of two branches"),
    "halved": (halved, {"one": conv(), "two": conv(), "three": conv()}, "the mean of two branches"),
    "recurrent": (recurrent, {"one": conv(), "two": conv()}, "both operands use a layer"),
    "gated unit": (gated_unit, {"one": conv(), "two": conv(), "three": conv()}, "both operands use a layer"),
    "focal": (
        focal,
        {"one": conv(), "two": conv(3, 3), "three": conv(3, 3), "four": conv(3, 4)},
        "a product with another value is added",
    ),
    "pooled": (pooled, {"one": conv(stride=2)}, "one linear map in two parts"),
    "normed": (normed, {"one": conv(), "norm": nn.BatchNorm2d(4)}, "one linear map in two parts"),
    "response": (
        response,
        {"shift": nn.Parameter(torch.rand(4)), "scale": nn.Parameter(torch.rand(4))},
        "a value and its product with a gate",
    ),
    "colours": (colours, {}, "one linear map in two parts"),
    "queries": (
        queries,
        {"one": conv(), "two": conv(), "three": conv(), "four": conv()},
        "attention adds its own queries",
    ),
    "experts": (experts, {"one": conv(), "two": conv(), "three": conv()}, "both operands use a layer"),
    "averaged": (averaged, {"one": conv(), "two": conv()}, "both operands are branches"),
    "mask": (
        masked_attention,
        {"query": nn.Linear(4, 4), "key": nn.Linear(4, 4)},
        "attention scores: a softmax reads it",
    ),
    "scan": (
        scan,
        {"one": conv(), "two": conv(), "three": conv(), "skip": nn.Parameter(torch.ones(4, 1, 1))},
        "a product with another value reads it",
    ),
    "cell": (
        cell,
        {"one": conv(), "two": conv(), "three": conv(), "four": conv(), "join": conv(12, 4, 1)},
        "one of several sums that a concatenation gathers",
    ),
    "stem cell": (
        stem_cell,
        {"one": conv(), "two": conv(), "three": conv(), "four": conv(), "five": conv(), "join": conv(12, 4, 1)},
        "one of several sums that a concatenation gathers",
    ),
    "pyramid": (
        pyramid,
        {"down": conv(stride=2), "one": conv(), "lateral": conv(4, 4, 1)},
        "values of two resolutions",
    ),
}  # fmt: skip


@pytest.mark.parametrize("which", OTHERS)
def test_other_sums_are_no_blocks_and_say_why(which):
    middle, parts, reason = OTHERS[which]
    blocks, reasons = found(network(middle, **parts))
    assert blocks == []
    assert reason in reasons


@pytest.mark.parametrize("which", OTHERS)
def test_a_block_around_them_is_found_alone(which):
    middle, parts, _ = OTHERS[which]
    model = network(lambda net, x: x + net.after(F.relu(middle(net, x))), after=conv(4, 4, 1), **parts)
    blocks, _ = found(model)
    assert len(blocks) == 1
    net = unravel(model, SHAPE)
    x = images(2)
    with torch.no_grad():
        assert torch.allclose(net.delete(*blocks)(x), model.head(model.stem(x).mean((2, 3))), atol=1e-6)


# -- several outputs, and parts of larger models -----------------------------------------------------------------------


class Pyramid(nn.Module):
    """A backbone that returns the value after every stage."""

    def __init__(self):
        super().__init__()
        self.stem = conv(3)
        self.blocks = nn.ModuleList(Block() for _ in range(3))

    def forward(self, x, gone=()):
        x, found = self.stem(x), {}
        for i, block in enumerate(self.blocks):
            x = torch.relu(x) if i in gone else block(x)
            found[str(i)] = x
        return found


class Detector(nn.Module):
    """What is around the backbone decides on values, which no trace can follow."""

    def __init__(self):
        super().__init__()
        self.backbone = nn.Module()
        self.backbone.body = Pyramid()
        self.head = nn.Linear(4, 5)

    def forward(self, images):
        levels = self.backbone.body(torch.stack(images))
        found = [self.head(level.mean((2, 3))) for level in levels.values() if level.sum() != 0]
        return [{"scores": scores} for scores in torch.stack(found, 1)]


def test_several_outputs_keep_their_structure():
    model = trained(Pyramid)
    net = unravel(model, SHAPE)
    x = images(4)
    assert net.anatomy.traced.outputs == 3
    assert [unit.name for unit in net.blocks] == ["blocks.0", "blocks.1", "blocks.2"]
    with torch.no_grad():
        for gone in (0, 1, 2):
            expected, edited = model(x, (gone,)), net.delete(f"blocks.{gone}")
            for found in (edited(x), edited.to_module()(x)):
                assert list(found) == list(expected)
                assert all(torch.allclose(found[key], expected[key], atol=1e-6) for key in expected)


def test_a_part_is_edited_in_its_place_and_restored():
    model = trained(Detector)
    example = list(images(3))
    net = unravel(model, example, at="backbone.body")
    body = model.backbone.body
    with torch.no_grad():
        before = model(example)
        for gone in (0, 1, 2):
            with net.delete(f"blocks.{gone}").install() as edited:
                assert edited is model
                found = model(example)
            body.forward = lambda x, gone=gone: Pyramid.forward(body, x, (gone,))
            expected = model(example)
            del body.forward
            for one, other in zip(found, expected, strict=True):
                assert torch.allclose(one["scores"], other["scores"], atol=1e-6)
        assert model.backbone.body is body
        assert all(torch.equal(a["scores"], b["scores"]) for a, b in zip(model(example), before, strict=True))


def test_a_place_that_is_not_there_is_refused():
    model, example = trained(Detector), list(images(2))
    with pytest.raises(LookupError, match=r"no module 'backbone.bod'; did you mean backbone.body\?"):
        unravel(model, example, at="backbone.bod")
    with pytest.raises(ValueError, match="the whole model was unraveled"), unravel(trained(Pyramid), SHAPE).install():
        pass


@pytest.mark.slow
def test_a_detector_without_a_block_of_its_backbone_finds_the_boxes_that_surgery_by_hand_finds():
    torchvision = pytest.importorskip("torchvision")
    torch.manual_seed(0)
    model = torchvision.models.detection.fasterrcnn_resnet50_fpn(
        weights=None,
        weights_backbone=None,
        min_size=64,
        max_size=64,
        num_classes=5,
        box_score_thresh=0.0,
        rpn_post_nms_top_n_test=30,
    ).eval()
    example = list(torch.rand(2, 3, 64, 64))
    net = unravel(model, example, at="backbone.body")
    assert len(net.blocks) == 16
    body = model.backbone.body
    with torch.no_grad():
        for unit in net.blocks:
            layer, number = unit.name.split(".")
            block = getattr(body, layer)[int(number)]
            with net.delete(unit.name).install():
                found = model(example)
            if block.downsample is None:
                block.forward = torch.relu
            else:
                block.forward = lambda x, block=block: torch.relu(block.downsample(x))
            expected = model(example)
            del block.forward
            for one, other in zip(found, expected, strict=True):
                assert all(torch.equal(one[key], other[key]) for key in other)


class Residual(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.conv = nn.Conv2d(width, width, 3, padding=1)

    def forward(self, x):
        return x + torch.tanh(self.conv(x))


class UNet(nn.Module):
    """Two resolutions on the way down and up, joined by a concatenation and by a sum; six residual blocks."""

    def __init__(self):
        super().__init__()
        self.stem, self.head = nn.Conv2d(3, 4, 3, padding=1), nn.Conv2d(4, 2, 1)
        self.down1, self.down2 = (nn.Conv2d(4, 4, 2, stride=2) for _ in range(2))
        self.up1, self.up2 = (nn.ConvTranspose2d(4, 4, 2, stride=2) for _ in range(2))
        self.join = nn.Conv2d(8, 4, 1)
        self.blocks = nn.ModuleList(Residual(4) for _ in range(6))

    def forward(self, x):
        high = self.blocks[0](self.stem(x))
        middle = self.blocks[1](self.down1(high))
        low = self.blocks[3](self.blocks[2](self.down2(middle)))
        middle = self.blocks[4](self.join(torch.cat([self.up1(low), middle], 1)))
        return self.head(self.blocks[5](self.up2(middle) + high))


def test_blocks_of_a_u_net_go_as_they_do_by_hand():
    torch.manual_seed(0)
    model, x = UNet().eval(), torch.randn(2, 3, 16, 16)
    net = unravel(model, (3, 16, 16))
    assert [block.name for block in net.blocks] == [f"blocks.{number}" for number in range(6)]
    with torch.no_grad():
        for number, block in enumerate(model.blocks):
            block.forward = lambda value: value
            expected = model(x)
            del block.forward
            torch.testing.assert_close(net.delete(f"blocks.{number}").to_module()(x), expected, rtol=0, atol=1e-6)
            assert not torch.allclose(model(x), expected, atol=1e-3)
