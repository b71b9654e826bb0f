"""Values of a table as people read them: four digits, thousands parted, yes and no."""

from __future__ import annotations

import math
from decimal import Decimal
from typing import Any

__all__ = ["exactly", "written"]


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
