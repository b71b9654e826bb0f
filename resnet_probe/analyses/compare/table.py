"""The table that compares networks, from what was measured of each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from fractions import Fraction
from statistics import median
from typing import TYPE_CHECKING, Any

from resnet_probe.analyses.columns import INTACT_ITSELF
from resnet_probe.analyses.compare import COMPARE
from resnet_probe.analyses.compare.counts import Costs
from resnet_probe.statistics import paired
from resnet_probe.tables import Result

if TYPE_CHECKING:
    from resnet_probe.evaluate.timing import Timing

INTACT = "(intact)"  # the first row of a lesion study
SMALL_BATCH = 16


@dataclass(frozen=True)
class Measured:
    """What is known of one network.

    Attributes:
        name: of the network, in all tables.
        costs: parameters, multiply-adds, depth.
        classes: of the data.
        trained: whether its weights come from a checkpoint.
        wrong: (images,) flags of the images that it gets wrong; the same images for all networks.
        timings: for batches of the size asked for, and of `SMALL_BATCH`; none without times.
        batches: that were timed, for each.
        peak_memory: bytes at the peak of a training step on a batch of `batch_size`.
        batch_size: images in that batch.
    """

    name: str
    costs: Costs
    classes: int
    trained: bool
    wrong: Any = None
    timings: tuple[Timing, Timing] | None = None
    batches: int | None = None
    peak_memory: int | None = None
    batch_size: int | None = None


def compared(networks: Sequence[Measured], lesions: Result, paths: Result) -> Result:
    """One row per network, in their order.

    Args:
        networks: what was measured of each.
        lesions: the table `lesion` with all of them.
        paths: the table `paths` with all of them, in modules and layers.

    Raises:
        ValueError: a network is missing from a table.
    """
    first = networks[0]
    rows = [
        _row(one, _of(one.name, lesions), _of(one.name, paths)) | _against(first, None if one is first else one)
        for one in networks
    ]
    settings = {
        "unit_of_flops": "multiply-adds (one multiplication and its addition) for one input",
        "unit_of_times": "milliseconds per batch; backward_ms is forward plus backward; std over batches",
        "unit_of_memory": "1e6 bytes, peak of one training step",
    }
    return COMPARE.result(rows, **settings)


def _against(first: Measured, other: Measured | None) -> dict[str, Any]:
    """Errors paired with the first network's; None of everything for that one itself."""
    if other is None or other.wrong is None:
        return {"against": None, **INTACT_ITSELF}
    return {"against": first.name, **asdict(paired(first.wrong, other.wrong))}


def _of(name: str, table: Result) -> list[dict[str, Any]]:
    rows = [row for row in table.rows if row["network"] == name]
    if not rows:
        raise ValueError(f"table {table.name} has no rows of {name}; give one table with all networks")
    return rows


def _row(one: Measured, lesions: list[dict[str, Any]], paths: list[dict[str, Any]]) -> dict[str, Any]:
    intact = next(row for row in lesions if row["block"] == INTACT)
    deleted = [row for row in lesions if row["block"] != INTACT]
    worst = max(deleted, key=lambda row: row["error"])
    total, layers = _paths(paths, "layer")
    given, small = one.timings or (None, None)
    return {
        "network": one.name,
        "parameters": one.costs.parameters,
        "flops": one.costs.multiply_adds,
        "depth": one.costs.depth,
        "error": intact["error"],
        "worst_lesion": worst["error"],
        "median_lesion": median(row["error"] for row in deleted),
        **_times(given, ""),
        "paths": total,
        "mean_path_length": layers,
        "mean_path_modules": _paths(paths, "module")[1],
        "units": len(deleted),
        "worst_unit": worst["block"],
        "error_low": intact["error_low"],
        "error_high": intact["error_high"],
        "chance": 100 * (1 - 1 / one.classes),
        "images": intact["images"],
        "trained": one.trained,
        "batch_size": one.batch_size,
        "timed_batches": one.batches,
        "peak_memory_mb": None if one.peak_memory is None else one.peak_memory / 1e6,
        **_times(small, "_16"),
    }


def _times(timing: Timing | None, ending: str) -> dict[str, float | None]:
    return {
        f"forward_ms{ending}": timing.forward.mean_ms if timing else None,
        f"forward_ms{ending}_std": timing.forward.std_ms if timing else None,
        f"backward_ms{ending}": timing.both.mean_ms if timing else None,
        f"backward_ms{ending}_std": timing.both.std_ms if timing else None,
    }


def _paths(rows: list[dict[str, Any]], unit: str) -> tuple[int, float]:
    """The number of paths, exact, and their mean length, rounded once."""
    counts = {row["length"]: row["count"] for row in rows if row["unit"] == unit}
    total = sum(counts.values())
    return total, float(Fraction(sum(length * count for length, count in counts.items()), total))
