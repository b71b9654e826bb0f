import json

import networkx as nx
import pytest

from resnet_probe import figures
from resnet_probe.analyses import paths
from resnet_probe.tables import Result
from tests.gradients.networks import network_of


def ways(graph):
    last = next(node for node in graph if not graph.out_degree(node))
    return sum(1 for _ in nx.all_simple_paths(graph, "input", last)), last


@pytest.mark.parametrize("name", ["resnet14-w4", "resnet8-B-w4", "mobilenet", "transformer"])
def test_every_path_of_the_graph_is_one_of_the_network(name):
    network = network_of(name)
    graph = paths.anatomy_graph(network)
    assert ways(graph)[0] == sum(paths.multiply(paths.chain_polynomials(network)["module"])) == 2 ** len(network.blocks)
    branches = [node for node, data in graph.nodes(data=True) if data["kind"] == "block"]
    assert branches == [unit.name for unit in network.blocks]
    assert sum(data.get("parameters", 0) for _, data in graph.nodes(data=True)) == sum(
        unit.parameters for unit in network.units
    )


def test_deleted_blocks_leave_half_the_paths():
    graph = paths.anatomy_graph(network_of("resnet8-w4").delete("layer2.0"))
    assert graph.nodes["layer2.0"]["kind"] == "deleted"
    assert ways(graph)[0] == 4


def test_graph_comes_back_from_both_files(tmp_path):
    graph = paths.anatomy_graph(network_of("resnet8-B-w4"), {"layer1.0": 7.5})
    markup, form = paths.write_graph(graph, tmp_path)
    assert (markup.name, form.name) == ("anatomy.graphml", "anatomy.graph.json")
    read = nx.read_graphml(markup)
    assert dict(read.nodes(data=True)) == dict(graph.nodes(data=True))
    assert set(read.edges) == set(graph.edges)
    again = nx.node_link_graph(json.loads(form.read_text()), edges="edges")
    assert nx.utils.graphs_equal(again, graph)
    assert again.nodes["layer1.0"]["value"] == 7.5
    assert len(list(tmp_path.iterdir())) == 2


def test_colours_come_from_any_table_with_a_row_per_unit():
    rows = ({"block": "(intact)", "error": 7.0, "stage": None}, {"block": "layer1.0", "error": 9.5, "stage": 1})
    table = Result("lesion", ("block", "error", "stage"), rows, {})
    assert paths.values_by_unit(table, "error") == {"(intact)": 7.0, "layer1.0": 9.5}
    assert paths.values_by_unit(table, "stage") == {"layer1.0": 1.0}
    with pytest.raises(LookupError, match="no column 'loss'; choose one of block, error, stage"):
        paths.values_by_unit(table, "loss")
    with pytest.raises(ValueError, match="column 'block' of table lesion holds no numbers"):
        paths.values_by_unit(table, "block")
    with pytest.raises(LookupError, match="names no units"):
        paths.values_by_unit(Result("paths", ("length",), ({"length": 1},), {}), "length")
    with pytest.raises(ValueError, match=r"several rows for layer1\.0"):
        paths.values_by_unit(Result("x", ("unit", "v"), ({"unit": "layer1.0", "v": 1},) * 2, {}), "v")


@pytest.mark.parametrize("blocks", [1, 2, 3, 4, 5])
def test_unraveled_view_shows_every_path_with_its_length(blocks, tmp_path):
    figure = paths.draw_unraveled(blocks, "net")
    above, below = figure.axes
    words = [text.get_text() for text in below.texts]
    assert sorted(word for word in words if word.isdigit()) == sorted(
        str(format(number, "b").count("1")) for number in range(2**blocks)
    )
    for block in range(1, blocks + 1):
        assert words.count(f"$f_{{{block}}}$") == 2 ** (block - 1)
        assert [text.get_text() for text in above.texts].count(f"$f_{{{block}}}$") == 1
    assert f"unraveled: {2**blocks} path" in below.get_title(loc="left")
    (file,) = figures.save(figure, tmp_path, "unraveled", ["svg"])
    assert file.stat().st_size > 1000


@pytest.mark.parametrize(
    ("blocks", "problem"), [(0, "without blocks has one path"), (6, "2\\^6 paths cannot be drawn")]
)
def test_unraveled_views_that_cannot_be_drawn(blocks, problem):
    with pytest.raises(ValueError, match=problem):
        paths.draw_unraveled(blocks)


def test_anatomy_colours_blocks_by_their_value(tmp_path):
    network = network_of("resnet14-w4")
    values = {unit.name: float(number) for number, unit in enumerate(network.blocks)}
    figure = paths.draw_anatomy(paths.anatomy_graph(network, values), name="net", column="error (%)")
    axis, scale = figure.axes
    assert scale.get_ylabel() == "error (%)"
    assert figure.get_suptitle() == "net: 6 residual blocks"
    named = {text.get_text() for text in axis.texts}
    assert {unit.name for unit in network.blocks} <= named
    assert [text.get_text() for text in axis.get_yticklabels()] == ["stage 1", "stage 2", "stage 3"]
    assert figure.get_size_inches()[0] * 25.4 == pytest.approx(85)  # rows of three units fit a column
    top = max(line.get_ydata().max() for line in axis.lines)
    assert top < axis.get_ylim()[1]  # branches of the first row
    plain = paths.draw_anatomy(paths.anatomy_graph(network.delete("layer1.0")), name="net")
    words = {text.get_text() for text in plain.legends[0].get_texts()}
    assert words == {"block", "deleted", "layer", "identity shortcut", "zero-pad shortcut"}
    figures.save(plain, tmp_path, "anatomy", ["svg", "png"])
