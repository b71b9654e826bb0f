"""What the tables of paths say."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from resnet_probe.analyses.declaration import Fact
from resnet_probe.analyses.paths.effective import PAPER
from resnet_probe.tables import Result
from resnet_probe.tables.cells import exactly

BRANCHES = "residual branches"


def lengths(table: Result, network: str) -> list[Fact]:
    """The number of paths, and the distribution of their lengths in each unit."""
    found = table.about(network)["statistics"]
    total = int(found["module"]["total"])
    power = f"2^{total.bit_length() - 1} = " if total > 1 and total & (total - 1) == 0 else ""
    full = f"{total:,}" if total < 10**45 else f"about {exactly(total)} (all digits in paths.json)"
    closed = table.about(network).get("unopened", {})
    one = ": no residual block or parallel branch, so there is one way through" if total == 1 and not closed else ""
    facts = [Fact("paths", f"{power}{full}{one}", total)]
    if closed:
        text = f"{sum(closed.values()):,} parameters in {len(closed)} modules, whose own paths are not counted"
        facts.append(Fact("not opened", text, sum(closed.values())))
    for unit, what in (("module", BRANCHES), ("layer", "layers")):
        if unit not in found:
            continue
        its = found[unit]
        text = f"all of length {its['mode']}"
        if its["std"] != 0:
            rows = [row for row in table.rows if (row["network"], row["unit"]) == (network, unit)]
            most = max(row["count"] for row in rows)
            *others, last = [str(row["length"]) for row in rows if row["count"] == most]
            modes = f"modes {', '.join(others)} and {last}" if others else f"mode {last}"
            text = (
                f"mean {its['mean']:.6g}, std {its['std']:.4g}, {modes}, "
                f"central 95 % interval {its['low']} to {its['high']} (holds {100 * its['inside']:.2f} %)"
            )
        facts.append(Fact(f"length in {what}", text, its["mean"], its["low"], its["high"], what))
    return facts


def gradients(table: Result, network: str) -> list[Fact]:
    """Which lengths carry the gradient, exactly and by sampled paths, with the paper's numbers beside them."""
    about = table.about(network)
    blocks = about["blocks"]
    text = (
        f"the classes add up to autograd's gradient with a relative error of {about['identity_error']:.1e} "
        f"({about['images']} images, batch norm in {about['batch_norm']} mode)"
    )
    facts = [Fact("identity", text, about["identity_error"])]
    if blocks == 0:
        return [*facts, Fact("gradient", "no residual block: one class of paths carries the whole gradient")]
    peak = about["peak"]
    facts += [
        Fact("largest class", f"paths through {peak} of {blocks} {BRANCHES} (exact norm)", peak, unit=BRANCHES),
        _held("exact shares", about["exact"], about["mean_length"]),
    ]
    if "effective" not in about:
        return facts
    effective = _held("count x norm", about["effective"], about["effective_mean_length"])
    paper = (
        f"{PAPER['low']} to {PAPER['high']} of {PAPER['blocks']}, {100 * PAPER['share_of_paths']:.2g} % of all paths"
    )
    facts += [effective, _decay(about["decay"], about["samples"])]
    slope = PAPER["implied_slope"]
    published = f"ResNet-110: {paper}; slope {slope} implied, a factor of {math.exp(slope):.2g} per branch"
    return [*facts, Fact("Veit et al. 2016", published)]


def _held(label: str, interval: Mapping[str, Any] | None, mean: float) -> Fact:
    if interval is None:
        return Fact(label, "no gradient at all, so no interval")
    text = (
        f"{100 * interval['holds']:.1f} % on paths of {interval['low']} to {interval['high']} {BRANCHES}, which are "
        f"{100 * interval['share_of_paths']:.3g} % of all paths; mean length {mean:.3g}"
    )
    return Fact(label, text, mean, interval["low"], interval["high"], BRANCHES)


def _decay(line: Mapping[str, Any] | None, samples: int) -> Fact:
    label, unit = "norm of a path", "ln(norm) per branch"
    if line is None:
        return Fact(label, "fewer than two lengths with a norm above zero, so no fit")
    low, high = line["slope_low"], line["slope_high"]
    interval = "" if low is None else f" (95 % interval {low:.3g} to {high:.3g})"
    text = (
        f"slope {line['slope']:.3g}{interval} of ln(norm), a factor of {math.exp(line['slope']):.2g} per branch, "
        f"R2 {line['r2']:.3f}, {samples} samples per length"
    )
    return Fact(label, text, line["slope"], low, high, unit)


def survival(table: Result, network: str) -> list[Fact]:
    """Which share of the paths a deletion leaves."""
    rows = [row for row in table.of(network) if row["unit"] == "module"]
    before, after = sum(row["count"] for row in rows), sum(row["surviving"] for row in rows)
    facts = [Fact("surviving paths", f"{100 * (after / before):.4g} % of all paths", 100 * (after / before), unit="%")]
    gone, blocks = rows[0]["deleted"], rows[0]["blocks"]
    if gone and rows[-1]["expected"] is not None:
        apart = max(abs(row["share"] - (row["expected"] or 0.0)) for row in rows)
        text = f"C(n-{gone}, x) / C(n, x) with n = {blocks}, to within {apart:.1g}"
        facts.append(Fact("share by length x", text, apart))
    return facts
