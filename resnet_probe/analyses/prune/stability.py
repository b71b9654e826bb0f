"""How much an order depends on the images that choose: disjoint halves of them, and bootstrap samples.

Source: that calibration images move a ranking more than the search does: arXiv 2604.24938.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

REPEATS = 200
Order = Sequence[int]


def random_halves(images: int, seed: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Random disjoint halves of the images; of an odd number one is left out."""
    generator = np.random.default_rng(seed)
    while True:
        mixed = generator.permutation(images)
        yield mixed[: images // 2], mixed[images // 2 : images // 2 * 2]


def halves(images: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """The first of them."""
    return next(random_halves(images, seed))


def of_score(order_of: Callable[[np.ndarray], Order], images: int, seed: int) -> list[dict[str, Any]]:
    """Rows for an order that can be found anew from any part of the images.

    Args:
        order_of: from indices of images to the order that they choose.
        images: how many there are.
        seed: of the halves and samples.
    """
    splits = random_halves(images, seed)
    by_halves = [tuple(order_of(half) for half in next(splits)) for _ in range(REPEATS)]
    generator = np.random.default_rng(seed)
    whole = order_of(np.arange(images))
    by_samples = [(order_of(generator.integers(images, size=images)), whole) for _ in range(REPEATS)]
    return [{"compared": "halves", **compared(by_halves)}, {"compared": "resamples", **compared(by_samples)}]


def compared(pairs: Sequence[tuple[Order, ...]]) -> dict[str, Any]:
    """Kendall's tau and overlap of the first third of each pair of orders: mean, and quantiles over the pairs."""
    blocks = len(pairs[0][0])
    first = max(1, blocks // 3)
    places = np.argsort(np.array(pairs), axis=-1)  # (pairs, 2, blocks)
    before = np.sign(places[..., :, None] - places[..., None, :])  # whether one block goes before another
    taus = before.prod(axis=1).sum(axis=(1, 2)) / (blocks * (blocks - 1))  # no ties
    overlaps = [len(set(a[:first]) & set(b[:first])) / first for a, b in pairs]
    found: dict[str, Any] = {"repeats": len(pairs), "first": first}
    for name, short, values in (("kendall_tau", "tau", taus), ("overlap", "overlap", overlaps)):
        low, high = np.quantile(values, [0.025, 0.975]) if len(pairs) > 1 else (None, None)
        found |= {name: float(np.mean(values)), f"{short}_low": low, f"{short}_high": high}
    return found
