"""Claim 4: which of two networks responds less."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations
from statistics import NormalDist
from typing import Any

from resnet_probe.claims.conditions import depth_of, family_of, untaught
from resnet_probe.claims.verdicts import CANNOT_SAY, DOES_NOT_HOLD, HOLDS, Verdict, between, withheld
from resnet_probe.tables import Run, SavedTable


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
    """Each layer against the other network's at the same relative depth; the mean difference and its interval.

    Standard deviations change with depth in both networks; pairing takes that out. Between two layers of the other
    network its value is interpolated. The unit is the image. How two layers vary together over images is not in the
    table, so standard errors are added up, which is the most that they can come to.
    """
    import numpy as np  # noqa: PLC0415

    spreads, errors = (
        [np.array([row.get(column) for row in table.rows(name)], dtype=float) for name in (small, large)]
        for column in ("std", "std_error")
    )
    about: dict[str, Any] = {"table": str(table.path)}
    if lacking := [name for name, each in zip((small, large), errors, strict=True) if np.isnan(each).any()]:
        old = "std_error" not in table.result.columns
        why = f"no standard errors of {lacking[0]}"
        why += "; run responses again" if old else ", as with one image, a layer without spread or mode train"
        return Verdict(4, f"{small} against {large}", CANNOT_SAY, why, **about)
    depths = [np.linspace(0, 1, len(spread)) for spread in spreads]
    other, noise = (np.interp(depths[0], depths[1], values[1]) for values in (spreads, errors))
    differences = spreads[0] - other
    difference = float(differences.mean())
    reach = NormalDist().inv_cdf(0.975) * float(errors[0].mean() + noise.mean())
    low, high = difference - reach, difference + reach
    means = [float(spread.mean()) for spread in spreads]
    told = (
        f"mean standard deviation over layers {means[0]:.3g} ({small}, {len(spreads[0])} layers) against "
        f"{means[1]:.3g} ({large}, {len(spreads[1])} layers), at equal relative depth {difference:+.3g} "
        f"({between(low, high)} over images), lower in {int((differences < 0).sum())} of {len(differences)} layers"
    )
    about["measured"] = f"{means[0]:.3g} against {means[1]:.3g}"
    if ", " in str(table.result.settings.get("data_fingerprint") or ""):  # several sets of images
        verdict, why = CANNOT_SAY, f"the two were measured on different images; {told}"
    elif high < 0:
        verdict, why = HOLDS, told
    elif low > 0:
        verdict, why = DOES_NOT_HOLD, told
    else:
        verdict, why = CANNOT_SAY, f"{told}, whose interval holds 0"
    found = Verdict(
        4, f"{small} against {large}", verdict, why, measured_value=difference, low=low, high=high,
        unit="difference of standard deviations", **about,
    )  # fmt: skip
    return withheld(found, untaught(table, small, large))
