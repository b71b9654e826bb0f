"""Claims 10 to 12: lengths of paths, and the gradient they carry."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from fractions import Fraction
from typing import Any

from resnet_probe.claims.conditions import unlike_veit, untaught
from resnet_probe.claims.published import DECAY_SLOPE, EFFECTIVE, FEW_PATHS, PATHS_110, STRAIGHT
from resnet_probe.claims.verdicts import CANNOT_SAY, DOES_NOT_HOLD, HOLDS, Verdict, between, withheld
from resnet_probe.tables import Run, SavedTable

SHORT = "Almost all gradient comes from paths shorter than the middle length"
FEW = "Almost all gradient comes from few of the paths"
FEWEST = 8  # blocks below which "short" and "long" paths cannot be told apart


def lengths(run: Run) -> Iterator[Verdict]:
    """Claim 10, exact: from the counts of paths in modules."""
    for table, network in run.each("paths"):
        counts = {row["length"]: row["count"] for row in table.rows(network) if row["unit"] == "module"}
        total, longest = sum(counts.values()), max(counts, default=0)
        if total <= 1:
            continue  # no residual block, so nothing that the claim could be about
        inside = sum(count for length, count in counts.items() if PATHS_110.low <= length <= PATHS_110.high)
        share = Fraction(inside, total)
        percent = 100 * float(share)
        what = f"{percent:.2f} % of {total:,} paths" if total < 10**18 else f"{percent:.2f} % of the paths"
        told = f"{what} go through {PATHS_110.low} to {PATHS_110.high} blocks"
        like = longest == PATHS_110.blocks and total == 2**longest
        if not like:
            verdict = CANNOT_SAY
            about = f"{longest} block{'s' if longest != 1 else ''} on its longest path"
            why = f"the claim is about {PATHS_110.blocks} blocks and this network has {about}; here {told}"
        else:
            verdict = HOLDS if share > Fraction(str(PATHS_110.share)) else DOES_NOT_HOLD
            why = f"{told}, counted exactly"
        yield Verdict(
            10, network, verdict, why, measured=f"{percent:.2f} %", published_value=100 * PATHS_110.share,
            measured_value=percent, unit="percent of paths", table=str(table.path),
        )  # fmt: skip


def gradients(run: Run) -> Iterator[Verdict]:
    """Claims 11 and 12: from what `gradients.csv` says of each network."""
    for table, network in run.each("gradients"):
        found = table.about(network)
        if not found.get("blocks"):
            continue  # one path: no lengths to compare
        reason = untaught(table, network)
        yield withheld(_decay(table, network, found), reason, unlike_veit(table, network, found["blocks"]))
        for verdict in _effective(table, network, found):
            yield withheld(verdict, reason)


def _decay(table: SavedTable, network: str, found: Mapping[str, Any]) -> Verdict:
    line = found.get("decay")
    about: dict[str, Any] = {"table": str(table.path), "unit": "ln(norm) per block"}
    if not line or line.get("slope_low") is None:
        why = "no paths were sampled, or too few lengths have a gradient for a fit; give --samples"
        return Verdict(11, network, CANNOT_SAY, why, **about)
    slope, low, high = (line[key] for key in ("slope", "slope_low", "slope_high"))
    bend, less, more = (line.get(key) for key in ("bend", "bend_low", "bend_high"))
    told = (
        f"slope {slope:.3g} ({between(low, high)}) of ln(norm) per block, a factor of {math.exp(slope):.2g}, over "
        f"{line['points']} lengths"
    )
    if low > 0:
        verdict, why = DOES_NOT_HOLD, f"{told}: it rises"
    elif high >= 0:
        verdict, why = CANNOT_SAY, f"{told}, whose interval holds 0"
    elif bend is None or less is None or more is None:
        verdict, why = CANNOT_SAY, f"{told}: too few lengths to tell a straight line from a bent one"
    else:
        told += (
            f"; half way it lies {100 * bend:.2g} % of the fall off a straight line ({between(100 * less, 100 * more)})"
        )
        if max(-less, more) < STRAIGHT:
            verdict, why = HOLDS, f"{told}, less than {100 * STRAIGHT:g} %"
        elif less > STRAIGHT or more < -STRAIGHT:
            verdict, why = DOES_NOT_HOLD, f"{told}: it falls, but not exponentially"
        else:
            verdict, why = CANNOT_SAY, f"{told}, which does not settle how it falls"
    published = DECAY_SLOPE if found.get("blocks") == EFFECTIVE.blocks else None
    return Verdict(
        11, network, verdict, why, measured=f"slope {slope:.3g}", published_value=published,
        measured_value=slope, low=low, high=high, **about,
    )  # fmt: skip


def _effective(table: SavedTable, network: str, found: Mapping[str, Any]) -> Iterator[Verdict]:
    """Claim 12 in two parts: effective paths are short, and they are few."""
    interval, blocks = found.get("effective"), int(found["blocks"])
    short: dict[str, Any] = {"table": str(table.path), "statement": SHORT, "published": "5 to 17 of 54 blocks"}
    few: dict[str, Any] = {"table": str(table.path), "statement": FEW, "published": "0.45 % of all paths"}
    if not interval:
        yield Verdict(12, network, CANNOT_SAY, "no paths were sampled; give --samples", **short)
        return
    low, high, percent = interval["low"], interval["high"], 100 * interval["share_of_paths"]
    carried = (
        f"paths of {low} to {high} of {blocks} blocks carry {100 * interval['holds']:.1f} % of count times mean norm"
    )
    told = f"{carried}; the middle length is {blocks / 2:g}"
    if blocks < FEWEST:
        verdict, told = CANNOT_SAY, f"{blocks} blocks are too few to tell short paths from long ones; {told}"
    elif high < blocks / 2:
        verdict = HOLDS
    elif found.get("effective_mean_length", 0) >= blocks / 2:
        verdict = DOES_NOT_HOLD
    else:
        verdict, told = CANNOT_SAY, f"{told}, which lies among them"
    yield Verdict(12, network, verdict, told, measured=f"{low} to {high} of {blocks} blocks", **short)
    told = f"{carried} and are {percent:.3g} % of all paths"
    if blocks != EFFECTIVE.blocks:
        verdict = CANNOT_SAY
        told = f"the published share is that of {EFFECTIVE.blocks} blocks, and it falls with their number; {told}"
    else:
        verdict = HOLDS if interval["share_of_paths"] <= FEW_PATHS else DOES_NOT_HOLD
    yield Verdict(
        12, network, verdict, told, measured=f"{percent:.3g} %", measured_value=percent,
        published_value=100 * EFFECTIVE.share, unit="percent of paths", **few,
    )  # fmt: skip
