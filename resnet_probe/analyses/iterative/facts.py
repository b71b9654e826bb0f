"""What the tables of iterative inference say."""

from __future__ import annotations

from statistics import fmean, median

from resnet_probe.analyses.declaration import Fact
from resnet_probe.analyses.iterative import MEASURES
from resnet_probe.tables import Result


def blocks(table: Result, network: str) -> list[Fact]:
    """Of the blocks: the typical update, how many oppose the gradient, and what early exits reach."""
    rows, about = table.of(network), table.about(network)
    facts = []
    if about.get("error") is not None:
        text = f"{about['error']:.4g} % error on {about['images']:,} images"
        facts.append(Fact("whole network", text, about["error"], unit="%"))
    ratios = [row["ratio"] for row in rows if row["ratio"] is not None]
    text = f"|F(h)| / |h| has a median of {median(ratios):.3g} over {len(rows)} blocks"
    facts.append(Fact("size of the update", text, median(ratios)))
    for column, where in (("cos_gradient", "input"), ("cos_gradient_out", "output")):
        values = [row[column] for row in rows if row[column] is not None]
        if values:
            below = sum(value < 0 for value in values)
            kept = "" if len(values) == len(rows) else " that keep the shape"
            text = f"cos(F, dL/dh) is below 0 in {below} of {len(values)} blocks{kept}, mean {fmean(values):.3g}"
            facts.append(Fact(f"gradient at the {where}", text, fmean(values)))
    exits = [row for row in rows if row["exit_accuracy"] is not None]
    if exits:
        first, last = exits[0], exits[-1]
        text = f"{first['exit_accuracy']:.4g} % right when read after {first['block']}"
        if last is not first:
            text += f", {last['exit_accuracy']:.4g} % after {last['block']}"
        facts.append(Fact("early exits", text, first["exit_accuracy"], unit="%"))
    if all(row["lesion_error"] is None for row in rows):
        facts.append(
            Fact("damage", "no lesion table; give --lesion FILE to see which measure predicts what a deletion does")
        )
    elif about.get("lesion_on_the_same_images") is False:
        facts.append(Fact("damage", f"{about['lesion']} was measured on other images"))
    return facts


def ranks(table: Result, network: str) -> list[Fact]:
    """The measures whose ranks go along best with the damage, over all blocks and over those that keep the shape."""
    facts = []
    for subset in dict.fromkeys(row["subset"] for row in table.of(network)):
        ranked = [row for row in table.of(network) if row["subset"] == subset]
        rows = [row for row in ranked if row["damage"] == "error"] or ranked  # errors may all be the same
        best = sorted(rows, key=lambda row: -abs(row["rho"]))[:3]
        if best:
            words = [
                f"{MEASURES.get(row['measure'], row['measure'])} {row['rho']:+.2f} ({row['low']:+.2f} to "
                f"{row['high']:+.2f}, n={row['blocks']})"
                for row in best
            ]
            first = best[0]
            of = "" if first["damage"] == "error" else " of the loss"
            label = f"best predictors{of}, {subset if subset != 'all' else 'all blocks'}"
            facts.append(Fact(label, "; ".join(words), first["rho"], first["low"], first["high"], "rank correlation"))
    return facts
