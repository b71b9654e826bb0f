"""What the tables of pruning say."""

from __future__ import annotations

from statistics import fmean
from typing import Any

from resnet_probe.analyses.declaration import Fact
from resnet_probe.analyses.prune import INTACT, ORDERS
from resnet_probe.tables import Result

POINTS = 1.0  # of error, within which a cut network counts as as good


def frontier(table: Result, network: str) -> list[Fact]:
    """Which images chose and reported, how far each order goes within a point of error, and what the search cost."""
    everything, about = table.of(network), table.about(network)
    rows = [row for row in everything if not row.get("healing")]
    chooses, reports = about["choose"], about["report"]
    text = f"{chooses['images']:,} of {chooses['split']} chose, {reports['images']:,} of {reports['split']} report"
    text += "; the same images, so the errors are too low" if about["same_images"] else ""
    intact = rows[0]
    facts = [
        Fact("images", text),
        Fact("intact", f"{intact['error']:.4g} % error, {intact['flops']:,} multiply-adds", intact["error"], unit="%"),
    ]
    orders = list(dict.fromkeys(row["order"] for row in rows if row["order"] != INTACT))
    middle = max(1, len(about["players"]) // 3)
    for order in orders:
        mine = [row for row in rows if row["order"] == order]
        here = [row for row in mine if row["removed"] == middle]
        text = (
            f"{fmean(row['error'] for row in here):.4g} % error with {middle} of {len(about['players'])} blocks removed"
        )
        if order == "random":
            low, high = (pick(row["error"] for row in here) for pick in (min, max))
            text += f", the mean of {len(here)} orders ({low:.4g} to {high:.4g})"
        else:
            text += f" ({here[0]['difference']:+.3g} points, {_interval(here[0])}); {_reach(mine)}"
        facts.append(Fact(ORDERS[order], text, fmean(row["error"] for row in here), unit="%"))
    if intact.get("time_1") is not None:
        (cut, *_) = [row for row in rows if row["removed"] == middle]
        alone, many = (f"{cut[key]:.3g} ms instead of {intact[key]:.3g}" for key in ("time_1", "time_best"))
        text = f"{alone} with {middle} blocks removed ({orders[0]}); {many} in batches of {about['best_batch']}"
        facts.append(Fact("time of an image", text, cut["time_1"], unit="ms"))
    for row in everything:
        if row.get("healing"):
            text = f"{row['error']:.4g} % error ({row['difference']:+.3g} points, {_interval(row)})"
            words = {"statistics": "batch-norm statistics re-estimated", "trained": "fine-tuned"}[row["healing"]]
            facts.append(Fact(f"{row['removed']} removed, {words}", text, row["error"], unit="%"))
    costs = about["costs"].values()
    runs, looped = (sum(cost[key] for cost in costs) for key in ("block_runs", "block_runs_of_a_loop"))
    if runs:
        text = f"{runs:,} block runs instead of {looped:,} to choose, {looped / runs:.3g} times fewer"
        facts.append(Fact("saving", text, looped / runs))
    return facts


def _interval(row: dict[str, Any]) -> str:
    return f"95 % interval {row['difference_low']:.3g} to {row['difference_high']:.3g}"


def _reach(rows: list[dict[str, Any]]) -> str:
    """How many blocks go before the error is told to be more than a point higher."""
    told = [row["removed"] for row in rows if row["difference_low"] > POINTS]
    reach = min(told) - 1 if told else rows[-1]["removed"]
    return f"{reach} can go before the error is surely more than {POINTS:g} point higher"


def runs(table: Result, network: str) -> list[Fact]:
    """For a quarter of the blocks: where the run stands that is missed least, and late runs against early ones."""
    about = table.about(network)
    length = about["length"]
    mine = [row for row in table.of(network) if row["length"] == length]
    best = min(mine, key=lambda row: row["loss"])
    text = f"of {length} blocks the run {best['start'] + 1} of {len(mine)}, {best['error']:.4g} % error without it"
    facts = [Fact("run that is missed least", text, best["error"], unit="%")]
    for half in about["halves"]:
        if half["length"] == length and half["low"] is not None:
            low, high, more = half["low"], half["high"], half["difference"]
            text = f"{more:+.3g} points of error, 95 % interval {low:.3g} to {high:.3g}, runs of {length} blocks"
            facts.append(Fact("without late runs instead of early ones", text, more, low, high, "points"))
    return facts


def stability(table: Result, network: str) -> list[Fact]:
    """Kendall's tau between the orders of two halves of the images, for each order."""
    facts = []
    for row in table.of(network):
        if row["compared"] == "halves":
            text = f"tau {row['kendall_tau']:.3f} between the orders of two halves of {row['images']:,} images"
            if row["tau_low"] is not None:
                text += f" ({row['tau_low']:.2f} to {row['tau_high']:.2f} over {row['repeats']} splits)"
            several = f"first {row['first']} blocks are" if row["first"] > 1 else "first block is"
            text += f"; {100 * row['overlap']:.0f} % of the {several} the same"
            facts.append(Fact(ORDERS[row["order"]], text, row["kendall_tau"], row["tau_low"], row["tau_high"], "tau"))
    return facts
