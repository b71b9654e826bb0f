"""The anatomy picture: stages, blocks and shortcuts of a network, drawn from the table of its units.

`collect` gathers what all tables say of a network's units; `picture` lays them out for the template, which draws them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from math import comb, isfinite
from typing import Any

from resnet_probe.limits import DEEPEST
from resnet_probe.tables import Run

INTACT = "(intact)"
PER_ROW = 10
PITCH, LEFT, TOP = 64, 76, 8  # in pixels of the picture
ABOVE, BELOW = {True: 42, False: 16}, 40  # the trunk, in a row with blocks or without
# From mild to severe; text on it is black or white, whichever is easier to read. Colours after ColorBrewer's YlOrRd.
SCALE = ("#ffffcc", "#fed976", "#fd8d3c", "#e31a1c", "#800026")
NEUTRAL = "#e4e7ec"


@dataclass(frozen=True)
class DrawnUnit:
    """One unit and what the tables say of it: label -> text."""

    name: str
    kind: str
    stage: int
    resizes: bool
    shortcut: str
    shape: str
    error: float | None = None
    numbers: dict[str, str] = field(default_factory=dict)

    @property
    def is_block(self) -> bool:
        """Whether it is a residual block."""
        return self.kind == "block"


@dataclass(frozen=True)
class Network:
    """A network's units, its intact error, and the counts of its paths by length if blocks can be switched off."""

    name: str
    arch: str
    units: tuple[DrawnUnit, ...]
    intact: float | None
    worst: float | None
    counts: tuple[int, ...]


@dataclass(frozen=True)
class Placed:
    """A unit with its place in the picture: centre of its box, and the height of the trunk."""

    unit: DrawnUnit
    x: int
    y: int
    fill: str
    ink: str
    label: str
    value: str


@dataclass(frozen=True)
class Line:
    """A row of the picture: the trunk from `left` to `right` at `y`, with a label where a stage begins."""

    y: int
    left: int
    right: int
    label: str
    shape: str


@dataclass(frozen=True)
class Picture:
    """The whole picture, in pixels."""

    width: int
    height: int
    placed: tuple[Placed, ...]
    lines: tuple[Line, ...]
    scale: tuple[str, ...] = SCALE


def collect(run: Run, name: str) -> Network | None:
    """What the tables of a run say of the units of a network; None without a table of units or of deletions."""
    listed = next((table for table in run.named("inspect") if name in table.networks), None)
    lesion = next((table for table in run.named("lesion") if name in table.networks), None)
    if listed is None and lesion is None:
        return None
    rows = listed.rows(name) if listed else []
    errors = {row["block"]: row for row in (lesion.rows(name) if lesion else [])}
    if not rows:
        rows = [{**row, "unit": row["block"]} for block, row in errors.items() if block != INTACT]
    numbers = _numbers(run, name, [str(row["unit"]) for row in rows])
    units = []
    for row in rows:
        if row.get("kind") == "other" and not row.get("parameters"):
            continue  # a ReLU, a pool: nothing to show
        error = _finite(errors.get(row["unit"], {}).get("error"))
        units.append(
            DrawnUnit(
                name=str(row["unit"]), kind=str(row.get("kind") or "block"), stage=int(row.get("stage") or 1),
                resizes=bool(row.get("resizes")), shortcut=str(row.get("shortcut") or ""),
                shape=str(row.get("out_shape") or ""), error=error, numbers=numbers.get(str(row["unit"]), {}),
            )
        )  # fmt: skip
    table = listed or lesion
    assert table is not None
    intact = _finite(errors.get(INTACT, {}).get("error"))
    worst = max((unit.error for unit in units if unit.error is not None), default=None)
    return Network(name, table.arch(name), tuple(units), intact, worst, _counts(run, name, units, rows))


def _finite(value: Any) -> float | None:
    """The number, or None for what a damaged table may hold and no colour stands for."""
    return value if isinstance(value, int | float) and isfinite(value) else None


def _counts(run: Run, name: str, units: Sequence[DrawnUnit], rows: Sequence[Mapping[str, Any]]) -> tuple[int, ...]:
    """Paths by number of residual branches, if a deleted block takes the factor 1 + t from them; else nothing."""
    blocks = sum(unit.is_block for unit in units)
    table = next((table for table in run.named("paths") if name in table.networks), None)
    if table is not None:
        found = {row["length"]: row["count"] for row in table.rows(name) if row["unit"] == "module"}
        if not all(0 <= length <= DEEPEST for length in found):
            raise ValueError(f"{table.path} has a path of an impossible length")
        counts = [found.get(length, 0) for length in range(max(found, default=0) + 1)]
    elif rows and all(row.get("paths") == (2 if row.get("kind") == "block" else 1) for row in rows):
        counts = [comb(blocks, length) for length in range(blocks + 1)]
    else:
        return ()
    return tuple(counts) if blocks and remaining(counts, blocks) else ()


def remaining(counts: Sequence[int], deleted: int) -> tuple[int, ...]:
    """Paths by length after `deleted` blocks, each of which is a factor 1 + t; empty if it is no factor."""
    left = list(counts)
    for _ in range(deleted):
        quotient: list[int] = []
        for count in left[:-1]:
            quotient.append(count - (quotient[-1] if quotient else 0))
        if not quotient or quotient[-1] != left[-1] or min(quotient) < 0:
            return ()
        left = quotient
    return tuple(left)


def _numbers(run: Run, name: str, units: Sequence[str]) -> dict[str, dict[str, str]]:
    """Unit -> label -> number as text, from every table that names units."""
    found: dict[str, dict[str, str]] = {unit: {} for unit in units}

    def note(unit: Any, label: str, text: str) -> None:
        if str(unit) in found:
            found[str(unit)].setdefault(label, text)

    def first(table: str) -> Sequence[dict[str, Any]]:
        return next((each.rows(name) for each in run.named(table) if name in each.networks), [])

    for row in first("inspect"):
        note(row["unit"], "parameters", f"{row['parameters']:,}")
        note(row["unit"], "output", str(row["out_shape"]).replace("x", " × "))
    lesion = first("lesion")
    intact = next((row["error"] for row in lesion if row["block"] == INTACT), None)
    for row in lesion:
        low, high = row.get("error_low"), row.get("error_high")
        interval = f" ({low:.3g} to {high:.3g})" if low is not None and high is not None else ""
        note(row["block"], "error without it", f"{row['error']:.3g} %{interval}")
        if intact is not None:
            note(row["block"], "added error", f"{row['error'] - intact:+.3g} points")
        if row.get("error_recalibrated") is not None:
            note(row["block"], "error, BN re-estimated", f"{row['error_recalibrated']:.3g} %")
    measures = {
        "ratio": "|F(h)| / |h|",
        "cos_gradient": "cos(F(h), dL/dh)",
        "influence": "block influence",
        "first_order": "first-order damage",
        "exit_accuracy": "right when read here, %",
    }
    for row in first("iterative"):
        for column, label in measures.items():
            if row.get(column) is not None:
                note(row["block"], label, f"{row[column]:.3g}")
    for row in first("responses"):
        unit = max(
            (unit for unit in units if f"{row['layer']}.".startswith(f"{unit}.")), key=len, default=None
        )  # the layers of a block carry its name
        if unit is not None and row.get("part") != "shortcut":
            before = found[unit].get("response std")
            text = f"{row['std']:.3g}"
            found[unit]["response std"] = f"{before}, {text}" if before else text
    return found


def colour(share: float) -> tuple[str, str]:
    """Fill at `share` (0 mild, 1 severe) of the scale, and black or white, whichever stands out more on it."""
    place = min(max(share, 0.0), 1.0) * (len(SCALE) - 1)
    low = min(int(place), len(SCALE) - 2)
    ends = [[int(SCALE[low + i][start : start + 2], 16) for start in (1, 3, 5)] for i in (0, 1)]
    mixed = [round(a + (b - a) * (place - low)) for a, b in zip(*ends, strict=True)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in (value / 255 for value in mixed)]
    luminance = 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
    # Source: WCAG 2.2, contrast ratio: (lighter + 0.05) / (darker + 0.05)
    ink = "#000000" if (luminance + 0.05) / 0.05 >= 1.05 / (luminance + 0.05) else "#ffffff"
    return "#" + "".join(f"{value:02x}" for value in mixed), ink


def picture(network: Network) -> Picture:
    """Lay the units out: a stage begins a new row, and a row has at most ten units."""
    placed: list[Placed] = []
    lines: list[Line] = []
    y = TOP
    low, high = network.intact or 0.0, network.worst or 0.0
    for stage, members in groupby(network.units, key=lambda unit: unit.stage):
        units = list(members)
        for start in range(0, len(units), PER_ROW):
            row = units[start : start + PER_ROW]
            y += ABOVE[any(unit.is_block for unit in row)]
            label = f"stage {stage}" if start == 0 else ""
            shape = row[0].shape.replace("x", "×") if start == 0 else ""
            lines.append(Line(y, LEFT - 14, LEFT + PITCH * len(row) - 6, label, shape))
            for number, unit in enumerate(row):
                fill, ink = NEUTRAL, "#000000"
                if unit.error is not None:
                    fill, ink = colour((unit.error - low) / (high - low) if high > low else 0.0)
                value = "" if unit.error is None else f"{unit.error:.3g}"
                placed.append(
                    Placed(unit, LEFT + PITCH * number + PITCH // 2 - 4, y, fill, ink, _short(unit.name), value)
                )
            y += BELOW
    return Picture(LEFT + PITCH * PER_ROW + 10, y, tuple(placed), tuple(lines))


def _short(name: str, longest: int = 11) -> str:
    """The end of a name, which is what tells units apart."""
    return name if len(name) <= longest else f"…{name[1 - longest :]}"
