"""How many images fit the memory that may be used: a recorded forward pass, and the vectors that go back through it."""

from __future__ import annotations

import math
import os
from dataclasses import dataclass

from torch import Tensor

from resnet_probe.unraveled import UnraveledNetwork

_GIB = 2**30


class MemoryBudgetError(ValueError):
    """What is asked for does not fit the memory budget, or the budget does not fit the machine."""


@dataclass(frozen=True)
class Budget:
    """Memory that a run may use, in bytes.

    Raises:
        MemoryBudgetError: it is not positive, or more than the machine has (where that can be found out).
    """

    bytes: int = 2 * _GIB

    def __post_init__(self) -> None:
        have = _physical()
        if self.bytes <= 0:
            raise MemoryBudgetError(f"a memory budget of {self.bytes / _GIB:g} GiB; it must be above 0")
        if have is not None and self.bytes > have:
            raise MemoryBudgetError(
                f"a memory budget of {self.bytes / _GIB:.4g} GiB, but the machine has {have / _GIB:.3g} GiB; give less"
            )

    def images(self, each: int, *, wanted: int, whole_batch: bool = False) -> int:
        """Number of images to work on at a time.

        Args:
            each: bytes that one image needs, see `image_bytes`.
            wanted: images to work on if there is room.
            whole_batch: whether the batch cannot be divided, as its statistics are part of the result.

        Raises:
            MemoryBudgetError: not even one image fits, or not the batch that cannot be divided.
        """
        fit = self.bytes // each
        least = wanted if whole_batch else 1
        if fit < least:
            what = f"a batch of {wanted} images" if whole_batch else "one image"
            smaller = " or a smaller batch" if whole_batch and fit else ""
            raise MemoryBudgetError(
                f"{what} needs about {least * each / _GIB:.3g} GiB, and the memory budget is "
                f"{self.bytes / _GIB:.3g} GiB; give a larger budget{smaller}"
            )
        return min(wanted, fit)


def image_bytes(network: UnraveledNetwork, *, vectors: int) -> int:
    """Memory that one image needs: every value of the forward pass, and a stack of vectors at the widest trunk point.

    An estimate from above: values that autograd does not keep are counted too.

    Args:
        network: the chain.
        vectors: how many vectors go back at a time, such as the number of path classes.
    """
    values = widest = 0
    traced = network.anatomy.traced
    size = 4
    for step in network.steps:
        plan = network.units[step.unit].plan
        for node in plan.nodes:
            value = traced.values[node][0]
            if isinstance(value, Tensor):
                size = value.element_size()
                values += value.numel() // max(value.shape[0] if value.dim() else 1, 1)
        widest = max(widest, math.prod(plan.in_shape), math.prod(plan.out_shape))
    return size * (values + 3 * vectors * widest)  # before a unit, after it, and on its way


def _physical() -> int | None:
    """Memory of the machine in bytes, where the system tells."""
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, OSError, ValueError):
        return None
