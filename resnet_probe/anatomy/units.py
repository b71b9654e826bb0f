"""Units: the regions of the trunk, grouped and named the way people speak of a network.

A residual block is a unit; a convolution (or linear layer) with the normalisation and activation that follow it is a
unit; a parallel region that ends in a concatenation or product is a unit; what is left (pooling, reshaping, the ReLU
after an addition) is a unit without weights. Names are the model's own module paths.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import networkx as nx
from torch import fx, nn

from .operation import call_path, called_module, layers_in, module_path, operation_name
from .tracing import Traced, trace
from .trunk import Region, count_paths, data_flow, regions

__all__ = ["Anatomy", "Kind", "UnitPlan", "dissect"]

Kind = Literal["block", "layer", "parallel", "other"]


@dataclass(frozen=True)
class UnitPlan:
    """One link of the chain, as found in the graph.

    Attributes:
        name: module path of the unit, unique in the network.
        kind: `block` (residual), `layer` (one learned layer with what follows it), `parallel` (branches that end in
            something else than an addition), `other` (no weights, or only a normalisation).
        regions: what the unit consists of, in order; exactly one for a block.
        in_shape, out_shape: shapes without the batch dimension.
        stage: number of the stage, from 1; a stage ends where blocks (or layers) begin to yield another shape.
        shortcut: how a block's shortcut is made: `identity`, `zero-pad`, `conv1x1`, ...; empty for other units.
        branches: names of a parallel region's branches.
        module_polynomial, layer_polynomial: coefficient k is the number of paths through the unit that take k residual
            branches, or k learned layers.
    """

    name: str
    kind: Kind
    regions: tuple[Region, ...]
    in_shape: tuple[int, ...]
    out_shape: tuple[int, ...]
    stage: int
    shortcut: str
    branches: tuple[str, ...]
    module_polynomial: tuple[int, ...]
    layer_polynomial: tuple[int, ...]

    @property
    def entry(self) -> fx.Node:
        """Node whose value is the unit's input."""
        return self.regions[0].entry

    @property
    def exit(self) -> fx.Node:
        """Node whose value is the unit's output."""
        return self.regions[-1].exit

    @property
    def nodes(self) -> tuple[fx.Node, ...]:
        """All operations of the unit, in order."""
        return tuple(node for region in self.regions for node in region.nodes)

    @property
    def resizes(self) -> bool:
        """Whether the unit changes the number of channels or the size of the maps."""
        return self.in_shape != self.out_shape


@dataclass(frozen=True)
class Anatomy:
    """A traced model, its data-flow graph and its chain of units."""

    traced: Traced
    flow: nx.DiGraph
    units: tuple[UnitPlan, ...]


def dissect(model: nn.Module, shape: Sequence[int], *, leaves: Sequence[str | type[nn.Module]] = ()) -> Anatomy:
    """Find the chain of units of `model` for inputs of shape `(N, *shape)`.

    Raises:
        UntraceableError, ValueError: as `trace`.
    """
    traced = trace(model, shape, leaves=leaves)
    flow = data_flow(traced)
    groups = _group(traced, regions(traced, flow))
    plans = [_plan(kind, parts, traced, flow) for kind, parts in groups]
    return Anatomy(traced, flow, tuple(_number_stages(_unique_names(plans))))


def _group(traced: Traced, parts: Iterable[Region]) -> list[tuple[Kind, list[Region]]]:
    """Attach what follows a layer to the layer; gather what belongs to none."""
    groups: list[tuple[Kind, list[Region]]] = []
    for region in parts:
        kind = _kind(region)
        keeps_shape = traced.shape(region.entry) == traced.shape(region.exit) and not _pools(region)
        last = groups[-1][0] if groups else None
        if kind == "other" and ((last == "layer" and keeps_shape) or last == "other"):
            groups[-1][1].append(region)
        else:
            groups.append((kind, [region]))
    return groups


def _pools(region: Region) -> bool:
    """Whether the region pools, with stride 1 too; pooling is no part of a layer, and stays when it is deleted."""
    module = called_module(region.exit)
    return "pool" in operation_name(region.exit) if module is None else "Pool" in type(module).__name__


def _kind(region: Region) -> Kind:
    if region.shortcut is not None:
        return "block"
    learned = any(layers_in(node) for node in region.nodes)
    if region.inner:
        return "parallel" if learned else "other"
    return "layer" if learned else "other"


def _plan(kind: Kind, parts: list[Region], traced: Traced, flow: nx.DiGraph) -> UnitPlan:
    layer_weight = {node: layers_in(node) for region in parts for node in region.nodes}
    by_layer: tuple[int, ...] = (1,)
    by_module: tuple[int, ...] = (1,)
    for region in parts:
        by_layer = _multiply(by_layer, count_paths(region, flow, layer_weight))
        by_module = _multiply(by_module, _module_paths(region, flow))
    first, last = parts[0], parts[-1]
    return UnitPlan(
        name=_name(kind, parts, flow),
        kind=kind,
        regions=tuple(parts),
        in_shape=_without_batch(traced, first.entry),
        out_shape=_without_batch(traced, last.exit),
        stage=0,
        shortcut=_shortcut_kind(first, flow) if kind == "block" else "",
        branches=tuple(_branch_names(first, flow)) if kind == "parallel" else (),
        module_polynomial=by_module,
        layer_polynomial=by_layer,
    )


def _module_paths(region: Region, flow: nx.DiGraph) -> tuple[int, ...]:
    """A residual branch is one module, whatever is inside it; other regions add paths but no length."""
    if region.shortcut is not None:
        return (1, 1)
    return count_paths(region, flow, {})


def _multiply(a: Sequence[int], b: Sequence[int]) -> tuple[int, ...]:
    product = [0] * (len(a) + len(b) - 1)
    for i, x in enumerate(a):
        for j, y in enumerate(b):
            product[i + j] += x * y
    return tuple(product)


def _without_batch(traced: Traced, node: fx.Node) -> tuple[int, ...]:
    shape = traced.shape(node)
    return () if shape is None else shape[1:]


def _number_stages(plans: list[UnitPlan]) -> list[UnitPlan]:
    """Stages are counted along the blocks; in a network without blocks, along the layers."""
    counted: Kind = "block" if any(p.kind == "block" for p in plans) else "layer"
    maps = any(p.kind == counted and len(p.out_shape) > 1 for p in plans)  # then a classifier is no stage of its own
    stage = 0
    shape: tuple[int, ...] = ()
    numbered = []
    for plan in plans:
        if plan.kind == counted and (len(plan.out_shape) > 1 or not maps):
            stage += stage == 0 or not _same_maps(plan.out_shape, shape)
            shape = plan.out_shape
        numbered.append(replace(plan, stage=max(stage, 1)))
    return numbered


def _same_maps(a: tuple[int, ...], b: tuple[int, ...]) -> bool:
    """Equal shapes, or one is the other with some dimensions flattened (windows and tokens of a transformer)."""
    return a == b or (len(a) != len(b) and math.prod(a) == math.prod(b))


# -- names ---------------------------------------------------------------------------------------------------------


def _enclosing(nodes: Iterable[fx.Node]) -> tuple[str, ...]:
    """Path of the deepest module that encloses all nodes."""
    paths = [module_path(node) for node in nodes]
    prefix = paths[0]
    for path in paths[1:]:
        same = next((i for i, (a, b) in enumerate(zip(prefix, path, strict=False)) if a != b), None)
        prefix = prefix[: min(len(prefix), len(path)) if same is None else same]
    return prefix


def _name(kind: Kind, parts: list[Region], flow: nx.DiGraph) -> str:
    nodes = [node for region in parts for node in region.nodes]
    if kind in ("block", "parallel"):
        return _earlier_name(kind, nodes) or ".".join(_enclosing(nodes)) or _main_child(parts[0], (), flow)
    main = next((node for node in nodes if layers_in(node)), nodes[0])
    return _earlier_name(kind, [main]) or call_path(main)


def _earlier_name(kind: Kind, nodes: Iterable[fx.Node]) -> str | None:
    """The name these nodes had as a unit of the same kind, in a network that was unraveled and edited before."""
    tags = {node.meta.get("unit") for node in nodes}
    name, was = (tags.pop() if len(tags) == 1 else None) or (None, None)
    return name if was == kind else None


def _main_child(region: Region, parent: tuple[str, ...], flow: nx.DiGraph) -> str:
    """The module directly inside `parent` that holds most learned layers of the residual branch."""
    branch = _leading_to(region, region.branch or (region.exit,), flow)
    votes: Counter[str] = Counter()
    for node in branch:
        path = call_path(node).split(".") if node.op == "call_module" else module_path(node)
        if len(path) > len(parent):
            votes[".".join(path[: len(parent) + 1])] += 1 + 100 * layers_in(node)
    return votes.most_common(1)[0][0] if votes else call_path(region.exit)


def _leading_to(region: Region, ends: Iterable[fx.Node], flow: nx.DiGraph) -> list[fx.Node]:
    """Nodes of the region on a path from its entry to one of `ends`, in order."""
    wanted = set(ends)
    for node in reversed(region.inner):
        if any(after in wanted for after in flow.successors(node)):
            wanted.add(node)
    return [node for node in region.nodes if node in wanted]


def _unique_names(plans: list[UnitPlan]) -> list[UnitPlan]:
    """Where one module holds several blocks (attention and MLP), each is named by its main part."""
    times = Counter(plan.name for plan in plans)
    named: list[UnitPlan] = []
    for plan in plans:
        name = plan.name
        if times[name] > 1 and plan.kind in ("block", "parallel"):
            region = plan.regions[0]
            parent = _enclosing(plan.nodes)
            name = _child_name(region, parent)
        named.append(replace(plan, name=name))
    taken: set[str] = set()
    result = []
    for plan in named:
        suffixes = ("", *(f"@{i}" for i in range(1, len(plans) + 1)))
        name = next(name for suffix in suffixes if (name := plan.name + suffix) not in taken)
        taken.add(name)
        result.append(replace(plan, name=name))
    return result


def _child_name(region: Region, parent: tuple[str, ...]) -> str:
    flow: nx.DiGraph = nx.DiGraph()
    flow.add_edges_from((a, node) for node in region.nodes for a in node.all_input_nodes)
    return _main_child(region, parent, flow)


def _branch_names(region: Region, flow: nx.DiGraph) -> Iterable[str]:
    parent = _enclosing(region.nodes)
    for operand in region.operands:
        if operand is region.entry:
            yield "identity"
            continue
        nodes = [node for node in _leading_to(region, (operand,), flow) if node is not region.exit]
        inside = _enclosing(nodes)
        main = next((node for node in nodes if layers_in(node)), operand)
        yield ".".join(inside) if len(inside) > len(parent) else call_path(main)


def _shortcut_kind(region: Region, flow: nx.DiGraph) -> str:
    """How the shortcut is made, in the papers' words."""
    if region.shortcut is region.entry:
        return "identity"
    assert region.shortcut is not None
    nodes = [node for node in _leading_to(region, (region.shortcut,), flow) if node is not region.exit]
    for node in nodes:
        if (module := called_module(node)) is not None and layers_in(node):
            size = getattr(module, "kernel_size", None)
            return f"conv{size[0]}x{size[1]}" if isinstance(size, tuple) and len(size) == 2 else "projection"
    if any(layers_in(node) for node in nodes):
        return "projection"
    if any(operation_name(node) in ("pad", "cat", "concat") for node in nodes):
        return "zero-pad"
    return "parameter-free"
