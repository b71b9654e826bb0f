"""Searches for the sets of blocks that are best kept, by the mean loss on the images that choose.

Each returns, for every number of removed blocks from 0 on, the set that is kept.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from resnet_probe.analyses.prune.sets import Sets


def beam(sets: Sets, width: int, parts: Sequence[np.ndarray], name: str) -> list[list[int]]:
    """Remove one block after another; of each size the `width` best sets go on, with 1 the greedy search.

    Args:
        sets: what is known, and can be measured.
        width: sets that are kept of each size.
        parts: indices of the images that choose, of one search or of several, which share their sweeps.
        name: of the sweeps.

    Returns:
        For each part the best set of every size.
    """
    blocks = range(len(sets.names))
    sets.measure([sets.all], "intact")
    beams = [[sets.all] for _ in parts]
    found = [[sets.all] for _ in parts]
    for step in blocks:
        wanted = [dict.fromkeys(kept ^ 1 << i for kept in each for i in blocks if kept >> i & 1) for each in beams]
        sets.measure(dict.fromkeys(kept for each in wanted for kept in each), name, f"-{step + 1}")
        for number, (part, each) in enumerate(zip(parts, wanted, strict=True)):
            losses = {kept: _loss(sets, kept, part) for kept in each}
            beams[number] = sorted(each, key=losses.__getitem__)[:width]
            found[number].append(beams[number][0])
    return found


def exhaustive(sets: Sets) -> list[int]:
    """The best of all sets of each size."""
    everything = range(sets.all, -1, -1)
    sets.measure(everything, "exhaustive")
    blocks = len(sets.names)
    sizes: list[list[int]] = [
        [kept for kept in everything if kept.bit_count() == blocks - k] for k in range(blocks + 1)
    ]
    return [min(size, key=lambda kept: _loss(sets, kept)) for size in sizes]


def best_runs(sets: Sets) -> list[int]:
    """The best run of consecutive blocks of each length; blocks that may not be removed do not part a run."""
    blocks = len(sets.names)
    sets.measure([sets.all], "intact")
    runs = [[sets.without(*range(start, start + k)) for start in range(blocks - k + 1)] for k in range(1, blocks + 1)]
    sets.measure((kept for each in runs for kept in each), "runs")
    return [sets.all, *(min(each, key=lambda kept: _loss(sets, kept)) for each in runs)]


def _loss(sets: Sets, kept: int, part: np.ndarray | None = None) -> float:
    losses = sets.losses[kept]
    return float((losses if part is None else losses[part]).mean())
