"""The table of path lengths: `counted` makes it, `distributions` turns it back into counts."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from resnet_probe.analyses.paths import PATHS
from resnet_probe.analyses.paths.lengths import UNITS, Polynomial, known_unit, multiply, statistics
from resnet_probe.limits import DEEPEST
from resnet_probe.tables import Result


def counted(polynomials_by_unit: Mapping[str, Iterable[Sequence[int]]], network: str) -> Result:
    """Count the paths of each length through a network.

    Args:
        polynomials_by_unit: for "module", "layer" or both, the polynomials of the units along the chain.

    Returns:
        The result "paths": `network, unit, length, count, fraction`, one row per length that occurs; `count`
        exact, `fraction` of all paths. The settings hold the `Statistics` of each unit under "statistics".

    Raises:
        LookupError: an unknown unit.
        ValueError: a polynomial that is none (see `multiply`).
    """
    rows: list[dict[str, Any]] = []
    described = {}
    for unit, polynomials in polynomials_by_unit.items():
        known_unit(unit)
        counts = multiply(polynomials)
        described[unit] = asdict(statistics(counts))
        total = described[unit]["total"]
        rows += [
            # Dividing integers rounds once, however large they are.
            {"network": network, "unit": unit, "length": length, "count": count, "fraction": count / total}
            for length, count in enumerate(counts)
            if count
        ]
    return PATHS.result(rows, statistics=described)


def distributions(result: Result) -> dict[str, dict[str, Polynomial]]:
    """The table as counts: unit -> network -> entry k is the number of paths of length k."""
    if missing := [column for column in PATHS.keys if column not in result.columns]:
        raise ValueError(
            f"table {result.name} has no column {', '.join(missing)}; path lengths need {', '.join(PATHS.keys)}"
        )
    counts: dict[str, dict[str, Counter[int]]] = {}
    for row in result.rows:
        length, count = row["length"], row["count"]
        if not (isinstance(length, int) and 0 <= length <= DEEPEST and isinstance(count, int) and row["unit"] in UNITS):
            raise ValueError(f"table {result.name} has a row without a unit, a whole length and a whole count: {row}")
        counts.setdefault(row["unit"], {}).setdefault(str(row["network"]), Counter())[row["length"]] += row["count"]
    if not counts:
        raise ValueError(f"table {result.name} has no rows, so there is nothing to draw")
    return {
        unit: {name: tuple(found[length] for length in range(max(found) + 1)) for name, found in networks.items()}
        for unit, networks in counts.items()
    }
