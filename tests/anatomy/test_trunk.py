import operator
from collections import Counter
from functools import cache
from itertools import pairwise

import networkx as nx
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from resnet_probe.anatomy import count_paths, data_flow, layers_in, regions, trace
from resnet_probe.anatomy.trunk import longest
from tests.networks import MADE, SHAPE, Random, Small, conv, make, trained

SEEDS = range(40)
NETWORKS = [*MADE, *SEEDS]


@cache
def cut(which):
    """A traced network, its data flow and its regions."""
    model = trained(lambda: Random(which)) if isinstance(which, int) else make(which)
    traced = trace(model, SHAPE)
    flow = data_flow(traced)
    return traced, flow, regions(traced, flow)


def products(polynomials):
    total = Counter({0: 1})
    for polynomial in polynomials:
        following = Counter()
        for length, count in total.items():
            for more, times in enumerate(polynomial):
                following[length + more] += count * times
        total = following
    return {length: count for length, count in total.items() if count}


@pytest.mark.parametrize("which", NETWORKS)
def test_trunk_points_are_what_every_path_passes(which):
    """By definition: a node is on the trunk if the output cannot be reached without it."""
    traced, flow, parts = cut(which)
    trunk = [traced.source, *(part.exit for part in parts)]
    passed = []
    for node in flow.nodes:
        without = flow.subgraph(other for other in flow.nodes if other is not node)
        ends = traced.source in without and traced.result in without
        if not (ends and nx.has_path(without, traced.source, traced.result)):
            passed.append(node)
    assert trunk == passed


@pytest.mark.parametrize("which", NETWORKS)
def test_regions_follow_one_another_and_hold_every_node_once(which):
    traced, flow, parts = cut(which)
    assert parts[0].entry is traced.source
    assert parts[-1].exit is traced.result
    assert all(before.exit is after.entry for before, after in pairwise(parts))
    assert Counter(node for part in parts for node in part.nodes) == Counter(set(flow.nodes) - {traced.source})
    for part in parts:
        own = {part.entry, *part.nodes}
        assert all(before in own for node in part.nodes for before in flow.predecessors(node))
        order = [list(traced.module.graph.nodes).index(node) for node in part.nodes]
        assert order == sorted(order)


@pytest.mark.parametrize("which", NETWORKS)
def test_path_polynomials_multiply_to_the_paths_of_the_whole_graph(which):
    """The product over the regions against every path of the graph, one by one."""
    traced, flow, parts = cut(which)
    weight = {node: layers_in(node) for node in flow.nodes}
    walked = Counter()
    for path in nx.all_simple_paths(flow, traced.source, traced.result):
        walked[sum(weight[node] for node in path)] += 1
    assert products(count_paths(part, flow, weight) for part in parts) == walked


@pytest.mark.parametrize("which", NETWORKS)
def test_longest_ways_are_the_longest_of_all(which):
    _, flow, parts = cut(which)
    for part in parts:
        inside = flow.subgraph([part.entry, *part.nodes])
        for node in part.operands:
            ways = [[part.entry]] if node is part.entry else nx.all_simple_paths(inside, part.entry, node)
            lengths = [(sum(map(layers_in, way[1:])), len(way) - 1) for way in ways]
            assert longest(part.nodes, flow, part.entry, node) == max(lengths)


@pytest.mark.parametrize("which", NETWORKS)
def test_a_block_is_a_shortcut_and_what_is_added_to_it(which):
    traced, flow, parts = cut(which)
    for part in parts:
        assert (part.shortcut is None) == (part.branch == ())
        if part.shortcut is None:
            continue
        terms = [part.shortcut, *part.branch]
        assert part.branch
        assert part.shortcut not in part.branch
        assert set(terms) <= {part.entry, *part.inner}
        assert traced.shape(part.shortcut) == traced.shape(part.exit)
        layers = [longest(part.nodes, flow, part.entry, term)[0] for term in terms]
        assert part.shortcut is part.entry or layers[0] <= max(layers[1:])


def blocks(middle, **parts):
    """Shortcut and branches of the blocks of a small network, as names of nodes."""
    traced = trace(trained(lambda: type("Model", (Small,), {"middle": middle})(**parts)), SHAPE)
    found = [part for part in regions(traced, data_flow(traced)) if part.shortcut is not None]
    return [(part.shortcut.name, *(term.name for term in part.branch)) for part in found]


@pytest.mark.parametrize(
    "add",
    [
        lambda x, y: x + y,
        lambda x, y: y + x,
        torch.add,
        lambda x, y: y.add(x),
        lambda x, y: x.add_(y),
        lambda x, y: operator.iadd(y, x),
    ],
)
def test_every_way_to_add_makes_a_block(add):
    assert blocks(lambda net, x: add(x, net.one(x)), one=conv()) == [("stem", "one")]


def test_of_two_processed_operands_the_shorter_is_the_shortcut():
    def middle(net, x):
        return net.two(F.relu(net.one(x))) + net.project(x)

    parts = {"one": conv(), "two": conv(), "project": conv(4, 4, 1)}
    assert blocks(middle, **parts) == [("project", "two")]
    assert blocks(lambda net, x: net.project(x) + net.two(F.relu(net.one(x))), **parts) == [("project", "two")]


def test_of_two_equally_long_operands_neither_is_a_shortcut():
    assert blocks(lambda net, x: net.one(x) + net.two(x), one=conv(), two=conv()) == []


def test_sums_of_sums_are_taken_apart():
    parts = {"one": conv(), "two": conv(), "three": conv()}
    assert blocks(lambda net, x: x + net.one(x) + net.two(x), **parts) == [("stem", "one", "two")]
    assert blocks(lambda net, x: net.one(x) + (net.two(x) + x), **parts) == [("stem", "one", "two")]
    assert blocks(lambda net, x: sum([net.one(x), x, net.two(x)]), **parts) == [("stem", "one", "two")]
    nested = blocks(lambda net, x: x + net.three(net.two(x) + net.one(net.two(x))), **parts)
    assert nested == [("stem", "three")]


def test_a_sum_that_is_read_twice_is_one_term():
    def middle(net, x):
        y = net.one(x) + net.two(x)
        return x + y + net.three(y)

    assert blocks(middle, one=conv(), two=conv(), three=conv()) == [("stem", "add", "three")]


@pytest.mark.parametrize(
    "combine",
    [
        lambda x, y: x * y,
        torch.maximum,
        lambda x, y: torch.lerp(x.mean(), y, 0.5),
        lambda x, y: x + x,
    ],
)
def test_what_is_no_sum_of_shortcut_and_branch_is_no_block(combine):
    found = blocks(lambda net, x: combine(x, net.one(x)), one=conv())
    assert found == []


def test_a_shortcut_that_is_broadcast_is_none():
    """Without its branch such a region would yield another shape."""
    for add in (operator.add, operator.sub, lambda a, b: torch.add(a, b, alpha=2)):
        found = blocks(lambda net, x, add=add: add(net.one(x), x.mean((2, 3), keepdim=True)), one=conv())
        assert found == []


def test_sizes_are_no_data():
    _, flow, parts = cut("positions")
    names = {node.name for node in flow.nodes}
    assert not any(name.startswith(("arange", "sigmoid", "ones_like", "embed")) for name in names)
    assert [part.shortcut.name for part in parts if part.shortcut] == ["stem", "add_1"]


def test_an_output_without_data_is_refused():
    class Constant(Small):
        def forward(self, x):
            return torch.zeros_like(x)

    traced = trace(trained(Constant), SHAPE)
    with pytest.raises(ValueError, match="the output does not depend on the input"):
        data_flow(traced)
    with pytest.raises(ValueError, match="the output does not depend on the input"):
        data_flow(trace(nn.Identity(), SHAPE))


@pytest.mark.parametrize(
    ("module", "shape", "layers"),
    [
        (conv(3), SHAPE, 1),
        (nn.ConvTranspose2d(3, 4, 2), SHAPE, 1),
        (nn.Linear(8, 3), SHAPE, 1),
        (nn.utils.parametrizations.weight_norm(conv(3)), SHAPE, 1),
        (nn.BatchNorm2d(3), SHAPE, 0),
        (nn.LayerNorm([8, 8]), SHAPE, 0),
        (nn.PReLU(3), SHAPE, 0),
        (nn.MaxPool2d(2), SHAPE, 0),
        (nn.Dropout(), SHAPE, 0),
    ],
)
def test_learned_layers_of_a_module(module, shape, layers):
    traced = trace(nn.Sequential(module), shape)
    assert layers_in(traced.result) == layers


class Functional(nn.Module):
    def __init__(self, run, *shapes):
        super().__init__()
        self.weights = nn.ParameterList(torch.randn(shape) for shape in shapes)
        self.run = run

    def forward(self, x):
        return self.run(x, *self.weights)


@pytest.mark.parametrize(
    ("run", "shapes", "layers"),
    [
        (F.conv2d, [(4, 3, 1, 1)], 1),
        (lambda x, w: F.conv2d(x, w / w.norm()), [(4, 3, 1, 1)], 1),
        (F.linear, [(4, 8)], 1),
        (torch.matmul, [(8, 4)], 1),
        (lambda x, w: x @ w, [(8, 4)], 1),
        (lambda x, w: x * w, [(3, 1, 1)], 0),
        (lambda x, w: x + w, [(3, 8, 8)], 0),
        (lambda x, w: torch.cat([x, w.expand(x.shape[0], -1, -1, -1)], 1), [(1, 3, 8, 8)], 0),
        (lambda x, w, b: F.layer_norm(x, (8, 8), w, b), [(8, 8), (8, 8)], 0),
    ],
)
def test_learned_layers_of_a_function(run, shapes, layers):
    traced = trace(Functional(run, *shapes), SHAPE)
    assert sum(map(layers_in, data_flow(traced).nodes)) == layers


def test_attention_is_two_layers_on_every_path():
    _, flow, parts = cut("tokens")
    weight = {node: layers_in(node) for node in flow.nodes}
    assert [count_paths(part, flow, weight) for part in parts if part.shortcut is not None] == [(1, 0, 1)] * 4
