"""A verdict: what was published, what was measured, with which interval, and whether the claim holds."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field, replace
from math import isfinite
from typing import Any

from resnet_probe.analyses.registry import claims
from resnet_probe.tables import Result

HOLDS = "holds"
DOES_NOT_HOLD = "does not hold"
CANNOT_SAY = "cannot say"
VERDICTS = (HOLDS, DOES_NOT_HOLD, CANNOT_SAY)


@dataclass(frozen=True)
class Verdict:
    """The answer to one claim for one network (or one comparison of networks).

    Args:
        claim: its number among the declared claims.
        network: name of the network, or of the compared ones.
        verdict: one of `VERDICTS`.
        why: one sentence, made from the numbers.
        published: what the paper says; the claim's own words by default.
        measured: the measured value in words.
        published_value, measured_value, low, high: numbers, where there are any, in `unit`; low and high are a 95 %
            interval of the measured value.
        unit: of these numbers.
        source: paper and section; the claim's own by default.
        table: the file that the measured value comes from.
        reason: why an answer is withheld, whatever the numbers are.
        note: on the conditions, which stands at the end of `why`.
    """

    claim: int
    network: str
    verdict: str
    why: str
    measured: str = ""
    published: str = ""
    published_value: float | int | None = None
    measured_value: float | int | None = None
    low: float | None = None
    high: float | None = None
    unit: str = ""
    source: str = ""
    table: str = ""
    statement: str = field(default="")
    reason: str = ""
    note: str = ""

    def __post_init__(self) -> None:
        assert self.verdict in VERDICTS
        known, _ = claims()[self.claim]
        for name in ("published", "source", "statement"):
            if not getattr(self, name):
                object.__setattr__(self, name, getattr(known, name))


def withheld(verdict: Verdict, reason: str, note: str = "") -> Verdict:
    """The same numbers without an answer, if there is a reason for that; a note on the conditions goes to the end."""
    verdict = replace(verdict, why=f"{verdict.why}; {note}", note=note) if note else verdict
    if not reason:
        return verdict
    return replace(verdict, verdict=CANNOT_SAY, why=f"{reason}; here {verdict.why}", reason=reason)


COLUMNS = (
    *("claim", "statement", "network", "published", "measured", "low", "high", "unit", "verdict", "why"),
    *("source", "published_value", "measured_value", "table"),
)


def table(verdicts: Iterable[Verdict]) -> Result:
    """Verdicts as the table `claims`, in the order of the claims."""
    rows: list[dict[str, Any]] = []
    told: set[tuple[Any, ...]] = set()
    verdicts = list(verdicts)
    statements = list(dict.fromkeys(found.statement for found in verdicts))  # a claim may have two parts
    for verdict in sorted(verdicts, key=lambda found: (found.claim, statements.index(found.statement))):
        values = asdict(verdict)
        row = {column: None if _is_void(values[column]) else values[column] for column in COLUMNS}
        seen = tuple(value for column, value in row.items() if column != "table")
        if seen not in told:  # two tables that say the same count once
            told.add(seen)
            rows.append(row)
    times = Counter((row["statement"], row["network"]) for row in rows)
    for row in rows:
        if row["table"] and times[row["statement"], row["network"]] > 1:  # of other images, or other options
            row["why"] += f"; from {row['table']}"
    return Result("claims", COLUMNS, tuple(rows), {"counts": {v: _count(rows, v) for v in VERDICTS}})


def _is_void(value: Any) -> bool:
    """An empty text, or a number that JSON has no word for."""
    return value == "" or (isinstance(value, float) and not isfinite(value))


def _count(rows: Sequence[dict[str, Any]], verdict: str) -> int:
    return sum(row["verdict"] == verdict for row in rows)


def between(low: float, high: float, digits: int = 3) -> str:
    """An interval in words: `5.94 to 9.19`."""
    return f"{low:.{digits}g} to {high:.{digits}g}"


def spell(names: Sequence[str], most: int = 3) -> str:
    """Names in a list for a sentence: `a, b and c`, or `a, b, c and 4 more`."""
    if len(names) > most:
        return f"{', '.join(names[:most])} and {len(names) - most} more"
    return " and ".join([", ".join(names[:-1]), names[-1]]) if len(names) > 1 else "".join(names)
