"""What the tables of lesions say."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from statistics import fmean, median
from typing import Any

from resnet_probe.analyses.declaration import Fact
from resnet_probe.analyses.facts import rank_correlation
from resnet_probe.tables import Result

__all__ = ["groups", "means", "measures", "pairs", "scales", "several", "single"]

INTACT = "(intact)"
PERCENT = "%"
DISCOVERY = 0.05  # the false discovery rate at which a pair counts as interacting


def single(table: Result, network: str) -> list[Fact]:
    """Of the deletions of one unit at a time: the intact error, the typical, the worst and the mildest deletion."""
    intact, *deleted = table.of(network)
    worst, mildest = (pick(deleted, key=lambda row: row["error"]) for pick in (max, min))
    named = partial(_named, rows=deleted)
    middle = median(row["error"] for row in deleted)
    low, high = intact.get("error_low"), intact.get("error_high")
    text = f"{intact['error']:.4g} % error, "
    of_text = str(table.about(network).get("task")).startswith(("language", "masked:"))
    examples = "windows of text" if of_text else "images"
    text += f"{intact['images']:,} {examples}" if intact["wrong"] is None else ""
    text += "" if intact["wrong"] is None else f"{intact['wrong']} wrong of {intact['images']:,} images"
    text += "" if low is None else f" (95 % interval {low:.3g} to {high:.3g} %)"
    facts = [
        Fact("intact", text, intact["error"], low, high, PERCENT),
        Fact("median lesion", f"{middle:.4g} % error over {len(deleted)} single deletions", middle, unit=PERCENT),
        Fact("worst lesion", f"{worst['error']:.4g} % ({named(worst)})", worst["error"], unit=PERCENT),
        Fact("mildest lesion", f"{mildest['error']:.4g} % ({named(mildest)})", mildest["error"], unit=PERCENT),
    ]  # fmt: skip
    for resizes, what in ((False, "keep the shape"), (True, "resize")):
        errors = [row["error"] for row in deleted if row["resizes"] is resizes]
        if errors:
            mean = fmean(errors)
            text = f"{len(errors)}, mean error {mean:.4g} % when one of them is deleted"
            facts.append(Fact(f"units that {what}", text, mean, unit=PERCENT))
    if until := table.about(network).get("until"):
        text = f"within {until['widest']:.3g} points each, by confidence sequences over {intact['images']:,} images"
        if until["widest"] > until["points"]:
            text += f"; all there are, and too few for {until['points']:g} points"
        facts.append(Fact("differences", text, until["widest"], unit="points"))
    again = [row["error_recalibrated"] for row in deleted if row.get("error_recalibrated") is not None]
    if again:
        text = f"median lesion {median(again):.4g} %, worst {max(again):.4g} %"
        text += f", against {intact['error_recalibrated']:.4g} % of the intact network re-estimated alike"
        facts.append(Fact("batch-norm statistics re-estimated", text, median(again), unit=PERCENT))
    return facts


def groups(table: Result, network: str) -> list[Fact]:
    """Of single deletions class by class: the cell that loses most, and how many are told from zero."""
    intact, cells = ([row for row in table.of(network) if (row["block"] == INTACT) == of] for of in (True, False))
    worst = max(cells, key=lambda row: row["difference"])
    named = f"{worst['group']} without {worst['block']}: {worst['difference']:+.3g} points"
    named += f", 95 % interval {worst['difference_low']:.3g} to {worst['difference_high']:.3g}"
    found = [row for row in cells if row["q"] <= DISCOVERY]
    above = sum(row["difference"] > 0 for row in found)
    few, many = min(row["images"] for row in intact), max(row["images"] for row in intact)
    needs = {row["group"] for row in found if row["difference"] > 0}
    of = f"of {len(cells)} cells of a deletion and a class"
    return [
        Fact("cells above zero", f"{above} {of} lose, false discovery rate {100 * DISCOVERY:g} %", above),
        Fact("cells below zero", f"{len(found) - above} {of} gain, at the same rate", len(found) - above),
        Fact(
            "largest loss of a class", named, worst["difference"], worst["difference_low"], worst["difference_high"],
            "points",
        ),
        Fact("classes that need a block", f"{len(needs)} of {len(intact)}, with {few:,} to {many:,} images each",
             len(needs)),
    ]  # fmt: skip


def measures(table: Result, network: str) -> list[Fact]:
    """Of each measure of all classes together: the intact network, and the deletion that moves it most."""
    rows = [row for row in table.of(network) if row["class"] is None and row["value"] is not None]
    facts = []
    for measure in dict.fromkeys(row["measure"] for row in rows):
        if measure == "error":  # the table of the lesions says that
            continue
        intact, *deleted = (row for row in rows if row["measure"] == measure)
        unit = f" {intact['unit']}" if intact["unit"] else ""
        text = f"{intact['value']:.4g}{unit}"
        if deleted:
            most = max(deleted, key=lambda row: abs(row["difference"] or 0))
            text += f", {most['value']:.4g}{unit} without {most['block']}"
        facts.append(Fact(measure, text, intact["value"], intact["low"], intact["high"], intact["unit"]))
    return facts


def _named(row: Mapping[str, Any], rows: Sequence[Mapping[str, Any]]) -> str:
    """The unit, and how many others have the same error."""
    more = sum(each["error"] == row["error"] for each in rows) - 1
    if more == len(rows) - 1 > 0:
        return "every unit alike"
    return f"{row['block']}{', which resizes' if row['resizes'] else ''}{f', and {more} more' if more else ''}"


def several(table: Result, network: str) -> list[Fact]:
    """Of random sets: the mean error of some of the sizes, and the rank correlation of size and error."""
    rows = table.of(network)
    sizes = sorted({row["deleted"] for row in rows})
    shown = sizes if len(sizes) <= 8 else [sizes[i] for i in (0, 1, len(sizes) // 4, len(sizes) // 2, -1)]
    facts = []
    for size in shown:
        mine = [row for row in rows if row["deleted"] == size]
        mean = fmean(row["error"] for row in mine)
        sets = f"{len(mine)} set{'s' if len(mine) > 1 else ''}"
        text = f"{mean:.4g} % error, the mean of {sets}" if size else f"{mean:.4g} % error, nothing deleted"
        again = [row["error_recalibrated"] for row in mine if row.get("error_recalibrated") is not None]
        text += f"; {fmean(again):.4g} % with batch-norm statistics re-estimated" if again else ""
        facts.append(Fact(f"{size} deleted", text, mean, unit=PERCENT))
    return [*facts, *rank_correlation(table, network, "number of deleted units and error")]


def means(table: Result, network: str) -> list[Fact]:
    """Of the means over random sets: the middle size with both intervals."""
    rows = table.of(network)
    row = rows[len(rows) // 2]
    text = f"{row['error']:.4g} % mean error"
    for source, words in (("images", "images"), ("draws", "draws"), ("both", "draws and images at once")):
        if row.get(f"{source}_low") is not None:
            text += f", 95 % interval over {words} {row[f'{source}_low']:.4g} to {row[f'{source}_high']:.4g} %"
    return [
        Fact(f"mean of {row['deleted']} deleted", text, row["error"], row["images_low"], row["images_high"], PERCENT)
    ]


def pairs(table: Result, network: str) -> list[Fact]:
    """Of pairs: the extremes of the interaction, how many lie above zero, and what sharing saved."""
    rows = sorted(table.of(network), key=lambda row: row["interaction"])
    facts = []
    for what, row in (("most negative", rows[0]), ("most positive", rows[-1])):
        text = f"{row['interaction']:+.3g} points, between {row['block_a']} and {row['block_b']}"
        interval = row["interaction_low"], row["interaction_high"]
        facts.append(Fact(f"{what} interaction", text, row["interaction"], *interval, "points"))
    found = [row for row in rows if row.get("q") is not None and row["q"] <= DISCOVERY]  # 0 is the surest of all
    above = sum(row["interaction"] > 0 for row in found)
    below = [row for row in found if row["interaction"] < 0]
    text = f"{above} of {len(rows)} pairs hurt more together than apart, false discovery rate {100 * DISCOVERY:g} %"
    facts.append(Fact("pairs above zero", text, above))
    text = f"{len(below)} of {len(rows)} pairs hurt less together than apart, at the same rate"
    if ceiling := sum(bool(row["past_chance"]) for row in below):
        text += f"; in {ceiling} of them two independent deletions would be worse than guessing, so the error saturates"
    facts.append(Fact("pairs below zero", text, len(below)))
    shared, looped = (table.about(network).get(key) for key in ("steps_run", "steps_of_a_loop"))
    if shared and looped:
        text = f"{shared:,} steps run instead of {looped:,}, {looped / shared:.3g} times fewer"
        facts.append(Fact("saving", text, looped / shared))
    return facts


def scales(table: Result, network: str) -> list[Fact]:
    """Of fading: the steepest slopes at the intact network, and how many blocks would be better weaker or stronger."""
    rows = table.of(network)
    intact = sorted((row for row in rows if row["alpha"] == 1), key=lambda row: row["slope"])
    facts = []
    for what, row in (("steepest block", intact[0]), ("flattest block", max(intact, key=lambda row: row["slope"]))):
        text = f"{row['block']}, the loss changes by {row['slope']:.3g} nats per unit of its factor at 1"
        facts.append(Fact(what, text, row["slope"], unit="nats"))
    best: dict[Any, dict[str, Any]] = {}
    for row in rows:
        if row["block"] not in best or row["loss"] < best[row["block"]]["loss"]:
            best[row["block"]] = row
    weaker, stronger = (sum(sign * (row["alpha"] - 1) > 0 for row in best.values()) for sign in (-1, 1))
    text = f"below 1 in {weaker}, above 1 in {stronger} of {len(best)} blocks; on the images that it is chosen on"
    return [*facts, Fact("factor of the least loss", text)]
