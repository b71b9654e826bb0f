"""What the tables of importance say."""

from __future__ import annotations

from typing import Any

from resnet_probe.analyses.declaration import Fact
from resnet_probe.analyses.importance import UNITS
from resnet_probe.tables import Result


def blocks(table: Result, network: str) -> list[Fact]:
    """The most and the least valuable block by each measure, how many harm, and what sharing saved."""
    rows, about = table.of(network), table.about(network)
    facts = []
    for measure, unit in UNITS.items():
        mine = sorted((row for row in rows if row["measure"] == measure), key=lambda row: row["shapley"])
        for what, row in (("most", mine[-1]), ("least", mine[0])):
            name = f"{what} valuable block" if measure == "loss" else f"{what} valuable block, by accuracy"
            text = f"{row['block']}, Shapley value {row['shapley']:.4g} {unit}"
            if row["shapley_low"] is not None:
                text += f" (95 % interval {row['shapley_low']:.3g} to {row['shapley_high']:.3g})"
            text += f"; its lesion alone {row['lesion']:.4g}"
            facts.append(Fact(name, text, row["shapley"], row["shapley_low"], row["shapley_high"], unit))
        if all(row["shapley_high"] is not None for row in mine):
            harmful = sum(row["shapley_high"] < 0 for row in mine)
            text = f"{harmful} of {len(mine)} blocks have a value below zero, each told by its own interval"
            facts.append(Fact(f"blocks that harm, by {measure}", text, harmful))
    first = rows[0]
    how = f"all {first['samples']:,} subsets" if first["exact"] else f"{first['samples']} orders, half of them reversed"
    runs, looped = about["block_runs"], about["block_runs_of_a_loop"]
    text = f"{runs:,} block runs instead of {looped:,} for {how} of {len(about['players'])} blocks"
    return [*facts, Fact("saving", f"{text}, {looped / runs:.3g} times fewer", looped / runs)]


def subsets(table: Result, network: str) -> list[Fact]:
    """The best subset of some sizes, and the lowest error of all."""
    rows = table.of(network)
    intact = rows[0]
    best: dict[Any, dict[str, Any]] = {}
    for row in rows:
        if row["kept"] not in best or row["error"] < best[row["kept"]]["error"]:
            best[row["kept"]] = row
    sizes = sorted(best, reverse=True)
    facts = [Fact("all kept", f"{intact['error']:.4g} % error with all {sizes[0]} blocks", intact["error"], unit="%")]
    for size in sizes[1:4]:
        row = best[size]
        text = f"{row['error']:.4g} % error at best ({row['blocks'] or 'none'}); chosen and measured on the same images"
        facts.append(Fact(f"{size} kept", text, row["error"], unit="%"))
    lowest = min(rows, key=lambda row: row["error"])
    text = f"{lowest['error']:.4g} % error with {lowest['kept']} blocks"
    return [*facts, Fact("lowest error", text, lowest["error"], unit="%")]


def pairs(table: Result, network: str) -> list[Fact]:
    """The extremes of the interaction by the loss, each where there is one of its sign."""
    rows = sorted((row for row in table.of(network) if row["measure"] == "loss"), key=lambda row: row["interaction"])
    facts = []
    for what, row, sign in (("worth more together", rows[-1], 1), ("replace each other most", rows[0], -1)):
        if sign * row["interaction"] <= 0:
            continue
        text = f"{row['block_a']} and {row['block_b']}, interaction {row['interaction']:+.3g} nats"
        if row["interaction_low"] is not None:
            text += f" (95 % interval {row['interaction_low']:.3g} to {row['interaction_high']:.3g})"
        interval = row["interaction_low"], row["interaction_high"]
        facts.append(Fact(what, text, row["interaction"], *interval, "nats"))
    return facts
