"""Units: the regions of the trunk, grouped and named the way people speak of a network.

A residual block is a unit; a convolution (or linear layer) with the normalisation and activation that follow it is a
unit; a parallel region that ends in a concatenation or product is a unit; what is left (pooling, reshaping, the ReLU
after an addition) is a unit without weights. Names are the model's own module paths.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import networkx as nx
from torch import fx, nn

from .operation import call_path, called_module, layers_in, module_path, operation_name, unopened
from .residual import Sum, regions, sums
from .tracing import Traced, trace
from .trunk import Region, data_flow
from .ways import polynomials, ways

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
            branches, or k learned layers, see `ways`.
        blocks: residual blocks inside a parallel region, in order. They are deleted inside the unit.
        inside: of such a block the name of the unit around it; empty for a link of the chain.
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
    blocks: tuple[UnitPlan, ...] = ()
    inside: str = ""

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
    """A traced model, its data-flow graph and its chain of units.

    Attributes:
        traced: the model as a graph.
        flow: the nodes along which data flow.
        ways: the edges of it that a path can take.
        sums: every sum of two values, with the reason why it is no residual block if it is none.
        units: the chain.
    """

    traced: Traced
    flow: nx.DiGraph
    ways: nx.DiGraph
    sums: dict[fx.Node, Sum]
    units: tuple[UnitPlan, ...]

    @property
    def unopened(self) -> dict[str, int]:
        """Modules that are kept as one operation though they hold others: path, and number of parameters."""
        return unopened(self.flow.nodes)

    def polynomials(
        self, plan: UnitPlan, without: Iterable[tuple[UnitPlan, Literal["shortcut", "branch"]]] = ()
    ) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """Paths through a unit, by residual branches and by layers, if parts of blocks in it are taken away."""
        gone = []
        for block, part in without:
            region = block.regions[0]
            terms = region.branch if part == "branch" else (region.shortcut,)
            gone += self.sums[block.exit].edges_of([term for term in terms if term is not None])
        return polynomials(plan.regions, self.ways, self.sums.values(), without=gone)


def dissect(
    model: nn.Module,
    example: Any,
    *,
    leaves: Sequence[str | type[nn.Module]] = (),
    way: Literal["fx", "export"] | None = None,
    output: str = "",
) -> Anatomy:
    """Find the chain of units of `model` for inputs like an example; arguments and errors are those of `trace`."""
    traced = trace(model, example, leaves=leaves, way=way, output=output)
    flow = data_flow(traced)
    found = sums(traced, flow)
    anatomy = Anatomy(traced, flow, ways(flow, found), found, ())
    groups = _group(traced, regions(traced, flow, found), found)
    plans = [_plan(kind, parts, anatomy) for kind, parts in groups]
    return replace(anatomy, units=tuple(_number_stages(_unique_names(plans))))


def _blocks_in(region: Region, found: dict[fx.Node, Sum]) -> list[Region]:
    if region.shortcut is not None:
        return []
    inside = (found[node] for node in region.nodes if node in found)
    return [each.block for each in inside if each.block is not None and not each.holds]


def _group(traced: Traced, parts: Iterable[Region], found: dict[fx.Node, Sum]) -> list[tuple[Kind, list[Region]]]:
    """Attach what follows a layer to the layer; gather what belongs to none."""
    groups: list[tuple[Kind, list[Region]]] = []
    for region in parts:
        kind = _kind(region, found)
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


def _kind(region: Region, found: dict[fx.Node, Sum]) -> Kind:
    if region.shortcut is not None:
        return "block"
    learned = any(layers_in(node) for node in region.nodes)
    if region.inner:
        return "parallel" if learned or _blocks_in(region, found) else "other"
    return "layer" if learned else "other"


def _plan(kind: Kind, parts: list[Region], anatomy: Anatomy) -> UnitPlan:
    traced, flow = anatomy.traced, anatomy.flow
    first, last = parts[0], parts[-1]
    inside = _blocks_in(first, anatomy.sums)
    plan = UnitPlan(
        name=_name(kind, parts, {node for block in inside for node in block.nodes}, flow),
        kind=kind,
        regions=tuple(parts),
        in_shape=_without_batch(traced, first.entry),
        out_shape=_without_batch(traced, last.exit),
        stage=0,
        shortcut=_shortcut_kind(first, flow) if kind == "block" else "",
        branches=tuple(_branch_names(first, flow)) if kind == "parallel" else (),
        module_polynomial=(),
        layer_polynomial=(),
        blocks=tuple(_plan("block", [block], anatomy) for block in inside),
    )
    modules, layers = anatomy.polynomials(plan)
    return replace(plan, module_polynomial=modules, layer_polynomial=layers)


def _without_batch(traced: Traced, node: fx.Node) -> tuple[int, ...]:
    shape = traced.shape(node)
    return () if shape is None else shape[1:]


def _number_stages(plans: list[UnitPlan]) -> list[UnitPlan]:
    """Stages are counted along the blocks; in a network without blocks, along the layers."""
    counted: Kind = "block" if any(p.kind == "block" or p.blocks for p in plans) else "layer"
    maps = any(p.kind == counted and len(p.out_shape) > 1 for p in plans)  # then a classifier is no stage of its own
    stage = 0
    shape: tuple[int, ...] = ()
    numbered = []
    for plan in plans:
        if plan.kind == counted and (len(plan.out_shape) > 1 or not maps):
            stage += stage == 0 or not _same_maps(plan.out_shape, shape)
            shape = plan.out_shape
        blocks = []
        stages: dict[tuple[int, ...], int] = {}  # parallel branches take turns, and each is a stage of its own
        for block in plan.blocks:
            if block.out_shape not in stages:
                stage += stage == 0 or not _same_maps(block.out_shape, shape)
                stages[block.out_shape] = stage
                shape = block.out_shape
            blocks.append(replace(block, stage=stages[block.out_shape]))
        numbered.append(replace(plan, stage=max(stage, 1), blocks=tuple(blocks)))
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


def _name(kind: Kind, parts: list[Region], named: Collection[fx.Node], flow: nx.DiGraph) -> str:
    """Name of a unit; nodes that are `named` belong to blocks inside it, which have names of their own."""
    nodes = [node for region in parts for node in region.nodes]
    if kind in ("block", "parallel"):
        own = [node for node in nodes if node not in named] or nodes
        return _earlier_name(kind, own) or ".".join(_enclosing(nodes)) or _main_child(parts[0], (), flow, named)
    main = next((node for node in nodes if layers_in(node)), nodes[0])
    return _earlier_name(kind, [main]) or call_path(main)


def _earlier_name(kind: Kind, nodes: Iterable[fx.Node]) -> str | None:
    """The name these nodes had as a unit of the same kind, in a network that was unraveled and edited before."""
    tags = {node.meta.get("unit") for node in nodes}
    name, was = (tags.pop() if len(tags) == 1 else None) or (None, None)
    return name if was == kind else None


def _main_child(region: Region, parent: tuple[str, ...], flow: nx.DiGraph, named: Collection[fx.Node] = ()) -> str:
    """The module directly inside `parent` that holds most learned layers of the residual branch."""
    branch = [node for node in _leading_to(region, region.branch or (region.exit,), flow) if node not in named]
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
    each = [one for plan in plans for one in (plan, *plan.blocks)]
    times = Counter(one.name for one in each)
    names = [
        _child_name(one.regions[0], _enclosing(one.nodes))
        if times[one.name] > 1 and one.kind in ("block", "parallel")
        else one.name
        for one in each
    ]
    times = Counter(names)
    taken: set[str] = set()
    for i, one in enumerate(each):
        name = names[i]
        if times[name] > 1 and one.kind in ("block", "parallel"):  # one list of modules, called in turn
            inside = _enclosing([node for node in one.regions[0].nodes if layers_in(node)] or one.nodes)
            name = ".".join(inside) if ".".join(inside).startswith(f"{name}.") else name
        suffixes = ("", *(f"@{number}" for number in range(1, len(each) + 1)))
        names[i] = next(full for suffix in suffixes if (full := name + suffix) not in taken)
        taken.add(names[i])
    unique = iter(names)
    result = []
    for plan in plans:
        name = next(unique)
        blocks = tuple(replace(block, name=next(unique), inside=name) for block in plan.blocks)
        result.append(replace(plan, name=name, blocks=blocks))
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
