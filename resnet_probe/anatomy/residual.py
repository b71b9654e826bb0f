"""Residual blocks: which sums of a network are a shortcut and a branch, wherever in the graph they stand.

In `a + b` the operand a is an identity shortcut if b depends on it. A projection, a pooled or a padded value is a
shortcut if one learned layer, or a linear map, lies between it and a value that b depends on too, and more layers lie
on b's way from there. Everything else is a sum of another kind, and in doubt a sum is no block.

Source: He et al. 2015, section 3.2 (identity and projection shortcuts); regions with one entry and one exit nest, as in
the program structure tree of Johnson, Pearson and Pingali 1994.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import networkx as nx
from torch import fx

from .operation import is_linear, kind_name, layers_in, operation_name, parameters_in
from .tracing import Traced
from .trunk import Region, cut, longest

__all__ = ["ACTIVATION", "Sum", "regions", "sums"]

ACTIVATION = "an activation function"  # written out: a sum of functions of one value, position by position

_CONCATENATIONS = frozenset({"cat", "concat", "concatenate"})
_SCALINGS = frozenset({"mul", "div", "truediv", "neg", "addcmul", "dropout", "identity"})
_POINTWISE = _SCALINGS | {
    *("add", "sub", "rsub", "pow", "square", "sqrt", "rsqrt", "reciprocal", "exp", "log", "abs", "clamp", "sin", "cos"),
    *("tanh", "sigmoid", "erf", "softplus", "relu", "gelu", "silu", "hardsigmoid", "hardtanh"),
}
_PADS = frozenset({"pad", "getitem"}) | _CONCATENATIONS
_MIXES = frozenset({"matmul", "bmm", "baddbmm", "einsum", "softmax", "scaled_dot_product_attention"})
_ENLARGES = ("interpolate", "upsample", "conv_transpose", "convtranspose", "pixel_shuffle", "pixelshuffle")
_RESHAPES = frozenset(
    {"view", "reshape", "permute", "transpose", "flatten", "unflatten", "contiguous", "squeeze", "unsqueeze"}
    | {"mul", "div", "truediv", "masked_fill", "float", "to", "type_as"}
)


@dataclass(frozen=True)
class Sum:
    """An addition of two values that both depend on the input.

    Attributes:
        node: the addition.
        block: from the value that shortcut and branch have in common to the sum; None if it is no residual block.
        reason: why it is none; empty for a block.
        edges: on which its terms reach it, or a sum inside it that adds further terms, as in `x + f(x) + g(x)`.
        holds: further blocks between this one's entry and exit. Such a block is a bypass around others.
    """

    node: fx.Node
    block: Region | None = None
    reason: str = ""
    edges: tuple[tuple[fx.Node, fx.Node], ...] = ()
    holds: tuple[fx.Node, ...] = ()

    def edges_of(self, terms: Sequence[fx.Node]) -> list[tuple[fx.Node, fx.Node]]:
        """The edges on which these terms reach it."""
        return [edge for edge in self.edges if edge[0] in terms]


def sums(traced: Traced, flow: nx.DiGraph) -> dict[fx.Node, Sum]:
    """Every sum of two values in the data flow, in order, each with its block or the reason why it is none."""
    return _Classifier(traced, flow).run()


def regions(traced: Traced, flow: nx.DiGraph, found: dict[fx.Node, Sum] | None = None) -> list[Region]:
    """Cut the data flow at its trunk points; residual blocks that hold no others have a shortcut and a branch."""
    found = sums(traced, flow) if found is None else found
    return [_residual(region, found.get(region.exit)) for region in cut(traced, flow)]


def _residual(region: Region, last: Sum | None) -> Region:
    if last is None or last.block is None or last.holds or last.block.entry is not region.entry:
        return region
    return replace(region, shortcut=last.block.shortcut, branch=last.block.branch)


class _Classifier:
    """Goes through the graph once; sets of nodes are kept as the bits of an integer."""

    def __init__(self, traced: Traced, flow: nx.DiGraph) -> None:
        self.traced, self.flow = traced, flow
        self.order: list[fx.Node] = list(flow.nodes)
        self.number = {node: i for i, node in enumerate(self.order)}
        self.dominator = nx.immediate_dominators(flow, traced.source)
        self.above: dict[fx.Node, int] = {}  # per node the nodes that it depends on, and itself
        self.found: dict[fx.Node, Sum] = {}

    def run(self) -> dict[fx.Node, Sum]:
        for node in self.order:
            before = list(self.flow.predecessors(node))
            self.above[node] = 1 << self.number[node]
            if self.flow.nodes[node]["adds"] and len(before) > 1:
                self.found[node] = found = self._classify(node)
                if found.reason == _COUPLED:  # the other half of the value goes on, and this half is added to it
                    before = [min(before, key=lambda operand: self._way(self._root(operand, before), operand))]
            for source in before:
                self.above[node] |= self.above[source]
        self._nest()
        return self.found

    # -- one sum -----------------------------------------------------------------------------------------------------

    def _classify(self, node: fx.Node) -> Sum:
        if self._is_read_by_softmax(node):
            return Sum(node, reason="attention scores: a softmax reads it")
        terms, within = self._terms(node)
        shortcut = self._identity(terms)
        merges = [self.found[inner].block for inner in within]
        if shortcut is None or any(block is not None and block.shortcut is not shortcut for block in merges):
            terms, within = self._read(node), []
            shortcut = self._identity(terms)
        if shortcut is not None:
            if self._shape(shortcut) != self._shape(node):
                return Sum(node, reason=_BROADCAST)
            for inner in (*within, *self._scaled_parts(terms, shortcut)):
                self.found[inner] = Sum(inner, reason="part of a larger sum")
            return self._checked(self._block((node, *within), shortcut, shortcut, terms), identity=True)
        if len(terms) != 2:
            return Sum(node, reason="both operands are branches")
        roots = {term: self._root(term, terms) for term in terms}
        # of two equally long operands the second is the shortcut, as in `branch(x) + shortcut(x)`
        gated = [term for term in terms if self._is_gated(term, roots[term])]
        shortcut = gated[0] if len(gated) == 1 else min(reversed(terms), key=lambda term: self._way(roots[term], term))
        if self._shape(shortcut) != self._shape(node):
            return Sum(node, reason=_BROADCAST)
        return self._checked(self._block((node,), roots[shortcut], shortcut, terms), identity=False)

    def _checked(self, found: Sum, *, identity: bool) -> Sum:
        """The block, or the reason why its sum is none."""
        block = found.block
        assert block is not None
        readers = list(self.flow.successors(found.node))
        if len(readers) == 1 and self._is_gathered(found.node, readers):
            return Sum(found.node, reason=_GATHERED)
        reason = self._why_no_branch(block) if identity else self._why_no_projection(block, readers, found.node)
        return Sum(found.node, reason=reason) if reason else found

    def _why_no_branch(self, block: Region) -> str:
        """A branch can be more of the shortcut itself, or what the shortcut as queries finds in other values."""
        along = [node for term in block.branch for node in self._between(block.entry, term)]
        mixes = [node for node in along if operation_name(node) in _MIXES and not self._way(block.entry, node)[0]]
        if any(not self._depends(other, block.entry) for node in mixes for other in self.flow.predecessors(node)):
            return "attention adds its own queries"
        if any(map(layers_in, along)):
            return ""
        adds = [node for node in along if self.flow.nodes[node]["adds"]]
        if adds and all(node in adds or kind_name(node) in _SCALINGS for node in along):
            return "one linear map in two parts"
        ends = map(self._unscaled, block.branch)
        if any(self._is_product(end, block.entry) for end in ends):
            return "a value and its product with a gate"
        kinds = {kind_name(node) for node in along}
        return ACTIVATION if kinds - _SCALINGS and kinds <= _POINTWISE else ""

    def _is_gathered(self, node: fx.Node, readers: Sequence[fx.Node]) -> bool:
        """Whether a concatenation reads it beside other sums that nothing else reads."""
        others = [o for n in readers if operation_name(n) in _CONCATENATIONS for o in self.flow.predecessors(n)]
        return any(self.flow.nodes[o]["adds"] and o is not node and self.flow.out_degree(o) == 1 for o in others)

    def _why_no_projection(self, block: Region, readers: Sequence[fx.Node], node: fx.Node) -> str:
        assert block.shortcut is not None
        (branch,) = block.branch
        if self._is_coupled(block.entry, block.shortcut, branch):
            return _COUPLED
        if self._is_gathered(node, readers):
            return _GATHERED
        around, along = (list(self._between(block.entry, end)) for end in (block.shortcut, branch))
        layers, longer = (self._way(block.entry, end)[0] for end in (block.shortcut, branch))
        if self._is_gated(block.shortcut, block.entry) and not self._is_gated(branch, block.entry):
            layers = 0  # those of the gate that it passes (Srivastava et al. 2015)
        linear = all(map(is_linear, around))
        pads = all(operation_name(node) in _PADS for node in around)
        reader = readers[0] if len(readers) == 1 else None
        reasons = {
            "both operands are branches": (layers > 1 and not linear) or layers >= longer,
            "one linear map in two parts": not pads and all(map(is_linear, along)),
            "both operands use a layer": bool(
                _weights([node for node in around if node not in along])
                & _weights([node for node in along if node not in around])
            ),
            "a product with another value is added": layers > 0
            and any(
                self._is_product(node) and not (self._is_gated(node, block.entry) or self._has_gate(node))
                for node in around
            ),
            "both operands mix positions": any(operation_name(node) in _MIXES for node in around),
            "values of two resolutions": any(kind_name(node).startswith(_ENLARGES) for node in along),
            "a product with another value reads it": reader is not None and self._is_product(reader),
            "the mean of two branches": reader is not None and _halves(reader),
        }
        return next((reason for reason, holds in reasons.items() if holds), "")

    def _block(
        self, additions: tuple[fx.Node, ...], entry: fx.Node, shortcut: fx.Node, terms: Sequence[fx.Node]
    ) -> Sum:
        node = additions[0]
        operands = [n for n in self.flow.predecessors(node) if n is not entry]
        inner = {each for operand in operands for each in self._between(entry, operand)}
        branch = tuple(term for term in terms if term is not shortcut)
        region = Region(entry, node, tuple(sorted(inner, key=self.number.__getitem__)), shortcut, branch)
        edges = tuple((term, each) for each in additions for term in self._read(each) if term in terms)
        return Sum(node, region, edges=edges)

    def _read(self, node: fx.Node) -> list[fx.Node]:
        """The summands of a sum, in the order in which they are written."""
        return [term for term in self.traced.reads(node) if term in self.number]

    # -- what is asked about operands --------------------------------------------------------------------------------

    def _depends(self, node: fx.Node, on: fx.Node) -> bool:
        return bool(self.above[node] >> self.number[on] & 1)

    def _shape(self, node: fx.Node) -> tuple[int, ...] | None:
        return self.traced.shape(node)

    def _terms(self, node: fx.Node) -> tuple[list[fx.Node], list[fx.Node]]:
        """Summands of a sum of sums, `x + f(x) + g(x)` has three, and the sums inside it."""
        terms: list[fx.Node] = []
        within: list[fx.Node] = []
        for operand in self._read(node):
            if operand in self.found and self.flow.out_degree(operand) == 1:
                more, inside = self._terms(operand)
                terms += more
                within += [operand, *inside]
            else:
                terms.append(operand)
        return terms, within

    def _identity(self, terms: Sequence[fx.Node]) -> fx.Node | None:
        """The term that all others depend on."""
        for term in terms:
            if terms.count(term) == 1 and all(self._depends(other, term) for other in terms):
                return term
        return None

    def _root(self, operand: fx.Node, terms: Sequence[fx.Node]) -> fx.Node:
        """The nearest point that every way to `operand` passes and that the other operand depends on too."""
        (other,) = (term for term in terms if term is not operand)
        node = operand
        while not self._depends(other, node):
            node = self.dominator[node]
        return node

    def _between(self, start: fx.Node, end: fx.Node) -> Iterator[fx.Node]:
        """Nodes after `start` on a way to `end`, and `end`."""
        for node in self.order[self.number[start] + 1 : self.number[end] + 1]:
            if self._depends(node, start) and self._depends(end, node):
                yield node

    def _way(self, start: fx.Node, end: fx.Node) -> tuple[int, int]:
        """Number of learned layers, and of operations, on the longest way."""
        return longest(self._between(start, end), self.flow, start, end)

    def _is_coupled(self, entry: fx.Node, shortcut: fx.Node, branch: fx.Node) -> bool:
        """Whether they come from different parts of one value, as in reversible networks (Gomez et al. 2017)."""
        parts = [n for n in self.flow.successors(entry) if operation_name(n) == "getitem"]
        mine, others = ({p for p in parts if self._depends(end, p)} for end in (shortcut, branch))
        whole = any(self._depends(branch, n) for n in self.flow.successors(entry) if n not in parts)
        passes = not self._way(entry, shortcut)[0]
        return passes and bool(mine and others) and not mine & others and not whole

    def _is_read_by_softmax(self, node: fx.Node) -> bool:
        while len(readers := list(self.flow.successors(node))) == 1:
            (node,) = readers
            name = kind_name(node)
            if name == "softmax":
                return True
            if name not in _RESHAPES and not self.flow.nodes[node]["adds"]:
                return False
        return False

    def _is_product(self, node: fx.Node, of: fx.Node | None = None) -> bool:
        """Whether two values of the data flow are multiplied, and one of them is `of`."""
        factors = list(self.flow.predecessors(node))
        return operation_name(node) == "mul" and len(factors) > 1 and (of is None or of in factors)

    def _is_gated(self, node: fx.Node, entry: fx.Node) -> bool:
        """Whether the node multiplies the entry, as it is or padded or pooled, with another value."""
        if not self._is_product(node) or self._shape(entry) is None:  # parts of a value that was split
            return False
        factors = self.flow.predecessors(node)
        return any(self._depends(factor, entry) and not self._way(entry, factor)[0] for factor in factors)

    def _has_gate(self, node: fx.Node) -> bool:
        """Whether a factor is a sigmoid, or 1 minus one."""
        factors = [
            before
            for factor in self.flow.predecessors(node)
            for before in (factor, *self.flow.predecessors(factor))
            if before is factor or operation_name(factor) in ("sub", "rsub")
        ]
        return any(kind_name(factor) in ("sigmoid", "hardsigmoid") for factor in factors)

    def _unscaled(self, node: fx.Node) -> fx.Node:
        """The value that is scaled, by constants or learned factors, and read by nothing else."""
        while self.flow.out_degree(node) == self.flow.in_degree(node) == 1 and kind_name(node) in _SCALINGS:
            (node,) = self.flow.predecessors(node)
        return node

    def _scaled_parts(self, terms: Sequence[fx.Node], shortcut: fx.Node) -> Iterator[fx.Node]:
        """Sums inside terms that only scale them, as in `x + a (f(x) - x)`, if they begin where the larger one does."""
        for term in terms:
            node = self._unscaled(term)
            block = self.found[node].block if node in self.found and self.flow.out_degree(node) == 1 else None
            if block is not None and block.entry is shortcut:
                yield node

    # -- nesting -----------------------------------------------------------------------------------------------------

    def _nest(self) -> None:
        """Which blocks hold others; a projection around others fuses depths, and is no block."""
        while True:
            blocks = {node: found.block for node, found in self.found.items() if found.block is not None}
            holds = {
                node: tuple(
                    inner
                    for inner, other in blocks.items()
                    if inner is not node
                    and self._depends(other.entry, block.entry)
                    and any(self._depends(term, inner) for term in block.branch)
                    and inner is not block.entry
                )
                for node, block in blocks.items()
            }
            doubtful = [
                node for node, held in holds.items() if held and blocks[node].shortcut is not blocks[node].entry
            ]
            if not doubtful:
                break
            for node in doubtful:
                self.found[node] = Sum(node, reason="values of two depths")
        for node, held in holds.items():
            self.found[node] = replace(self.found[node], holds=held)


_BROADCAST = "an operand is broadcast"
_COUPLED = "parts of one value are coupled"
_GATHERED = "one of several sums that a concatenation gathers"


def _halves(node: fx.Node) -> bool:
    """Whether the node makes a sum of two a mean."""
    factors = [each for each in node.args if isinstance(each, (int, float))]
    name = operation_name(node)
    return (name in ("div", "truediv") and factors == [2]) or (name == "mul" and factors == [0.5])


def _weights(nodes: Sequence[fx.Node]) -> set[int]:
    """The matrices and kernels that these nodes apply."""
    return {id(parameter) for parameter in parameters_in(nodes) if parameter.dim() > 1}
