"""Tables of a page: which columns are shown, with what headings, and how numbers are written."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from resnet_probe.analyses.registry import declared
from resnet_probe.tables import SavedTable
from resnet_probe.tables.cells import written

MOST_ROWS = 300
SHORT = 12  # rows up to which a table is shown at once
FEW, MANY = 4, 9  # a table of at most so many rows and more columns is turned: one line for each column


@dataclass(frozen=True)
class TableCell:
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
    rows: tuple[tuple[TableCell, ...], ...]
    same: str
    left_out: int
    short: bool
    turned: bool = False


def sheet(table: SavedTable) -> Sheet:
    """The columns that differ between rows; what is the same in all of them goes into a sentence, empty ones go."""
    rows = table.result.rows
    titles = {column.key: column.title for column in declared(table.name).columns}
    headings = {key: titles.get(key, key.replace("_", " ")) for key in table.result.columns}
    shown: list[str] = []
    same: list[str] = []
    for column in table.result.columns:
        values = {row[column] for row in rows}
        if values == {None}:
            continue
        if len(values) == 1 and len(rows) > 1:
            same.append(f"{headings[column]} {written(values.pop())}")
        else:
            shown.append(column)
    numeric = {column: all(_is_number(row[column]) for row in rows) for column in shown}
    cells = tuple(
        tuple(TableCell(written(row[column]), _sortable(row[column]), numeric[column]) for column in shown)
        for row in rows[:MOST_ROWS]
    )
    if len(rows) <= FEW and len(shown) > MANY:
        first, *others = range(len(shown))
        across = (headings[shown[first]], *(row[first].text for row in cells))
        turned = tuple((TableCell(headings[shown[i]], "", number=False), *(row[i] for row in cells)) for i in others)
        return Sheet(across, turned, "; ".join(same), 0, short=True, turned=True)
    left_out = max(0, len(rows) - MOST_ROWS)
    return Sheet(tuple(headings[key] for key in shown), cells, "; ".join(same), left_out, len(rows) <= SHORT)


def _is_number(value: Any) -> bool:
    return value is None or (isinstance(value, int | float) and not isinstance(value, bool))


def _sortable(value: Any) -> str:
    return "" if value is None else repr(value) if isinstance(value, float) else str(value)
