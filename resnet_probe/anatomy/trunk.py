"""The trunk of a data-flow graph: the points that every path from input to output passes, and what lies between.

Between two neighbouring trunk points lies one operation or a parallel region. A region that ends in an addition is a
residual block: one operand is the shortcut, the rest is the residual branch.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise

import networkx as nx
from torch import fx

from .operation import is_addition, layers_in
from .tracing import Traced

__all__ = ["Region", "count_paths", "data_flow", "longest", "regions"]


@dataclass(frozen=True)
class Region:
    """What lies between two neighbouring trunk points.

    Attributes:
        entry: trunk point before the region; its value is the region's input.
        exit: trunk point at the end of the region; its value is the region's output.
        inner: nodes strictly between, in topological order; empty for a single operation.
        shortcut: operand of the final addition that is the shortcut (equal to `entry` for an identity), or None where
            the region is no residual block.
        branch: the other operands of the addition; their sum is the residual branch.
    """

    entry: fx.Node
    exit: fx.Node
    inner: tuple[fx.Node, ...]
    shortcut: fx.Node | None = None
    branch: tuple[fx.Node, ...] = ()

    @property
    def nodes(self) -> tuple[fx.Node, ...]:
        """Inner nodes and the exit."""
        return (*self.inner, self.exit)

    @property
    def operands(self) -> tuple[fx.Node, ...]:
        """Nodes of the region (or its entry) that the exit reads directly."""
        known = {self.entry, *self.inner}
        return tuple(n for n in self.exit.all_input_nodes if n in known)


def data_flow(traced: Traced) -> nx.DiGraph:
    """Graph of the nodes that lie on a path from input to output along which data, not only sizes, flow.

    Raises:
        ValueError: the output does not depend on the input.
    """
    graph: nx.DiGraph = nx.DiGraph()
    graph.add_node(traced.source)
    for node in traced.module.graph.nodes:
        if node.op in ("placeholder", "output") or not traced.carries_data(node):
            continue
        graph.add_edges_from((source, node) for source in node.all_input_nodes if source in graph)
    if traced.result not in graph or traced.result is traced.source:
        raise ValueError("the output does not depend on the input, so there is nothing to unravel")
    live = nx.ancestors(graph, traced.result) | {traced.result}
    order = [node for node in traced.module.graph.nodes if node in live]
    flow: nx.DiGraph = nx.DiGraph()
    flow.add_nodes_from(order)  # kept in topological order
    flow.add_edges_from((a, b) for a, b in graph.edges if a in live and b in live)
    return flow


def regions(traced: Traced, flow: nx.DiGraph) -> list[Region]:
    """Cut the data flow at its trunk points.

    Source: the trunk is the chain of dominators of the output (Lengauer and Tarjan 1979 define dominators).
    """
    dominator = nx.immediate_dominators(flow, traced.source)
    trunk = [traced.result]
    while trunk[-1] is not traced.source:
        trunk.append(dominator[trunk[-1]])
    trunk.reverse()
    position = {node: i for i, node in enumerate(trunk)}
    home: dict[fx.Node, int] = {}
    inner: list[list[fx.Node]] = [[] for _ in trunk]
    for node in flow.nodes:  # topological, so a node's dominator has been placed before it
        home[node] = position[node] if node in position else home[dominator[node]]
        if node not in position:
            inner[home[node]].append(node)
    return [
        _residual(Region(entry, exit_, tuple(inner[i])), traced, flow)
        for i, (entry, exit_) in enumerate(pairwise(trunk))
    ]


def longest(region: Region, flow: nx.DiGraph, end: fx.Node) -> tuple[int, int]:
    """Number of learned layers, and of operations, on the longest way from the region's entry to `end`."""
    best = {region.entry: (0, 0)}
    for node in region.nodes:
        reached = [best[p] for p in flow.predecessors(node) if p in best]
        if reached:
            layers, operations = max(reached)
            best[node] = (layers + layers_in(node), operations + 1)
    return best[end]


def count_paths(region: Region, flow: nx.DiGraph, weight: Mapping[fx.Node, int]) -> tuple[int, ...]:
    """Coefficients of the region's path polynomial: entry k is the number of paths of total weight k.

    Dynamic programming over the graph, so the cost does not depend on the number of paths.
    """
    ways: dict[fx.Node, list[int]] = {region.entry: [1]}
    for node in region.nodes:
        total: list[int] = []
        for before in flow.predecessors(node):
            _add_into(total, ways[before])
        ways[node] = [0] * weight.get(node, 0) + total
    return tuple(ways[region.exit])


def _add_into(total: list[int], other: list[int]) -> None:
    total.extend([0] * (len(other) - len(total)))
    for length, count in enumerate(other):
        total[length] += count


def _residual(region: Region, traced: Traced, flow: nx.DiGraph) -> Region:
    """Tell shortcut and branch apart, if the region ends in an addition of tensors of the output's shape."""
    known = {region.entry, *region.inner}
    if not is_addition(region.exit) or len(region.operands) != 2:
        return region
    terms = list(_terms(region.exit, known, flow))
    if region.entry in terms and terms.count(region.entry) == 1:
        shortcut = region.entry
    else:
        terms = list(region.operands)
        # the shorter operand is the shortcut; of two equally long ones the second, as in `branch(x) + shortcut(x)`
        shortcut = min(reversed(terms), key=lambda term: longest(region, flow, term))
    if traced.shape(shortcut) != traced.shape(region.exit):
        return region  # broadcast: without the branch the output would have another shape
    branch = tuple(term for term in terms if term is not shortcut)
    return Region(region.entry, region.exit, region.inner, shortcut, branch)


def _terms(node: fx.Node, known: set[fx.Node], flow: nx.DiGraph) -> Iterator[fx.Node]:
    """Summands of a sum of sums: `x + f(x) + g(x)` has three."""
    for operand in (n for n in node.all_input_nodes if n in known):
        nested = is_addition(operand) and flow.out_degree(operand) == 1
        if nested and all(n in known for n in operand.all_input_nodes) and len(operand.all_input_nodes) == 2:
            yield from _terms(operand, known, flow)
        else:
            yield operand
