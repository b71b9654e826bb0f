"""The trunk of a data-flow graph: the points that every path from input to output passes, and what lies between.

Between two neighbouring trunk points lies one operation or a parallel region.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise

import networkx as nx
from torch import fx

from .operation import is_addition, layers_in
from .tracing import Traced

__all__ = ["Region", "cut", "data_flow", "longest"]


@dataclass(frozen=True)
class Region:
    """What lies between two points of the graph, such as two neighbouring trunk points.

    Attributes:
        entry: point before the region; its value is the region's input.
        exit: point at the end of the region; its value is the region's output.
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

    Nodes have an attribute `adds`: whether they add up what they read.

    Raises:
        ValueError: the output does not depend on the input.
    """
    graph: nx.DiGraph = nx.DiGraph()
    graph.add_node(traced.source)
    for node in traced.module.graph.nodes:
        if node.op in ("placeholder", "output") or not traced.carries_data(node):
            continue
        graph.add_edges_from((source, node) for source in traced.reads(node) if source in graph)
    if traced.result not in graph or traced.result is traced.source:
        raise ValueError("the output does not depend on the input, so there is nothing to unravel")
    live = nx.ancestors(graph, traced.result) | {traced.result}
    order = [node for node in traced.module.graph.nodes if node in live]
    flow: nx.DiGraph = nx.DiGraph()
    flow.add_nodes_from(order)  # kept in topological order
    for node in order:
        flow.nodes[node]["adds"] = is_addition(node) or node in traced.summands
    flow.add_edges_from((a, b) for a, b in graph.edges if a in live and b in live)
    return flow


def cut(traced: Traced, flow: nx.DiGraph) -> list[Region]:
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
    return [Region(entry, exit_, tuple(inner[i])) for i, (entry, exit_) in enumerate(pairwise(trunk))]


def longest(nodes: Iterable[fx.Node], flow: nx.DiGraph, start: fx.Node, end: fx.Node) -> tuple[int, int]:
    """Number of learned layers, and of operations, on the longest way from `start` to `end`.

    Args:
        nodes: what may lie on it, in topological order, with `end`.
        flow: the graph.
        start: where it begins; its own layers do not count.
        end: where it ends.
    """
    best = {start: (0, 0)}
    for node in nodes:
        reached = [best[before] for before in flow.predecessors(node) if before in best]
        if reached:
            layers, operations = max(reached)
            best[node] = (layers + layers_in(node), operations + 1)
    return best[end]
