"""Claim 4: which of two networks responds less."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations
from typing import Any

from resnet_probe.claims.conditions import depth_of, family_of, untaught
from resnet_probe.claims.verdicts import CANNOT_SAY, DOES_NOT_HOLD, HOLDS, Verdict, between, withheld
from resnet_probe.tables import Run, SavedTable

__all__ = ["responses"]

DRAWS = 2000


def responses(run: Run) -> Iterator[Verdict]:
    """Every ResNet against the plain network of its depth, and against the next deeper ResNet of its kind."""
    for table in run.named("responses"):
        known = {name: table.arch(name) for name in table.networks}
        pairs = [
            (small, large)
            for one, other in combinations(known, 2)
            for small, large in ((one, other), (other, one))
            if _expected(known[small], known[large])
        ]
        residual = [name for name, arch in known.items() if family_of(arch) == "resnet"]
        if residual and not pairs:
            why = (
                "a comparison needs a plain network of equal depth, or a ResNet of another depth, measured on the same "
                "images"
            )
            yield Verdict(4, ", ".join(residual), CANNOT_SAY, why, table=str(table.path))
        for small, large in pairs:
            yield _compare(table, small, large)


def _expected(small: str, large: str) -> bool:
    """Whether the first is expected to respond less than the second."""
    (depth, tokens), (other_depth, other_tokens) = depth_of(small), depth_of(large)
    if family_of(small) != "resnet":
        return False
    if family_of(large) == "plain":
        return depth == other_depth
    return family_of(large) == "resnet" and depth > other_depth and tokens == other_tokens


def _compare(table: SavedTable, small: str, large: str) -> Verdict:
    """The mean over layers of the standard deviation, and the bootstrap interval of its difference over layers."""
    import numpy as np  # noqa: PLC0415

    generator = np.random.default_rng(0)
    spreads = [np.array([row["std"] for row in table.rows(name)], dtype=float) for name in (small, large)]
    drawn = [spread[generator.integers(len(spread), size=(DRAWS, len(spread)))].mean(1) for spread in spreads]
    means = [float(spread.mean()) for spread in spreads]
    low, high = (float(value) for value in np.quantile(drawn[0] - drawn[1], (0.025, 0.975)))
    told = (
        f"mean standard deviation over layers {means[0]:.3g} ({small}, {len(spreads[0])} layers) against "
        f"{means[1]:.3g} ({large}, {len(spreads[1])} layers), difference {means[0] - means[1]:+.3g} "
        f"({between(low, high)} over layers)"
    )
    about: dict[str, Any] = {"measured": f"{means[0]:.3g} against {means[1]:.3g}", "table": str(table.path)}
    if _differs(table):
        verdict, why = CANNOT_SAY, f"the two were measured on different images; {told}"
    elif high < 0:
        verdict, why = HOLDS, told
    elif low > 0:
        verdict, why = DOES_NOT_HOLD, told
    else:
        verdict, why = CANNOT_SAY, f"{told}, whose interval holds 0"
    found = Verdict(
        4, f"{small} against {large}", verdict, why, measured_value=means[0] - means[1], low=low, high=high,
        unit="difference of standard deviations", **about,
    )  # fmt: skip
    return withheld(found, untaught(table, small, large))


def _differs(table: SavedTable) -> bool:
    """Whether the settings tell of several sets of images."""
    prints = str(table.result.settings.get("data_fingerprint") or "")
    return ", " in prints
