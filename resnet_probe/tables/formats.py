"""Tables for a paper or another program: LaTeX with booktabs and siunitx, Markdown, Parquet.

LaTeX and Markdown have headings with units, and one column for the two ends of an interval. What is the same in every
row stands beside the table, for its caption, and empty columns are left out. Parquet has all that the CSV file has.
"""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from resnet_probe.files import whole, write_text
from resnet_probe.tables.cells import written
from resnet_probe.tables.results import Result

KINDS = ("tex", "md", "parquet")  # endings of the files


@dataclass(frozen=True)
class Layout:
    """How a table looks in LaTeX and Markdown.

    Attributes:
        titles: heading of a column by its key; by default the key.
        keys: the columns, and their intervals; by default all.
        intervals: lower ends of 95 % intervals; the upper end of `x_low` is `x_high`.
    """

    titles: Mapping[str, str] = field(default_factory=dict)
    keys: Sequence[str] = ()
    intervals: Collection[str] = ()


def write(result: Result, folder: Path, kinds: Sequence[str], layout: Layout = Layout()) -> list[Path]:
    """Write a table once more, as `<name>.tex`, `<name>.md` or `<name>.parquet`.

    Args:
        result: the table.
        folder: where to.
        kinds: of KINDS.
        layout: of LaTeX and Markdown; Parquet has all columns.

    Raises:
        LookupError: an unknown kind.
        ValueError: Parquet without pyarrow.
        OSError: the folder cannot be written to.
    """
    paths = []
    for kind in kinds:
        if kind not in KINDS:
            raise LookupError(f"no tables of kind {kind!r}; choose from {', '.join(KINDS)}")
        path = folder / f"{result.name}.{kind}"
        if kind == "parquet":
            _parquet(result, path)
        else:
            write_text(path, (latex if kind == "tex" else markdown)(result, layout))
        paths.append(path)
    return paths


def latex(result: Result, layout: Layout = Layout()) -> str:
    """The table as a `tabular` for the packages booktabs and siunitx, numbers in `S` columns; the rest is a comment."""
    import pandas  # noqa: PLC0415 - most callers do without

    columns, same = _columns(result, layout)
    plain = [all(value is None or _is_number(value) for value in values) for _, values in columns]
    cells = [
        [None if value is None else _digits(value) if number else written(value) for value in values]
        for (_, values), number in zip(columns, plain, strict=True)
    ]
    frame = pandas.DataFrame(dict(enumerate(cells)), dtype=object)
    frame.columns = pandas.Index([title for title, _ in columns])
    style = frame.style.hide(axis="index").format(na_rep="{--}", escape="latex").format_index(escape="latex", axis=1)
    kinds = [_column(texts) if number else "l" for texts, number in zip(cells, plain, strict=True)]
    note = f"% {same}\n" if same else ""
    return note + str(style.to_latex(hrules=True, siunitx=True, column_format="".join(kinds)))


def markdown(result: Result, layout: Layout = Layout()) -> str:
    """The table in Markdown, numbers to the right; a line beneath it says the rest."""
    columns, same = _columns(result, layout)
    right = [all(value is None or _is_number(value) for value in values) for _, values in columns]
    lines = [[title for title, _ in columns], ["---:" if each else "---" for each in right]]
    lines += [[written(value) for value in row] for row in zip(*(values for _, values in columns), strict=True)]
    text = "".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |\n" for line in lines)
    return f"{text}\n{same}\n" if same else text


def _columns(result: Result, layout: Layout) -> tuple[list[tuple[str, list[Any]]], str]:
    """Headings and values, of the ends of an interval one column in place of the two; and what all rows share."""
    values = {key: [row[key] for row in result.rows] for key in result.columns}
    wanted = [key for key in layout.keys or result.columns if key in values]
    found: list[tuple[str, list[Any]]] = []
    for key in wanted:
        stem, _, end = key.rpartition("_")
        if end not in ("low", "high") or f"{key[: -len(end)]}low" not in layout.intervals:
            found.append((layout.titles.get(key, key.replace("_", " ")), values[key]))
            stem, begins = key, f"{key}_low" in values and f"{key}_low" in layout.intervals
        else:  # an interval of a column that is there stands right after it
            begins = end == "low" and stem not in wanted
        if begins:
            start = f"{stem}_" if stem else ""
            ends = zip(values[f"{start}low"], values[f"{start}high"], strict=True)
            what = f"{stem.replace('_', ' ')}, " if stem else ""
            found.append((f"{what}95 % interval", [_interval(*each) for each in ends]))
    found = [(title, column) for title, column in found if any(value is not None for value in column)]
    shared = [len(values) > 1 and len(set(values)) == 1 for _, values in found]
    same = [f"{title}: {written(values[0])}" for (title, values), each in zip(found, shared, strict=True) if each]
    return [column for column, each in zip(found, shared, strict=True) if not each], "; ".join(same)


def _interval(low: float | None, high: float | None) -> str | None:
    return None if low is None or high is None else f"{_digits(low)} to {_digits(high)}"


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _digits(value: float) -> str:
    """Four digits, whole numbers in full, nothing between thousands."""
    if isinstance(value, int) or not math.isfinite(value):
        return str(value)
    return f"{value:.0f}" if 10_000 <= abs(value) < 10**12 else f"{value:.4g}"


def _column(texts: Sequence[str | None]) -> str:
    """An `S` column with room for these numbers."""
    parts = [re.fullmatch(r"(-?)(\d+)(?:\.(\d+))?(?:e([+-])0*(\d+))?", text) for text in texts if text is not None]
    known = [part.groups(default="") for part in parts if part]
    sign, digits, fraction, _, exponent = (max((part[i] for part in known), key=len, default="") for i in range(5))
    room = f"{sign}{len(digits)}.{len(fraction)}"
    minus = "-" if any(part[3] == "-" for part in known) else ""
    return f"S[table-format={room}{f'e{minus}{len(exponent)}' if exponent else ''}]"


def _parquet(result: Result, path: Path) -> None:
    """With counts that are too large for 64 bits as text."""
    try:
        import pyarrow  # noqa: F401, PLC0415 - an extra
    except ImportError as error:
        raise ValueError("parquet needs pyarrow; pip install 'resnet-probe[parquet]'") from error
    frame = result.frame()
    for key in frame.columns:
        if any(isinstance(value, int) and abs(value) >= 2**63 for value in frame[key]):
            frame[key] = frame[key].map(lambda value: None if value is None else str(value))
    with whole(path) as file:
        frame.to_parquet(file, index=False)
