"""Many edited chains as one plan: what they share is computed once.

Variants are chains over the same units. Each is a sequence of steps, and two variants have the same value up to their
first difference. `plan` gives every distinct value (a state) a number and lists, wave by wave, which step leads from
which state to which. Steps that change nothing (a deleted block with an identity shortcut) cost nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from resnet_probe.unraveled import Step

__all__ = ["Edge", "Plan", "plan"]


@dataclass(frozen=True)
class Edge:
    """One step to be run: from the value of state `source` to the value of state `target`."""

    source: int
    step: Step
    target: int


@dataclass(frozen=True)
class Plan:
    """What to run for a list of variants, in waves; state 0 is the input.

    Attributes:
        waves: edges of each position of the chain; all sources of a wave come from earlier waves.
        finals: per variant, the state that is its output.
        frees: per wave, the states that nothing needs afterwards.
    """

    waves: tuple[tuple[Edge, ...], ...]
    finals: tuple[int, ...]
    frees: tuple[tuple[int, ...], ...]

    @property
    def edges(self) -> int:
        """Number of steps that are run, for all variants together."""
        return sum(len(wave) for wave in self.waves)

    def peak(self, size: Callable[[Edge], int], input_size: int) -> int:
        """Largest sum of the sizes of values alive at one time.

        Args:
            size: size of the value an edge yields, in any unit.
            input_size: size of the input, in the same unit.
        """
        sizes = {0: input_size}
        alive = most = input_size
        for wave, free in zip(self.waves, self.frees, strict=True):
            for edge in wave:
                sizes[edge.target] = size(edge)
                alive += sizes[edge.target]
            most = max(most, alive)
            alive -= sum(sizes[state] for state in free)
        return most


def plan(variants: Sequence[Sequence[Step]], is_identity: Callable[[Step], bool]) -> Plan:
    """Merge the variants' common beginnings.

    Args:
        variants: the steps of each variant.
        is_identity: whether a step passes its input on unchanged.
    """
    numbers: dict[tuple[int, Step], int] = {}
    first_wave: dict[tuple[int, Step], int] = {}
    last_need: dict[int, int] = {0: 0}
    finals = []
    length = max(len(steps) for steps in variants)
    for steps in variants:
        state = 0
        for position, step in enumerate(steps):
            if is_identity(step):
                continue
            key = (state, step)
            last_need[state] = max(last_need.get(state, 0), position)
            state = numbers.setdefault(key, len(numbers) + 1)
            first_wave[key] = min(first_wave.get(key, position), position)
        last_need[state] = length  # outputs are kept to the end
        finals.append(state)
    waves: list[list[Edge]] = [[] for _ in range(length)]
    for (source, step), target in numbers.items():
        waves[first_wave[source, step]].append(Edge(source, step, target))
    frees: list[list[int]] = [[] for _ in range(length)]
    for state, position in last_need.items():
        if position < length:
            frees[position].append(state)
    return Plan(tuple(map(tuple, waves)), tuple(finals), tuple(map(tuple, frees)))
