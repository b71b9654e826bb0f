"""Which images a limit keeps."""

from __future__ import annotations

import torch
from torch import Tensor


def spread(labels: Tensor, limit: int) -> Tensor:
    """Return the indices, ascending, of `limit` images that are spread evenly over the classes.

    Turns are taken: the first image of each class in stored order, then the second of each, until there are enough; a
    class that has run out is passed over. Nothing is random, and a smaller limit keeps a part of what a larger keeps.

    Examples:
        >>> spread(torch.tensor([0, 0, 0, 0, 1, 1]), 3).tolist()
        [0, 1, 4]
    """
    order = torch.argsort(labels, stable=True)
    counts = torch.bincount(labels)
    starts = torch.cumsum(counts, 0) - counts
    turn = torch.empty_like(labels)  # an image's number inside its class
    turn[order] = torch.arange(len(labels)) - starts[labels[order]]
    by_turn = torch.argsort(turn * (len(counts) + 1) + labels, stable=True)
    return by_turn[:limit].sort().values
