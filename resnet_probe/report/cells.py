"""Tables of a page: which columns are shown, with what headings, and how numbers are written."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from resnet_probe.tables import SavedTable
from resnet_probe.tables.cells import written

__all__ = ["Cell", "Sheet", "sheet"]

MOST_ROWS = 300
SHORT = 12  # rows up to which a table is shown at once
FEW, MANY = 4, 9  # a table of at most so many rows and more columns is turned: one line for each column
# Column -> heading, where the name of the column does not say it.
HEADINGS = {
    "error": "error, %", "error_low": "low, %", "error_high": "high, %", "loss": "loss, nats", "std": "std",
    "error_recalibrated": "error, BN re-estimated, %", "test_error": "test error, %", "train_error": "train error, %",
    "kendall_tau": "Kendall's tau", "flops": "multiply-adds", "cos_gradient": "cos(F, dL/dh)",
    "cos_gradient_out": "cos(F, dL/dh) at output", "cos_input": "cos(F, h)", "ratio": "|F| / |h|",
    "interaction": "interaction, points", "worst_lesion": "worst lesion, %", "median_lesion": "median lesion, %",
    "backward_ms": "forward and backward, ms", "forward_ms": "forward, ms", "rho": "rank correlation",
    "peak_memory_mb": "peak memory, MB",
    "backward_ms_std": "forward and backward, ms, std",
    "forward_ms_std": "forward, ms, std",
    "forward_ms_16": "batches of 16: forward, ms", "forward_ms_16_std": "batches of 16: forward, ms, std",
    "backward_ms_16": "batches of 16: forward and backward, ms",
    "backward_ms_16_std": "batches of 16: forward and backward, ms, std",
    "units": "units that can be deleted", "mean_path_length": "mean path length, layers",
    "mean_path_modules": "mean path length, residual branches",
}  # fmt: skip


@dataclass(frozen=True)
class Cell:
    """A cell: its text, and the raw value to sort by."""

    text: str
    sort: str
    number: bool


@dataclass(frozen=True)
class Sheet:
    """A table ready for the page.

    Attributes:
        headings: of the columns that are shown.
        rows: of cells.
        same: what all rows have in common, in words.
        left_out: rows that the page does not show.
        short: whether it is shown at once, not folded.
        turned: whether rows and columns have changed places; the first cell of a row is its heading then.
    """

    headings: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    same: str
    left_out: int
    short: bool
    turned: bool = False


def sheet(table: SavedTable) -> Sheet:
    """The columns that differ between rows; what is the same in all of them goes into a sentence, empty ones go."""
    rows = table.result.rows
    shown: list[str] = []
    same: list[str] = []
    for column in table.result.columns:
        values = {row[column] for row in rows}
        if values == {None}:
            continue
        if len(values) == 1 and len(rows) > 1:
            same.append(f"{_heading(column)} {written(values.pop())}")
        else:
            shown.append(column)
    numeric = {column: all(_is_number(row[column]) for row in rows) for column in shown}
    cells = tuple(
        tuple(Cell(written(row[column]), _sortable(row[column]), numeric[column]) for column in shown)
        for row in rows[:MOST_ROWS]
    )
    if len(rows) <= FEW and len(shown) > MANY:
        first, *others = range(len(shown))
        headings = (_heading(shown[first]), *(row[first].text for row in cells))
        turned = tuple((Cell(_heading(shown[i]), "", number=False), *(row[i] for row in cells)) for i in others)
        return Sheet(headings, turned, "; ".join(same), 0, short=True, turned=True)
    left_out = max(0, len(rows) - MOST_ROWS)
    return Sheet(tuple(map(_heading, shown)), cells, "; ".join(same), left_out, len(rows) <= SHORT)


def _heading(column: str) -> str:
    return HEADINGS.get(column, column.replace("_", " "))


def _is_number(value: Any) -> bool:
    return value is None or (isinstance(value, int | float) and not isinstance(value, bool))


def _sortable(value: Any) -> str:
    return "" if value is None else repr(value) if isinstance(value, float) else str(value)
