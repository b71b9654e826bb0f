"""Copy pieces of a traced graph into a new one: a whole unit, its shortcut alone, its branch alone, or a bypass.

Every piece is a function of one tensor, the unit's input. Sizes that the model computed further up (a batch size taken
from the input, say) are written in as constants, or as multiples of the batch size of that tensor.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import torch
from torch import Tensor, fx, nn
from torch.nn import functional as F

from .operation import called_module, layers_in, operation_name
from .recording import BATCHES, holds_tensor
from .tracing import Traced, assemble
from .trunk import Region
from .units import UnitPlan

__all__ = ["Mode", "Piece", "bypass", "emit", "runnable", "values_in"]

Mode = Literal["whole", "shortcut", "branch", "bypass"]


@dataclass(frozen=True)
class Piece:
    """What is run of a unit.

    Attributes:
        plan: the unit.
        mode: `whole`; for a block also `shortcut` or `branch`; for a layer also `bypass`, the identity that fits
            channels and size (see `bypass`).
        scale: factor on the residual branch, for `whole` and `branch`.
        factors: by name of a block inside the unit the factor on its branch; at 0 it is deleted.
    """

    plan: UnitPlan
    mode: Mode = "whole"
    scale: float = 1.0
    factors: Mapping[str, float] = field(default_factory=dict)


def runnable(traced: Traced, pieces: Iterable[Piece], name: str, *, own_modules: bool = False) -> nn.Module:
    """A module that runs pieces of a traced network one after the other, each as `emit` describes it.

    Args:
        traced: the traced model; its weights are shared.
        pieces: one after the other.
        name: class name of the module.
        own_modules: share the weights only, and not the modules with their modes.
    """
    graph = fx.Graph()
    x = graph.placeholder("x")
    for piece in pieces:
        x = emit(traced, piece, graph, x)
    graph.output(x)
    return assemble(traced.module, graph, name, saved=traced.saved, own_modules=own_modules)


def values_in(traced: Traced, plan: UnitPlan, nodes: Iterable[fx.Node], x: Tensor) -> tuple[Tensor, ...]:
    """Values of nodes inside a unit, for a batch of the unit's inputs."""
    graph = fx.Graph()
    copier = _Copier(traced, plan, graph, graph.placeholder("x"), {})
    graph.output(tuple(copier.copy(node) for node in nodes))
    return assemble(traced.module, graph, "Values", saved=traced.saved)(x)  # type: ignore[no-any-return]


def emit(traced: Traced, piece: Piece, graph: fx.Graph, x: fx.Node) -> fx.Node:
    """Append a piece to `graph` and return the node that yields its output.

    Args:
        traced: the traced model that the unit was found in.
        piece: what to append.
        graph: graph of a `GraphModule` whose root holds the traced model's modules.
        x: node in `graph` that yields the unit's input.

    Raises:
        ValueError: the mode does not exist for this kind of unit, or the piece needs more than its input.
    """
    plan, mode = piece.plan, piece.mode
    copier = _Copier(traced, plan, graph, x, piece.factors)
    if mode == "whole" and piece.scale == 1.0:
        return copier.copy(plan.exit)
    if mode == "bypass" and plan.kind == "layer":
        return copier.call(bypass, x, plan.out_shape, _is_linear(plan)) if plan.resizes else x
    if plan.kind != "block" or mode == "bypass":
        raise ValueError(f"{plan.name} is of kind {plan.kind!r} and has no {mode}; residual blocks have a branch")
    return copier.block(plan.regions[0], mode, piece.scale)


def bypass(x: Tensor, shape: Sequence[int], channels_last: bool = False) -> Tensor:
    """The identity in place of a layer, made to fit the layer's output.

    The paper does not say how a layer that changes shape is deleted; here the maps are strided, then cropped in the
    middle if the layer did not pad; the first channels are kept, or zero channels added, half before and half after
    (He et al. 2015, option A as commonly implemented).

    Args:
        x: input of the layer, `(N, C, H, W)`, `(N, C, L)` or `(N, C)`.
        shape: output shape of the layer without the batch dimension, with as many dimensions.
        channels_last: the channels are the last dimension, as in a linear layer over tokens.
    """
    if x.dim() != len(shape) + 1:
        raise ValueError(
            f"a layer from shape {tuple(x.shape[1:])} to {tuple(shape)} has no identity to put in its place"
        )
    if channels_last:
        return bypass(x.movedim(-1, 1), (shape[-1], *shape[:-1])).movedim(1, -1)
    for dim, size in enumerate(shape[1:], start=2):
        have = x.shape[dim]
        if have < size:
            x = F.interpolate(x, size=tuple(shape[1:]), mode="nearest")
            break
        stride = -(-have // size)
        if -(-have // stride) != size:  # the layer did not pad, so it yields less than one value per stride
            stride = have // size
        x = x[(slice(None),) * dim + (slice(None, None, stride),)]
        x = x.narrow(dim, (x.shape[dim] - size) // 2, size)
    have, want = x.shape[1], shape[0]
    if have > want:
        return x[:, :want]
    before = (want - have) // 2
    return F.pad(x, (*(0, 0) * (x.dim() - 2), before, want - have - before))


def _is_linear(plan: UnitPlan) -> bool:
    """Whether the unit's layer is a linear one."""
    for node in plan.nodes:
        if layers_in(node):
            return isinstance(called_module(node), nn.Linear) or operation_name(node) == "linear"
    return False


class _Copier:
    """Copies what a node needs, from the unit's input on, into another graph; shared parts are copied once."""

    def __init__(
        self, traced: Traced, plan: UnitPlan, graph: fx.Graph, x: fx.Node, factors: Mapping[str, float]
    ) -> None:
        self.traced, self.plan, self.graph = traced, plan, graph
        self.copies: dict[fx.Node, fx.Node | Any] = {plan.entry: x}
        self.local = {plan.entry, *plan.nodes}
        self.edited = {
            block.exit: (block.regions[0], factors[block.name]) for block in plan.blocks if block.name in factors
        }
        self.names = {node: block.name for block in plan.blocks for node in block.nodes}

    def copy(self, target: fx.Node) -> fx.Node:
        for node in self._needed(target):
            if node in self.copies:
                continue
            if node in self.edited:
                region, factor = self.edited[node]
                self.copies[node] = self.block(region, "whole" if factor else "shortcut", factor)
            elif self._is_outside_size(node):
                self.copies[node] = self._size(node)
            else:
                self.copies[node] = self._tagged(self.graph.node_copy(node, lambda n: self.copies[n]), node)
        return self.copies[target]

    def block(self, region: Region, mode: Mode, scale: float) -> fx.Node:
        """A residual block, or a part of it, with a factor on the branch."""
        assert region.shortcut is not None
        if mode == "shortcut":
            return self.copy(region.shortcut)
        branch: fx.Node | None = None
        for term in region.branch:
            copied = self.copy(term)
            branch = copied if branch is None else self.call(operator.add, branch, copied)
        assert branch is not None
        if scale != 1.0:
            branch = self.call(operator.mul, branch, scale)
        return branch if mode == "branch" else self.call(operator.add, self.copy(region.shortcut), branch)

    def call(self, function: Callable[..., Any], *args: Any) -> fx.Node:
        """Append a call that belongs to the same module as the unit's last operation."""
        node = self.graph.call_function(function, args)
        node.meta = dict(self.plan.exit.meta)
        return self._tagged(node)

    def _tagged(self, node: fx.Node, copied: fx.Node | None = None) -> fx.Node:
        """The unit keeps its name when an edited chain is made a module and that is unraveled again."""
        inside = self.names.get(copied or self.plan.exit)
        node.meta["unit"] = (self.plan.name, self.plan.kind) if inside is None else (inside, "block")
        return node

    def _read_by(self, node: fx.Node) -> Sequence[fx.Node]:
        if node not in self.edited:
            return node.all_input_nodes
        region, factor = self.edited[node]
        assert region.shortcut is not None
        return (region.shortcut, *(region.branch if factor else ()))

    def _needed(self, target: fx.Node) -> list[fx.Node]:
        """Nodes to copy for `target`, in an order in which each comes after what it reads."""
        order: list[fx.Node] = []
        done = set(self.copies)
        stack = [(target, False)]
        while stack:
            node, ready = stack.pop()
            if ready:
                order.append(node)
                continue
            if node in done:
                continue
            done.add(node)
            if node not in self.local and self._reads_values(node):
                raise ValueError(
                    f"{self.plan.name} reads {node.name!r} from outside itself, so it cannot be run alone; "
                    "keep the module around it as one operation (--leaf PATH, leaves=...)"
                )
            stack.append((node, True))
            if not self._is_outside_size(node):
                stack.extend((source, False) for source in self._read_by(node))
        return order

    def _reads_values(self, node: fx.Node) -> bool:
        """Whether values of the model's input, not only its sizes, flow into the node past the unit."""
        seen, stack = {node}, [node]
        while stack:
            current = stack.pop()
            if current in self.local:
                continue
            if current is self.traced.source:
                return True
            if self.traced.carries_data(current):
                fresh = set(current.all_input_nodes) - seen
                seen |= fresh
                stack.extend(fresh)
        return False

    def _is_outside_size(self, node: fx.Node) -> bool:
        """A size, or a tensor made from sizes alone, that depends on data the unit does not see."""
        if node in self.local or holds_tensor(self.traced.values[node][0]):
            return False
        return any(self._outside_data(source) for source in self._ancestors(node))

    def _outside_data(self, node: fx.Node) -> bool:
        return node not in self.local and self._reads_input(node) and holds_tensor(self.traced.values[node][0])

    def _reads_input(self, node: fx.Node) -> bool:
        return node is self.traced.source or self.traced.source in self._ancestors(node)

    def _ancestors(self, node: fx.Node) -> set[fx.Node]:
        seen: set[fx.Node] = set()
        stack = list(node.all_input_nodes)
        while stack:
            before = stack.pop()
            if before not in seen and before not in self.local:
                seen.add(before)
                stack.extend(before.all_input_nodes)
        return seen

    def _size(self, node: fx.Node) -> Any:
        """The value of a size node as a function of the batch dimension of the unit's input."""
        return self._affine(*self.traced.values[node])

    def _affine(self, low: Any, high: Any) -> Any:
        if isinstance(low, (tuple, list)):
            items = [self._affine(a, b) for a, b in zip(low, high, strict=True)]
            return type(low)(items) if type(low) in (tuple, list) else tuple(items)
        if low == high:
            return low
        entry = [shape[0] for batch in range(2) if (shape := self.traced.shape(self.plan.entry, batch))]
        slope = (high - low) // (BATCHES[1] - BATCHES[0])
        per_item = entry[0] // BATCHES[0]
        follows = slope and (slope % per_item == 0 or per_item % slope == 0)
        if [per_item * b for b in BATCHES] != entry or slope * BATCHES[0] != low or not follows:
            raise ValueError(
                f"{self.plan.name} needs a size that does not follow from its own input ({low} for a batch of "
                f"{BATCHES[0]}, {high} for {BATCHES[1]}); "
                "keep the module around it as one operation (--leaf PATH, leaves=...)"
            )
        batch = self.call(operator.getitem, self.call(getattr, self.copies[self.plan.entry], "shape"), 0)
        if slope < per_item:  # the batch and other dimensions are one in the unit's input
            return self.call(operator.floordiv, batch, per_item // slope)
        factor = slope // per_item
        return batch if factor == 1 else self.call(operator.mul, batch, factor)


torch.fx.wrap("bypass")
