"""Ways through a data-flow graph, counted: by number of learned layers, or by number of residual branches.

A path of a network is a way from input to output. It parts where values are put side by side, at sums and
concatenations. Where values act on one another (the product with a gate, queries with keys) nothing is chosen: the
path follows the operand that is furthest from the input, and its length is the length of that way.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import networkx as nx
from torch import fx

from .operation import layers_in, operation_name
from .residual import ACTIVATION, Sum
from .trunk import Region

__all__ = ["count_paths", "polynomials", "ways"]

_SIDE_BY_SIDE = frozenset({"cat", "concat", "concatenate", "stack", "hstack", "vstack", "dstack"})


def ways(flow: nx.DiGraph, found: Mapping[fx.Node, Sum] | None = None) -> nx.DiGraph:
    """The data flow without the edges that no path takes: into products and attention only the furthest operand leads.

    Furthest is the operand with most learned layers on the longest way from the input; then the one with most
    operations, then the first. Nor does a path part inside an activation function.

    Args:
        flow: the data flow.
        found: its sums.
    """
    whole = {node for node, each in (found or {}).items() if each.reason == ACTIVATION}
    kept: nx.DiGraph = nx.DiGraph()
    reached: dict[fx.Node, tuple[int, int]] = {}
    for node in flow.nodes:  # in topological order
        before = list(flow.predecessors(node))
        furthest = max(before, key=reached.__getitem__, default=None)
        layers, operations = (0, 0) if furthest is None else reached[furthest]
        reached[node] = (layers + layers_in(node), operations + 1)
        kept.add_node(node)
        if furthest is not None:
            parts = (flow.nodes[node]["adds"] and node not in whole) or operation_name(node) in _SIDE_BY_SIDE
            kept.add_edges_from((source, node) for source in (before if parts else [furthest]))
    return kept


def polynomials(
    regions: Iterable[Region],
    graph: nx.DiGraph,
    blocks: Iterable[Sum],
    *,
    without: Iterable[tuple[fx.Node, fx.Node]] = (),
) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Numbers of paths through neighbouring regions by residual branches taken, and by learned layers.

    Blocks inside a branch are counted too: a branch with two blocks in it has t (1 + t)^2.

    Args:
        regions: one behind the other.
        graph: see `ways`.
        blocks: sums that are residual blocks.
        without: edges that no path may take, such as those of a deleted branch.

    Returns:
        Two polynomials; coefficient k is the number of paths of length k.
    """
    taken = dict.fromkeys((edge for each in blocks if each.block for edge in each.edges_of(each.block.branch)), 1)
    if gone := [edge for edge in without if graph.has_edge(*edge)]:
        graph = graph.copy()
        graph.remove_edges_from(gone)
    modules: tuple[int, ...] = (1,)
    layers: tuple[int, ...] = (1,)
    for region in regions:
        modules = _multiply(modules, count_paths(region, graph, {}, taken))
        layers = _multiply(layers, count_paths(region, graph, {node: layers_in(node) for node in region.nodes}))
    return modules, layers


def count_paths(
    region: Region,
    flow: nx.DiGraph,
    weight: Mapping[fx.Node, int],
    taken: Mapping[tuple[fx.Node, fx.Node], int] | None = None,
) -> tuple[int, ...]:
    """Coefficients of the region's path polynomial: entry k is the number of paths of total weight k.

    Dynamic programming over the graph, so the cost does not depend on the number of paths.

    Args:
        region: from its entry to its exit.
        flow: the graph, see `ways`.
        weight: of the nodes that have one.
        taken: of the edges that have one.
    """
    taken = taken or {}
    found: dict[fx.Node, list[int]] = {region.entry: [1]}
    for node in region.nodes:
        total: list[int] = []
        for before in flow.predecessors(node):
            if before in found:
                _add_into(total, [0] * taken.get((before, node), 0) + found[before])
        found[node] = [0] * weight.get(node, 0) + total
    return tuple(found[region.exit])


def _multiply(a: Sequence[int], b: Sequence[int]) -> tuple[int, ...]:
    product = [0] * (len(a) + len(b) - 1)
    for i, x in enumerate(a):
        for j, y in enumerate(b):
            product[i + j] += x * y
    return tuple(product)


def _add_into(total: list[int], other: list[int]) -> None:
    total.extend([0] * (len(other) - len(total)))
    for length, count in enumerate(other):
        total[length] += count
