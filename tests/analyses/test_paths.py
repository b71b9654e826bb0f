import itertools
import math
import random
from collections import Counter
from fractions import Fraction

import networkx as nx
import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from matplotlib.colors import to_hex
from scipy.stats import binom

from resnet_probe import figures
from resnet_probe.analyses import paths
from resnet_probe.analyses.paths.facts import lengths
from resnet_probe.tables import Result, read
from tests.analyses.running import drawn_again

BLOCK = (1, 1)
POLYNOMIALS = st.lists(st.lists(st.integers(0, 40), min_size=1, max_size=6).filter(any), max_size=7)
COUNTS = st.lists(st.integers(0, 2**70), min_size=1, max_size=30).filter(any)


def resnet(depth, name=None):
    polynomials = {unit: paths.resnet_polynomials(depth, unit) for unit in paths.UNITS}
    return paths.counted(polynomials, name or f"resnet{depth}")


def trimmed(counts):
    counts = list(counts)
    while len(counts) > 1 and counts[-1] == 0:
        counts.pop()
    return tuple(counts)


# -- counts ---------------------------------------------------------------------------------------------------------


@given(POLYNOMIALS)
def test_product_equals_that_of_numpy(polynomials):
    expected = np.array([1], dtype=object)
    for polynomial in polynomials:
        expected = np.convolve(expected, np.array(polynomial, dtype=object))
    assert paths.multiply(polynomials) == trimmed(expected)


@given(POLYNOMIALS, st.randoms())
def test_order_of_units_does_not_matter(polynomials, shuffler):
    shuffled = list(polynomials)
    shuffler.shuffle(shuffled)
    assert paths.multiply(shuffled) == paths.multiply(polynomials)


def random_unit(generator, nodes):
    """A graph from 0 to nodes - 1 with a weight of 0 to 2 on each edge; every node lies on a path."""
    graph = nx.MultiDiGraph()
    for node in range(1, nodes):
        graph.add_edge(generator.randrange(node), node, weight=generator.randrange(3))
        if node < nodes - 1:
            graph.add_edge(node, generator.randrange(node + 1, nodes), weight=generator.randrange(3))
    for _ in range(generator.randrange(3)):
        start, end = sorted(generator.sample(range(nodes), 2))
        graph.add_edge(start, end, weight=generator.randrange(3))
    return graph


def lengths_of_all_paths(graph, start, end):
    routes = nx.all_simple_edge_paths(graph, start, end)
    return Counter(sum(graph.edges[edge]["weight"] for edge in route) for route in routes)


@pytest.mark.parametrize("seed", range(12))
def test_counts_equal_those_of_walking_every_path_of_a_graph(seed):
    generator = random.Random(seed)
    whole, first, polynomials = nx.MultiDiGraph(), 0, []
    for _ in range(generator.randrange(1, 4)):
        unit = random_unit(generator, generator.randrange(2, 6))
        found = lengths_of_all_paths(unit, 0, len(unit) - 1)
        polynomials.append([found[length] for length in range(max(found) + 1)])
        whole.add_edges_from((first + a, first + b, data) for a, b, data in unit.edges(data=True))
        first += len(unit) - 1
    walked = lengths_of_all_paths(whole, 0, first)
    assert {length: count for length, count in enumerate(paths.multiply(polynomials)) if count} == walked


@pytest.mark.parametrize("blocks", [1, 2, 5, 9])
def test_blocks_give_one_path_per_subset(blocks):
    subsets = Counter(sum(taken) for taken in itertools.product((0, 1), repeat=blocks))
    assert dict(enumerate(paths.multiply([BLOCK] * blocks))) == subsets


def test_depth_1202_is_binomial_to_the_last_digit():
    modules, layers = (paths.multiply(paths.resnet_polynomials(1202, unit)) for unit in paths.UNITS)
    assert modules == tuple(math.comb(600, length) for length in range(601))
    assert layers == tuple(0 if length % 2 or length < 2 else modules[length // 2 - 1] for length in range(1203))
    assert sum(modules) == 2**600


def test_a_chain_of_no_units_has_one_path():
    assert paths.multiply([]) == (1,)
    assert paths.multiply([(1,), (0, 1), (1,)]) == (0, 1)


@pytest.mark.parametrize("polynomial", [(1, -1), (0, 0), ()])
def test_what_counts_no_paths_is_refused(polynomial):
    with pytest.raises(ValueError, match="counts are at least 0, and some above 0"):
        paths.multiply([BLOCK, polynomial])


# -- CIFAR ResNets --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("depth", [8, 11, 20, 29, 56, 83, 110, 164, 1001, 1202])
def test_the_longest_path_has_as_many_layers_as_the_network_is_deep(depth):
    network = paths.cifar_resnet(depth)
    modules, layers = (paths.multiply(paths.resnet_polynomials(depth, unit)) for unit in paths.UNITS)
    assert len(layers) - 1 == depth
    assert len(modules) - 1 == network.blocks
    assert sum(modules) == sum(layers) == 2**network.blocks
    assert network.block == ("basic" if (depth - 2) % 6 == 0 else "bottleneck")
    assert network.blocks % 3 == 0


def exists(depth):
    return any(depth == size * n + 2 for size in (6, 9) for n in range(1, 40))


def test_depths_that_do_not_exist_are_answered_with_the_nearest():
    for depth in range(-30, 200):
        if exists(depth):
            assert paths.cifar_resnet(depth).depth == depth
            continue
        below = [other for other in range(depth) if exists(other)][-1:]
        above = [other for other in range(max(depth, 0), 300) if exists(other)]
        nearest = (below + above)[:2]
        with pytest.raises(ValueError, match=rf"depth {depth}; .*nearest are {nearest[0]} and {nearest[1]}$"):
            paths.cifar_resnet(depth)


def test_the_other_reading_of_a_depth_is_noted():
    assert "81 blocks" in paths.cifar_resnet(164).note
    assert "54 bottleneck blocks, use --arch resnet164-bottleneck" in paths.cifar_resnet(164).note
    assert not paths.cifar_resnet(1202).note
    assert not paths.cifar_resnet(1001).note


def test_absurd_depths_and_units_are_refused():
    with pytest.raises(ValueError, match="1000000000 is above 10000"):
        paths.cifar_resnet(10**9)
    with pytest.raises(LookupError, match="no unit 'block' of path length; choose one of module, layer"):
        paths.resnet_polynomials(20, "block")


# -- what the distribution is like ----------------------------------------------------------------------------------


@pytest.mark.parametrize("blocks", [9, 27, 54, 81, 600])
def test_blocks_are_binomial(blocks):
    found = paths.statistics(paths.multiply([BLOCK] * blocks))
    assert found.total == 2**blocks
    assert found.mean == blocks / 2 == binom.mean(blocks, 0.5)
    assert found.std == pytest.approx(binom.std(blocks, 0.5), rel=1e-15)
    assert found.mode == blocks // 2
    assert (found.low, found.high) == tuple(binom.interval(0.95, blocks, 0.5))
    expected = binom.cdf(found.high, blocks, 0.5) - binom.cdf(found.low - 1, blocks, 0.5)
    assert found.inside == pytest.approx(expected, rel=1e-9)


def test_shares_that_veit_et_al_give_for_resnet110():
    counts = paths.multiply([BLOCK] * 54)
    assert float(paths.share(counts, 19, 35)) == pytest.approx(0.9802, abs=5e-5)
    assert float(paths.share(counts, 5, 17)) == pytest.approx(0.004537, abs=5e-7)


@given(COUNTS, st.integers(-5, 35), st.integers(-5, 35))
def test_share_is_the_exact_sum_over_lengths(counts, low, high):
    inside = sum(count for length, count in enumerate(counts) if low <= length <= high)
    assert paths.share(counts, low, high) == Fraction(inside, sum(counts))


@given(COUNTS, st.fractions(Fraction(1, 100), Fraction(99, 100)))
@example([1, 38, 1], Fraction(95, 100))  # each end holds exactly what may be cut
def test_central_interval_is_the_shortest_that_cuts_no_more_than_half_the_rest_from_either_end(counts, level):
    low, high = paths.central_interval(counts, level)
    tail = (1 - level) / 2
    last = len(counts) - 1
    fits = [
        (a, b)
        for a in range(len(counts))
        for b in range(a, len(counts))
        if paths.share(counts, 0, a - 1) <= tail and paths.share(counts, b + 1, last) <= tail
    ]
    assert (low, high) in fits
    assert all(a <= low and b >= high for a, b in fits)
    assert paths.share(counts, low, high) >= level
    assert counts[low]
    assert counts[high]


@pytest.mark.parametrize("level", [0, 1, 95])
def test_a_level_is_a_share(level):
    with pytest.raises(ValueError, match="the level lies between 0 and 1"):
        paths.central_interval((1, 1), level)


@given(COUNTS)
def test_statistics_equal_those_of_the_expanded_distribution(counts):
    counts = [count % 7 for count in counts]
    counts[0] += 1
    lengths = [length for length, count in enumerate(counts) for _ in range(count)]
    found = paths.statistics(counts)
    assert found.total == len(lengths)
    assert found.mean == pytest.approx(np.mean(lengths))
    assert found.std == pytest.approx(np.std(lengths), abs=1e-12)
    assert found.mode == np.bincount(lengths).argmax()


@pytest.mark.parametrize(("depth", "modes"), [(20, ("modes 4 and 5", "modes 10 and 12")), (14, ("mode 3", "mode 8"))])
def test_lengths_that_are_equally_frequent_are_all_named(depth, modes):
    told = [fact.text for fact in lengths(resnet(depth), f"resnet{depth}") if fact.label.startswith("length")]
    assert [mode in text for mode, text in zip(modes, told, strict=True)] == [True, True]


def test_three_modes_are_told_as_words_are():
    (told,) = [
        fact.text for fact in lengths(paths.counted({"module": [(1, 2, 2, 2)]}, "n"), "n") if fact.low is not None
    ]
    assert "modes 1, 2 and 3, central" in told


# -- table ----------------------------------------------------------------------------------------------------------


def test_table_holds_every_length_that_occurs(tmp_path):
    result = resnet(110)
    assert result.columns == ("network", "unit", "length", "count", "fraction")
    modules = [row for row in result.rows if row["unit"] == "module"]
    layers = [row for row in result.rows if row["unit"] == "layer"]
    assert [row["length"] for row in modules] == list(range(55))
    assert [row["length"] for row in layers] == list(range(2, 111, 2))
    assert [row["fraction"] for row in modules] == pytest.approx(binom.pmf(range(55), 54, 0.5), rel=1e-9)
    assert {row["network"] for row in result.rows} == {"resnet110"}
    assert result.settings["statistics"]["module"]["total"] == 2**54


def test_fractions_are_of_all_paths():
    modules = [row for row in resnet(8).rows if row["unit"] == "module"]
    assert [(row["count"], row["fraction"]) for row in modules] == [(1, 0.125), (3, 0.375), (3, 0.375), (1, 0.125)]


def test_counts_of_180_digits_come_back_from_the_files(tmp_path):
    result = resnet(1202)
    result.save(tmp_path)
    back = read(tmp_path, "paths")
    assert back == result
    assert sum(row["count"] for row in back.rows if row["unit"] == "module") == 2**600
    assert sum(row["fraction"] for row in back.rows if row["unit"] == "module") == pytest.approx(1, abs=1e-12)


@given(POLYNOMIALS)
def test_distributions_are_what_run_counted(polynomials):
    tables = paths.distributions(paths.counted({"layer": polynomials}, "x"))
    assert tables == {"layer": {"x": paths.multiply(polynomials)}}


def test_tables_that_hold_no_path_lengths_are_refused():
    with pytest.raises(LookupError, match="no unit 'metre'"):
        paths.counted({"metre": [BLOCK]}, "x")
    with pytest.raises(ValueError, match="has no column unit, length"):
        paths.plot(Result("paths", ("network", "count", "fraction"), (), {}))
    with pytest.raises(ValueError, match="has no rows"):
        paths.plot(Result("paths", paths.PATHS.keys, (), {}))
    row = {"network": "x", "unit": "module", "length": 0.5, "count": 1, "fraction": 1.0}
    with pytest.raises(ValueError, match="a whole length"):
        paths.plot(Result("paths", paths.PATHS.keys, (row,), {}))


# -- figure ---------------------------------------------------------------------------------------------------------


def bars(axis):
    return {round(bar.get_x() + bar.get_width() / 2, 6): bar.get_height() for bar in axis.patches}


def test_figure_draws_the_shares_with_the_central_interval_in_colour():
    axis = paths.plot(resnet(110)).axes[0]
    drawn = bars(axis)
    assert list(drawn.values()) == pytest.approx(100 * binom.pmf(list(drawn), 54, 0.5), rel=1e-9)
    assert sum(drawn.values()) > 99.9
    blue = figures.PALETTE["blue"].lower()
    inside = [length for length, bar in zip(drawn, axis.patches, strict=True) if to_hex(bar.get_facecolor()) == blue]
    assert inside == list(range(20, 35))
    words = " ".join(text.get_text() for text in axis.texts)
    assert "resnet110: $2^{54}$ paths" in words
    assert "mean 27, 96.0 % within 20 to 34" in words


def test_figure_is_a_column_wide_and_comes_from_the_table_alone(tmp_path):
    assert drawn_again(paths.plot, resnet(56), tmp_path) == pytest.approx(85)


def test_layers_are_a_second_scale_where_they_follow_from_the_modules():
    figure = paths.plot(resnet(110))
    (axis,) = figure.axes
    (above,) = axis.child_axes
    figure.draw_without_rendering()
    low, high = axis.get_xlim()
    assert above.get_xlim() == pytest.approx((2 + 2 * low, 2 + 2 * high))


def test_layers_have_a_panel_of_their_own_where_they_do_not():
    projection = {"module": [BLOCK] * 6, "layer": [(0, 1), *[(1, 0, 1), (0, 1, 1)] * 3, (0, 1)]}
    figure = paths.plot(paths.counted(projection, "resnet14-B"))
    modules, layers = figure.axes
    assert sum(bars(modules).values()) == pytest.approx(100)
    assert min(bars(layers)) == 5
    assert not modules.child_axes


def test_networks_without_blocks_are_drawn_in_layers():
    figure = paths.plot(paths.counted({"module": [(1,)] * 9, "layer": [(0, 1)] * 9}, "vgg11"))
    (axis,) = figure.axes
    assert bars(axis) == {9: 100}
    assert "1 path\nall of length 9" in axis.texts[0].get_text()
    (axis,) = paths.plot(paths.counted({"module": [(1,)]}, "vgg11")).axes
    assert bars(axis) == {0: 100}
    assert axis.get_xlim()[0] == -0.5  # no room for lengths below 0


def test_several_networks_are_points_with_a_legend():
    rows = [row for depth in (20, 56, 110) for row in resnet(depth).rows]
    (axis,) = paths.plot(Result("paths", paths.PATHS.keys, tuple(rows), {})).axes
    assert [text.get_text() for text in axis.figure.legends[0].get_texts()] == ["resnet20", "resnet56", "resnet110"]
    assert [max(line.get_ydata()) for line in axis.lines] == [1] * 3
    x, y = axis.lines[0].get_data()
    assert list(y) == pytest.approx(binom.pmf(x, 9, 0.5) / binom.pmf(4, 9, 0.5))


def test_lengths_one_apart_and_two_apart_are_of_one_height():
    """A share of all paths would be twice as large where every second length is missing."""
    one, two = (paths.counted({"layer": [row] * 9}, name) for row, name in (((1, 1), "one"), ((1, 0, 1), "two")))
    (axis,) = paths.plot(Result("paths", paths.PATHS.keys, one.rows + two.rows, {})).axes
    (_, narrow), (_, wide) = (line.get_data() for line in axis.lines)
    assert list(narrow) == list(wide)
    single = paths.counted({"layer": [(0, 1)] * 5}, "vgg")
    (axis,) = paths.plot(Result("paths", paths.PATHS.keys, one.rows + single.rows, {})).axes
    assert axis.collections[0].get_segments()[0].tolist() == [[5, 0], [5, 1]]
    assert axis.get_xlim()[0] == -0.5


def test_many_lengths_are_drawn_as_steps_and_uneven_ones_on_a_common_grid():
    (axis,) = paths.plot(resnet(1202)).axes
    outside, inside = (step.get_data() for step in axis.patches)
    assert sum(outside.values) == pytest.approx(100, abs=0.1)
    assert sum(inside.values) == pytest.approx(95.46, abs=0.01)
    (axis,) = paths.plot(paths.counted({"layer": [(0, 0, 1, 0, 1, 0, 0, 0, 2)]}, "x")).axes
    assert bars(axis) == {2: 25, 4: 25, 6: 0, 8: 50}
    (axis,) = paths.plot(paths.counted({"layer": [(1, 0, 1, 0, 0, 2)]}, "x")).axes
    assert bars(axis) == {0: 25, 1: 0, 2: 25, 3: 0, 4: 0, 5: 50}


@pytest.mark.parametrize(
    ("total", "words"),
    [(1, "1 path"), (512, "512 paths"), (2**54, "$2^{54}$ paths"), (3 * 10**9, r"$3.0 \times 10^{9}$ paths")],
)
def test_the_number_of_paths_is_written_so_that_it_can_be_read(total, words):
    (axis,) = paths.plot(paths.counted({"layer": [(total,)]}, "net")).axes
    assert f"net: {words}\n" in axis.texts[0].get_text()
