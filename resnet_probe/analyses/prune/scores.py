"""Scores of blocks on the images that choose: the block with the lowest goes first.

A score is known of every image, `(images, blocks)`, so that orders of parts of the images cost nothing more.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from resnet_probe.analyses.prune import MOST_EXHAUSTIVE, UPDATES
from resnet_probe.analyses.prune.sets import Sets
from resnet_probe.probes.blocks import Chain, score_batch
from resnet_probe.statistics import games

BATCH = 64


def scores(sets: Sets, wanted: Sequence[str], *, draws: int) -> dict[str, np.ndarray]:
    """The scores that are wanted, each (images, blocks); that of weights has one row.

    Args:
        sets: what is known, and can be measured.
        wanted: names of orders; others than scores are passed over.
        draws: orders, each with its reverse, for Shapley values of many blocks.
    """
    found: dict[str, np.ndarray] = {}
    blocks = range(len(sets.names))
    if {"lesion", "lesion_loss"} & set(wanted):
        sets.measure([sets.all, *(sets.without(i) for i in blocks)], "lesion")
        for name, values in (("lesion", sets.wrong), ("lesion_loss", sets.losses)):
            found[name] = np.stack([values[sets.without(i)] - 1.0 * values[sets.all] for i in blocks], axis=1)
    if {"shapley", "shapley_loss"} & set(wanted):
        found |= _shapley(sets, draws)
    if set(UPDATES) & set(wanted):
        found |= _updates(sets)
    if "weights" in wanted:
        units = [sets.subject.network.unit(name) for name in sets.names]
        norms = [
            torch.cat([p.detach().flatten() for p in u.module("branch").parameters() if p.dim() > 1]) for u in units
        ]
        found["weights"] = np.array([[float(weights.norm()) for weights in norms]])
    if "last" in wanted:
        found["last"] = -np.arange(len(sets.names), dtype=float)[None]
    return {name: found[name] for name in wanted if name in found}


def order_by(score: np.ndarray, part: np.ndarray | None = None) -> tuple[int, ...]:
    """Blocks by their mean score over some images, lowest first; ties from the input on.

    An image that has no such score (a vector of zeros) is left out of the mean, which is 0 where no image has one.
    """
    rows = score if part is None or len(score) == 1 else score[part]
    known = ~np.isnan(rows)
    means = np.where(known, rows, 0).sum(axis=0) / np.maximum(known.sum(axis=0), 1)
    return tuple(np.argsort(means, kind="stable").tolist())


def _shapley(sets: Sets, draws: int) -> dict[str, np.ndarray]:
    """Shapley values by what is right and by minus the loss, exact for few blocks, sampled for many."""
    blocks = len(sets.names)
    exact = blocks <= MOST_EXHAUSTIVE
    orders = [] if exact else games.draw_orders(blocks, draws, sets.runtime.seed)
    wanted = dict.fromkeys(kept for order in orders for kept in games.chain(order))
    sets.measure(range(sets.all, -1, -1) if exact else wanted, "shapley")
    found = {}
    for name, values in (("shapley", sets.wrong), ("shapley_loss", sets.losses)):
        known = {kept: -1.0 * each for kept, each in values.items()}
        if exact:
            found[name] = (games.values(blocks) @ np.stack([known[kept] for kept in range(sets.all + 1)])).T
        else:
            found[name] = games.order_values(known, orders).mean(0).T
    return found


def _updates(sets: Sets) -> dict[str, np.ndarray]:
    """What every block adds to its input, by the measures of `probes.blocks`."""
    chain = Chain(sets.subject.network)
    place = [[block.name for block in chain.blocks].index(name) for name in sets.names]
    data, runtime = sets.subject.data, sets.runtime
    parts = []
    with runtime.progress(f"updates of {sets.subject.name}") as report:
        done = 0
        for images, labels in data.batches(runtime.batch_size or BATCH, device=runtime.device):
            parts.append(
                {name: values[place].T.cpu().numpy() for name, values in score_batch(chain, images, labels).items()}
            )
            done += len(labels)
            report(done, len(data))
    return {name: np.concatenate([part[name] for part in parts]) for name in UPDATES}
