"""Many edited chains as one tree: what they share is computed once.

Variants are chains over the same units. Each is a sequence of steps, and two variants have the same value up to their
first difference. Every distinct value is a state with a number; an edge says which step leads from one state to the
next. Steps that change nothing (a deleted block with an identity shortcut) are no edges, so deleted blocks cost
nothing, and variants that turn out to be the same chain share one state.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

from resnet_probe.unraveled import Step, UnraveledNetwork


@dataclass(frozen=True)
class Edge:
    """One step from the value of one state to the value of another; `position` is when to run it, parents first."""

    position: int
    source: int
    step: Step
    target: int


@dataclass(frozen=True)
class Tree:
    """The prefix tree of a list of variants; state 0 is the input.

    Attributes:
        edges: all steps to be run, parents before children.
        finals: per variant, the state that is its output.
        length: number of positions.
    """

    edges: tuple[Edge, ...]
    finals: tuple[int, ...]
    length: int

    @cached_property
    def leaving(self) -> dict[int, tuple[Edge, ...]]:
        """Per state the edges that leave it, by position."""
        found: dict[int, list[Edge]] = {}
        for edge in self.edges:
            found.setdefault(edge.source, []).append(edge)
        return {state: tuple(sorted(edges, key=lambda e: e.position)) for state, edges in found.items()}

    @cached_property
    def wanted(self) -> frozenset[int]:
        """States that are the output of a variant."""
        return frozenset(self.finals)

    @cached_property
    def ways(self) -> int:
        """The most states that can follow from one state at one position, at least 2."""
        most = 2
        for edges in self.leaving.values():
            positions = [edge.position for edge in edges]
            most = max(most, *(positions.count(p) + (p < positions[-1]) for p in positions))
        return most

    @cached_property
    def sizes(self) -> dict[int, int]:
        """Per state the number of steps that follow from it, all variants together."""
        sizes = dict.fromkeys(range(len(self.edges) + 1), 0)
        for edge in reversed(self.edges):
            sizes[edge.source] += 1 + sizes[edge.target]
        return sizes


def grow(variants: Sequence[Sequence[Step]], is_identity: Callable[[Step], bool]) -> Tree:
    """Merge the variants' common beginnings.

    Args:
        variants: the steps of each variant.
        is_identity: whether a step passes its input on unchanged.
    """
    known: dict[tuple[int, Step], Edge] = {}
    free = {0: 0}  # per state the first position at which it can be used
    finals = []
    for steps in variants:
        state = 0
        for position, step in enumerate(steps):
            if is_identity(step):
                continue
            if (state, step) not in known:
                # not before its source, which another variant may reach later in its chain
                free[len(known) + 1] = max(position, free[state]) + 1
                known[state, step] = Edge(free[len(known) + 1] - 1, state, step, len(known) + 1)
            state = known[state, step].target
        finals.append(state)
    return Tree(tuple(known.values()), tuple(finals), max(free.values()))


def saving(
    variants: Sequence[Sequence[Step]],
    is_identity: Callable[[Step], bool],
    counts: Callable[[Step], int] = lambda step: 1,
) -> tuple[int, int]:
    """What the tree of the variants runs, and what a loop over them would: steps, or what `counts` says of each."""
    run = sum(counts(edge.step) for edge in grow(variants, is_identity).edges)
    looped = sum(counts(step) for steps in variants for step in steps if not is_identity(step))
    return run, looped


def branches_in(network: UnraveledNetwork) -> Callable[[Step], int]:
    """How many residual branches a step of the network's chains computes."""

    def count(step: Step) -> int:
        unit = network.units[step.unit]
        if unit.kind == "block":
            return int(step.mode != "shortcut")
        deleted = {name for name, factor in step.factors if factor == 0}
        return sum(block.name not in deleted for block in unit.plan.blocks)

    return count
