"""Random numbers of one's own for a block of code."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def seeded(seed: int, device: torch.device | str = "cpu") -> Iterator[None]:
    """Seed torch's random numbers, of the CPU and a CUDA `device`, for the block; afterwards they go on as before.

    Examples:
        >>> with seeded(0):
        ...     network = torch.nn.Linear(2, 2)  # the same weights each time
    """
    device = torch.device(device)
    cuda = [] if device.type != "cuda" else [torch.cuda.current_device() if device.index is None else device.index]
    with torch.random.fork_rng(cuda):
        torch.default_generator.manual_seed(seed)  # torch.manual_seed would seed the other devices too
        for index in cuda:
            torch.cuda.default_generators[index].manual_seed(seed)
        yield
