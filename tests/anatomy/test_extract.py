import operator

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import fx, nn

from resnet_probe.anatomy import Piece, bypass, dissect, emit, for_inference, overwrite_where_unshared
from tests.networks import MADE, SHAPE, Projections, Small, conv, images, make, trained


def piece(anatomy, name, **options):
    """A part of a unit as a function of the unit's input."""
    (plan,) = [unit for unit in anatomy.units if unit.name == name]
    graph = fx.Graph()
    x = graph.placeholder("x")
    graph.output(emit(anatomy.traced, Piece(plan, **options), graph, x))
    return fx.GraphModule(anatomy.traced.module, graph)


def inputs(anatomy, x):
    """Input and output of every unit on a batch."""
    values = {}
    with torch.no_grad():
        interpreter = fx.Interpreter(anatomy.traced.module)
        interpreter.garbage_collect_values = False
        interpreter.run(x)
        values = interpreter.env
    return {unit.name: (values[unit.entry], values[unit.exit]) for unit in anatomy.units}


@pytest.mark.parametrize("batch", [1, 5])
@pytest.mark.parametrize("name", MADE)
def test_a_unit_alone_does_what_it_does_in_the_model(name, batch):
    """Also with another batch size than any that was traced."""
    anatomy = dissect(make(name), SHAPE)
    with torch.no_grad():
        for unit, (x, y) in inputs(anatomy, images(batch)).items():
            assert torch.equal(piece(anatomy, unit)(x), y), unit


class Writer(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv, self.one, self.two = conv(), nn.ReLU(), nn.ReLU()

    def forward(self, x):
        return self.one(self.conv(x)), self.two(torch.flatten(x, 1))


def test_a_piece_overwrites_only_what_it_has_made_itself():
    model, x = trained(Writer), torch.randn(2, 4, 8, 8, generator=torch.Generator().manual_seed(0))
    prepared = for_inference(fx.symbolic_trace(model), fold=True)
    overwrite_where_unshared(prepared)
    assert (prepared.one.inplace, prepared.two.inplace) == (True, False)
    before = x.clone()
    with torch.no_grad():
        for found, expected in zip(prepared(x), model(x), strict=True):
            torch.testing.assert_close(found, expected)
    assert torch.equal(x, before)


class Views(nn.Module):
    def forward(self, x):
        return x.view(torch.int32).view(torch.float32).view(2, -1)


def test_a_view_takes_channels_last_maps_and_another_type_stays_a_view():
    x = torch.randn(2, 4, 8, 8, generator=torch.Generator().manual_seed(0))
    prepared = for_inference(fx.symbolic_trace(Views()), fold=True)
    assert torch.equal(prepared(x.contiguous(memory_format=torch.channels_last)), x.flatten(1))


def by_hand(model):
    """Shortcut and branch of every block of `Projections`, written out."""

    def pad(x):
        return torch.cat([x[:, :1] * 0, x, x[:, :1] * 0], 1)

    def nothing(x):
        return x

    return {
        "identity": (nothing, model.identity),
        "one": (model.project, model.one),
        "three": (model.project3, lambda x: model.after3(torch.relu(model.three(x)))),
        "pad": (pad, model.pad),
        "add": (nothing, nothing),
    }


@pytest.mark.parametrize("block", ["identity", "one", "three", "pad", "add"])
def test_shortcut_and_branch_are_what_the_forward_says(block):
    model = trained(Projections)
    anatomy = dissect(model, SHAPE)
    shortcut, branch = by_hand(model)[block]
    x, y = inputs(anatomy, images())[block]
    with torch.no_grad():
        assert torch.equal(piece(anatomy, block, mode="shortcut")(x), shortcut(x))
        assert torch.equal(piece(anatomy, block, mode="branch")(x), branch(x))
        assert torch.equal(piece(anatomy, block, mode="branch", scale=0.3)(x), branch(x) * 0.3)
        assert torch.equal(piece(anatomy, block, scale=0.3)(x), shortcut(x) + branch(x) * 0.3)
        assert torch.equal(piece(anatomy, block)(x), y)
        assert torch.equal(piece(anatomy, block, scale=1.0)(x), y)


def test_a_branch_of_several_terms_is_their_sum():
    model = make("three terms")
    anatomy = dissect(model, SHAPE)
    x, _ = inputs(anatomy, images())["one"]
    with torch.no_grad():
        branch = model.one(x) + model.two(torch.relu(model.one(x)))
        assert torch.equal(piece(anatomy, "one", mode="branch")(x), branch)
        assert torch.equal(piece(anatomy, "one", mode="shortcut")(x), x)


def test_what_two_terms_share_is_copied_once_and_no_more_than_needed():
    class Shared(Small):
        def middle(self, x):
            y = F.relu(self.one(x))
            return (self.two(y) + self.three(y)) + self.project(x)

    parts = {"one": conv(), "two": conv(), "three": conv(), "project": conv(4, 4, 1)}
    anatomy = dissect(trained(lambda: Shared(**parts)), SHAPE)

    def calls(**options):
        return [node.target for node in piece(anatomy, "one", **options).graph.nodes if node.op == "call_module"]

    assert sorted(calls(scale=0.5)) == ["one", "project", "three", "two"]
    assert sorted(calls(mode="branch")) == ["one", "three", "two"]
    assert calls(mode="shortcut") == ["project"]


@pytest.mark.parametrize(
    ("unit", "mode", "message"),
    [
        ("stem", "shortcut", "stem is of kind 'layer' and has no shortcut"),
        ("stem", "branch", "stem is of kind 'layer' and has no branch"),
        ("mean", "bypass", "mean is of kind 'other' and has no bypass"),
        ("one", "bypass", "one is of kind 'block' and has no bypass"),
    ],
)
def test_parts_that_do_not_exist_are_refused(unit, mode, message):
    with pytest.raises(ValueError, match=message):
        piece(dissect(make("three terms"), SHAPE), unit, mode=mode)


class ReadsTheInput(Small):
    """A late block takes its shape from the model's input itself."""

    def forward(self, x):
        y = self.stem(x)
        y = y + self.one(y + torch.zeros_like(x).sum(1, keepdim=True))
        return self.head(y.mean((2, 3)))


class NeedsSquares(Small):
    """A late block needs a number that is no multiple of the batch size."""

    def forward(self, x):
        n = x.shape[0]
        x = self.stem(x)
        x = x + self.one(x).expand(n, 4, 8, 8).repeat(n * n, 1, 1, 1)[:n]
        return self.head(x.mean((2, 3)))


@pytest.mark.parametrize(
    ("factory", "message"),
    [
        (ReadsTheInput, "one reads 'x' from outside itself, so it cannot be run alone; keep the module around it as"),
        (NeedsSquares, r"one needs a size that does not follow from its own input \(4 for a batch of 2, 9 for 3\)"),
    ],
)
def test_a_unit_that_needs_more_than_its_input_is_named(factory, message):
    anatomy = dissect(trained(lambda: factory(one=conv())), SHAPE)
    with pytest.raises(ValueError, match=message):
        piece(anatomy, "one")


@pytest.mark.parametrize("scale", [1.0, 0.5])
def test_a_piece_belongs_to_the_unit_it_came_from(scale):
    anatomy = dissect(make("blocks"), SHAPE)
    nodes = [n for n in piece(anatomy, "blocks.0", scale=scale).graph.nodes if n.op not in ("placeholder", "output")]
    assert {node.meta["unit"] for node in nodes} == {("blocks.0", "block")}
    assert {"blocks.0" in node.meta["nn_module_stack"] for node in nodes} == {True}
    assert (operator.mul in {node.target for node in nodes}) == (scale != 1.0)


# -- the identity in place of a layer ---------------------------------------------------------------------------------


def expected_bypass(x, shape):
    """The same with numpy, value by value."""
    picked = x.numpy()
    for axis, size in enumerate(shape[1:], start=2):
        have = picked.shape[axis]
        stride = next((s for s in range(1, have + 1) if len(range(0, have, s)) == size), have // size)
        picked = picked.take(range(0, have, stride), axis)
        before = (picked.shape[axis] - size) // 2
        picked = picked.take(range(before, before + size), axis)
    result = np.zeros((len(x), *shape), np.float32)
    have, want = picked.shape[1], shape[0]
    before = max(want - have, 0) // 2
    result[:, before : before + min(have, want)] = picked[:, :want]
    return torch.from_numpy(result)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ((4, 8, 8), (4, 8, 8)),
        ((4, 8, 8), (7, 8, 8)),  # 1 zero channel before, 2 after
        ((7, 8, 8), (4, 8, 8)),
        ((4, 8, 8), (8, 4, 4)),
        ((4, 15, 7), (4, 8, 4)),  # odd sizes: every second value, as a convolution of stride 2 with padding
        ((4, 9, 9), (4, 3, 3)),
        ((4, 7, 7), (4, 1, 1)),
        ((6, 32, 32), (6, 28, 28)),  # no padding: cropped in the middle
        ((1, 224, 224), (2, 55, 55)),  # stride 4, and one value too many
        ((3, 10), (5, 4)),
        ((6,), (4,)),
        ((4,), (7,)),
    ],
)
def test_a_bypass_strides_crops_and_pads(before, after):
    x = images(2, before)
    assert torch.equal(bypass(x, after), expected_bypass(x, after))


def test_a_strided_bypass_takes_what_the_convolution_would():
    """A 1x1 convolution with unit weights and the same stride is the identity in place of a layer of that stride."""
    for size in (7, 8, 15, 16):
        for stride in (1, 2, 3):
            pick = nn.Conv2d(2, 2, 1, stride, bias=False)
            nn.init.dirac_(pick.weight)
            x = images(1, (2, size, size))
            with torch.no_grad():
                assert torch.equal(bypass(x, nn.Conv2d(2, 2, 3, stride, 1)(x).shape[1:]), pick(x))


def test_a_bypass_of_a_layer_that_enlarges_repeats_values():
    x = images(2, (2, 3, 3))
    assert torch.equal(bypass(x, (2, 6, 6)), x.repeat_interleave(2, 2).repeat_interleave(2, 3))


def test_the_channels_of_a_linear_layer_over_tokens_are_last():
    class Functional(nn.Module):
        def __init__(self):
            super().__init__()
            self.weight = nn.Parameter(torch.randn(5, 7))

        def forward(self, x):
            return F.linear(x, self.weight)

    x = images(2, (3, 4))
    for model in (nn.Sequential(nn.Linear(4, 7), Functional()), nn.Sequential(nn.Linear(4, 7), nn.Linear(7, 5))):
        anatomy = dissect(model.eval(), (3, 4))
        first, second = (piece(anatomy, unit.name, mode="bypass") for unit in anatomy.units)
        assert torch.equal(first(x), F.pad(x, (1, 2)))
        assert torch.equal(second(first(x)), F.pad(x, (1, 2))[:, :, :5])


def test_a_layer_that_changes_the_number_of_dimensions_has_no_bypass():
    with pytest.raises(ValueError, match=r"from shape \(4, 8, 8\) to \(4,\) has no identity"):
        bypass(images(2, (4, 8, 8)), (4,))


def test_a_bypass_is_the_input_where_the_shape_stays():
    anatomy = dissect(make("plain"), SHAPE)
    x = images(2, (6, 2, 2))
    assert torch.equal(piece(anatomy, "7", mode="bypass")(x), x[:, :5])
    same = dissect(trained(lambda: nn.Sequential(conv(3), nn.ReLU(), conv(4, 4), nn.ReLU())), SHAPE)
    assert [node.op for node in piece(same, "2", mode="bypass").graph.nodes] == ["placeholder", "output"]
    assert torch.equal(piece(same, "0", mode="bypass")(images(2)), bypass(images(2), (4, 8, 8)))
