"""The processes that share a sweep: one by default, or those that Lightning Fabric has started."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from resnet_probe.evaluate.journal import Journal, Row

if TYPE_CHECKING:
    from lightning_fabric import Fabric

__all__ = ["SOLO", "Workers"]


@dataclass(frozen=True)
class Workers:
    """Rank of this process, and what it takes to agree with the others.

    Attributes:
        rank: number of this process, from 0.
        count: number of processes.
        fabric: connects them; None for a single process.
    """

    rank: int = 0
    count: int = 1
    fabric: Fabric | None = None

    @classmethod
    def of(cls, fabric: Fabric) -> Workers:
        """The processes that `fabric` has launched."""
        return cls(fabric.global_rank, fabric.world_size, fabric)

    def agree(self, value: Any) -> Any:
        """The value that the first process has."""
        return value if self.fabric is None or self.count == 1 else self.fabric.broadcast(value, src=0)

    def known(self, journal: Journal | None) -> set[int]:
        """Shards that any process has finished before."""
        mine = sorted(journal.done()) if journal else []
        return {number for numbers in self._everyones(mine) for number in numbers}

    def gather(self, rows: Sequence[Row], journal: Journal | None) -> list[Row]:
        """The rows of all processes; each shard once, even if two of them have it."""
        mine = list(journal.rows()) if journal else list(rows)
        unique = {(row.shard, row.variant): row for rows in self._everyones(mine) for row in rows}
        return list(unique.values())

    def _everyones(self, mine: list[Any]) -> list[list[Any]]:
        if self.count == 1:
            return [mine]
        import torch.distributed  # noqa: PLC0415 - only where there are several processes

        gathered: list[Any] = [None] * self.count
        torch.distributed.all_gather_object(gathered, mine)
        return gathered


SOLO = Workers()
