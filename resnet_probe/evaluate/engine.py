"""Run a tree of variants over a batch of images.

States that stand at the same position are run together: those that need the same step are stacked into one batch. As
soon as they would be more than `stack` images' worth, they are parted and one part is run to its end first, the
smaller one, so that at most about log2(variants) parts wait. Small batches of images are thus filled up by stacking,
and large ones run depth first, in the cache.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from resnet_probe.evaluate.fast import FastUnits
from resnet_probe.evaluate.tree import Edge, Tree
from resnet_probe.unraveled import Step

__all__ = ["run_tree"]

States = dict[int, Tensor]


@dataclass(frozen=True)
class _Run:
    """Steps to be run without a stop, from the value of one state to the value of another."""

    source: int
    steps: tuple[Step, ...]
    target: int


def run_tree(tree: Tree, units: FastUnits, images: Tensor, *, stack: int) -> list[Tensor]:
    """Outputs of all variants for one batch of images.

    Args:
        tree: what to run.
        units: the steps as modules.
        images: `(N, C, H, W)`.
        stack: part the states when together they are more than this many images.

    Returns:
        Per variant the output, `(N, classes)`.
    """
    at_most = max(1, stack // len(images))
    waiting: list[tuple[int, States]] = [(0, {0: units.arrange(images)})]
    outputs: States = {state: value for state, value in waiting[0][1].items() if state in tree.wanted}
    while waiting:
        position, states = waiting.pop()
        while position < tree.length and states:
            if len(states) > at_most:
                states, later = _part(tree, position, states, at_most)
                waiting.append((position, later))
            states = _advance(tree, units, position, states, outputs)
            position += 1
    return [outputs[state] for state in tree.finals]


def _advance(tree: Tree, units: FastUnits, position: int, states: States, outputs: States) -> States:
    """Run the edges at `position` that leave `states`; return the states that are needed after it."""
    due = [
        _extended(tree, units, edge) for s in states for edge in tree.leaving.get(s, ()) if edge.position == position
    ]
    for steps, runs in _by_steps(due):
        together = [runs] if units.is_batch_first(steps) else [[run] for run in runs]
        for part in together:
            _run_stacked(units(*steps), part, states)
    for run in due:
        if run.target in tree.wanted:
            outputs[run.target] = states[run.target]
    return {state: value for state, value in states.items() if _remaining(tree, position + 1, state)}


def _extended(tree: Tree, units: FastUnits, edge: Edge) -> _Run:
    """The edge, with the one after it if that is an activation whose input nothing else needs."""
    after = tree.leaving.get(edge.target, ())
    if len(after) == 1 and edge.target not in tree.wanted and units.is_plain(after[0].step):
        return _Run(edge.source, (edge.step, after[0].step), after[0].target)
    return _Run(edge.source, (edge.step,), edge.target)


def _remaining(tree: Tree, position: int, state: int) -> list[Edge]:
    return [edge for edge in tree.leaving.get(state, ()) if edge.position >= position]


def _part(tree: Tree, position: int, states: States, at_most: int) -> tuple[States, States]:
    """The `at_most` states with least to follow, and the others."""
    sizes = {state: sum(1 + tree.sizes[edge.target] for edge in _remaining(tree, position, state)) for state in states}
    order = sorted(states, key=lambda state: sizes[state])
    return {s: states[s] for s in order[:at_most]}, {s: states[s] for s in order[at_most:]}


def _by_steps(runs: Sequence[_Run]) -> Iterator[tuple[tuple[Step, ...], list[_Run]]]:
    groups: dict[tuple[Step, ...], list[_Run]] = {}
    for run in runs:
        groups.setdefault(run.steps, []).append(run)
    yield from groups.items()


def _run_stacked(module: nn.Module, runs: Sequence[_Run], states: States) -> None:
    if len(runs) == 1:
        states[runs[0].target] = module(states[runs[0].source])
        return
    result = module(torch.cat([states[run.source] for run in runs]))
    # a unit may change the leading dimension (windows of a transformer), but by the same factor for every image
    for run, part in zip(runs, result.split(len(result) // len(runs)), strict=True):
        states[run.target] = part
