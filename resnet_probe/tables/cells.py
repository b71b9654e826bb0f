"""Values of a table as people read them: four digits, thousands parted, yes and no."""

from __future__ import annotations

import math
import re
from decimal import Decimal
from typing import Any

# Control characters other than tab and line ends, marks that turn the direction of text, halves of characters, and two
# that no XML may hold.
_HIDDEN = re.compile(
    "[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff\ufffe\uffff]"
)


def visible(text: str, *, line: bool = False) -> str:
    r"""A text in which what controls terminals and pages is spelled out; names are other people's.

    With `line`, so are tabs and the ends of lines.

    Examples:
        >>> visible("net\x1b[2J")
        'net\\u001b[2J'
    """
    if text.isascii() and text.isprintable():
        return text
    spelled = _HIDDEN.sub(lambda found: f"\\u{ord(found[0]):04x}", text)
    return spelled.replace("\t", "\\t").replace("\n", "\\n").replace("\r", "\\r") if line else spelled


def exactly(count: int) -> str:
    """A count in full where that can be read, else rounded."""
    return f"{count:,}" if count < 10**15 else f"{Decimal(count):.3e}"


def written(value: Any) -> str:
    """A value as people read it: four digits, thousands parted, yes and no."""
    if value is None:
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return exactly(value) if value >= 0 else f"-{exactly(-value)}"
    if isinstance(value, float):
        if not math.isfinite(value):
            return str(value)
        return f"{value:,.0f}" if abs(value) >= 10_000 and abs(value) < 10**12 else f"{value:.4g}"
    return str(value)
