"""Values of parameters from texts, and back."""

from __future__ import annotations

SIZES = {"k": 10**3, "m": 10**6, "g": 10**9}


def memory_size(text: str) -> int:
    """An amount of memory in bytes: `800M`, `2G` or a plain number.

    Raises:
        ValueError: it is none.
    """
    plain = text.strip().lower().removesuffix("b")
    number, factor = (plain[:-1], SIZES[plain[-1]]) if plain and plain[-1] in SIZES else (plain, 1)
    try:
        amount = int(float(number) * factor)
    except (ValueError, OverflowError):
        amount = 0
    if amount <= 0:
        raise ValueError(f"{text!r} is no amount of memory; give bytes, or such as 800M or 2G")
    return amount


def numbers(text: str) -> range:
    """`1:20` as the numbers from 1 to 20, `5` as 5 alone, `2:20:2` in steps of two.

    Raises:
        ValueError: it is no range of numbers from 1 on.
    """
    try:
        parts = [int(part) for part in text.split(":")]
        first, last, step = (*parts, parts[0], 1) if len(parts) == 1 else (*parts, 1) if len(parts) == 2 else parts
        found = range(first, last + 1, step)
    except ValueError:
        found = range(0)
    if not found or found[0] < 1:
        raise ValueError(f"{text!r} is no range; give FIRST:LAST, such as 1:20, or one number")
    return found


def written_numbers(value: range) -> str:
    """The inverse of `numbers`."""
    step = f":{value.step}" if value.step != 1 else ""
    return f"{value[0]}:{value[-1]}{step}"
