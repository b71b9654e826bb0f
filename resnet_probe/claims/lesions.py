"""Claims 6 to 9: what deleting and reordering does to the error."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from statistics import NormalDist, fmean, median
from typing import Any

from resnet_probe.analyses.registry import facts_of
from resnet_probe.claims.conditions import chance, family_of, untaught
from resnet_probe.claims.published import ALMOST_NOTHING, AT_CHANCE, JUMP, LEAST_RANK
from resnet_probe.claims.verdicts import CANNOT_SAY, DOES_NOT_HOLD, HOLDS, Verdict, between, spell, together, withheld
from resnet_probe.statistics import rank_sum, wilson
from resnet_probe.tables import Run, SavedTable

__all__ = ["increase", "lesions", "orders", "several"]

INTACT = "(intact)"
SIGNIFICANT = 0.05
RESIZING = "Blocks that resize matter more than blocks that keep the shape"
ALONE = "Deleting one block that keeps the shape changes almost nothing"


def lesions(run: Run) -> Iterator[Verdict]:
    """Claim 6 for every VGG, claim 7 for every residual network with a table of single deletions."""
    for table in run.named("lesion"):
        for network in table.networks:
            intact = next((row for row in table.rows(network) if row["block"] == INTACT), None)
            deleted = [row for row in table.rows(network) if row["block"] != INTACT]
            if intact is None or not deleted:
                continue
            reason = untaught(table, network, intact=intact)
            if all(row.get("kind") == "block" for row in deleted):
                yield withheld(_alone(table, network, intact, deleted), reason)
                yield withheld(_resizing(table, network, intact, deleted), reason)
            elif family_of(table.arch(network)) == "vgg" or "vgg" in network.lower():
                yield withheld(_layers(table, network, deleted), reason)


def _layers(table: SavedTable, network: str, deleted: Sequence[Mapping[str, Any]]) -> Verdict:
    """Claim 6: is every layer's error at chance or above, by its Wilson interval?"""
    guessing = chance(table)
    errors = [row["error"] for row in deleted]
    lowest = min(deleted, key=lambda row: row["error"])
    low, high = wilson(lowest["wrong"], lowest["images"])
    measured = f"{min(errors):.3g} to {max(errors):.3g} %, median {median(errors):.3g} %"
    about: dict[str, Any] = {
        "measured": measured,
        "low": low,
        "high": high,
        "measured_value": lowest["error"],
        "unit": "percent",
    }
    if guessing is None:
        why = "the settings do not say how many classes there are, so chance is not known"
        return Verdict(6, network, CANNOT_SAY, why, table=str(table.path), **about)
    bar = AT_CHANCE * guessing
    intervals = {row["block"]: wilson(row["wrong"], row["images"]) for row in deleted}
    # one layer among many refutes the claim, so those intervals hold 95 % together
    strict = together(len(deleted))
    below = [row["block"] for row in deleted if wilson(row["wrong"], row["images"], strict)[1] < bar]
    open_ = [name for name, (bottom, _) in intervals.items() if bottom < bar and name not in below]
    what = f"{bar:.3g} % (nine tenths of guessing, {guessing:.3g} %)"
    mildest = f"the mildest deletion, {lowest['block']}, gives {lowest['error']:.3g} % ({between(low, high)} %)"
    if below:
        verdict = DOES_NOT_HOLD
        why = f"{len(below)} of {len(deleted)} layers stay below {what} with their whole intervals; {mildest}"
    elif open_:
        verdict = CANNOT_SAY
        why = f"the intervals of {spell(open_)} reach below {what}, the others lie above; {mildest}"
    else:
        verdict, why = HOLDS, f"all {len(deleted)} layers lie above {what} with their whole intervals; {mildest}"
    published = 90 if guessing == 90 else None
    return Verdict(6, network, verdict, why, published_value=published, table=str(table.path), **about)


def increase(intact: Mapping[str, Any], row: Mapping[str, Any], confidence: float = 0.95) -> tuple[float, float, float]:
    """Increase of the error in percentage points, with an interval over the images.

    Both networks saw the same images. How many of them one got right and the other wrong is at most the number of
    changed predictions, which bounds the variance of the paired difference from above: the interval is too wide rather
    than too narrow. Without that column the two errors count as independent, which is wider still.
    """
    images = row["images"]
    difference = (row["wrong"] - intact["wrong"]) / images
    changed = row.get("changed")
    if isinstance(changed, int):
        variance = ((changed + 1) / images - difference**2) / images  # one more: none observed is not none possible
    else:
        shares = [(each["wrong"] + 1) / (images + 2) for each in (intact, row)]
        variance = sum(share * (1 - share) for share in shares) / images
    reach = NormalDist().inv_cdf((1 + confidence) / 2) * math.sqrt(max(variance, 0.0))
    return 100 * difference, 100 * (difference - reach), 100 * (difference + reach)


def _alone(table: SavedTable, network: str, intact: Mapping[str, Any], deleted: Sequence[Mapping[str, Any]]) -> Verdict:
    """Claim 7, first part: does any block that keeps the shape change more than almost nothing?"""
    found = {row["block"]: increase(intact, row) for row in deleted if not row["resizes"]}
    if not found:
        return Verdict(
            7, network, CANNOT_SAY, "every block changes the shape of its input", table=str(table.path), statement=ALONE
        )
    middle = median(difference for difference, _, _ in found.values())
    worst = max(found, key=lambda name: found[name][0])
    top, low, high = found[worst]
    # one block among many refutes the claim, so those intervals hold 95 % together
    strict = {row["block"]: increase(intact, row, together(len(found))) for row in deleted if row["block"] in found}
    above = [name for name, (_, bottom, _) in strict.items() if bottom > ALMOST_NOTHING]
    unclear = [name for name, (_, _, top) in found.items() if top > ALMOST_NOTHING and name not in above]
    kept = len(found) - len(above) - len(unclear)
    worst_words = f"most with {worst}, {top:+.3g} points ({between(low, high)})"
    bar = f"{ALMOST_NOTHING:g} points"
    if above:
        verdict, add = DOES_NOT_HOLD, "adds" if len(above) == 1 else "add"
        why = (
            f"it is true of the typical block (median {middle:+.2g} points), not of any: {len(above)} of {len(found)} "
            f"{add} more than {bar} by their whole intervals, {worst_words}"
            if middle <= ALMOST_NOTHING
            else f"{len(above)} of {len(found)} blocks {add} more than {bar} by their whole intervals, median "
            f"{middle:+.3g}, {worst_words}"
        )
    elif unclear:
        verdict = CANNOT_SAY
        why = f"{kept} of {len(found)} blocks add less than {bar}, the intervals of {spell(unclear)} reach above it"
    else:
        verdict = HOLDS
        why = f"all {len(found)} blocks add less than {bar} by their whole intervals, {worst_words}"
    return Verdict(
        7, network, verdict, why, measured=f"median {middle:+.2g} points, at most {top:+.3g}",
        published="almost no change",
        measured_value=top, low=low, high=high, unit="percentage points", table=str(table.path), statement=ALONE,
    )  # fmt: skip


def _resizing(
    table: SavedTable, network: str, intact: Mapping[str, Any], deleted: Sequence[Mapping[str, Any]]
) -> Verdict:
    """Claim 7, second part: an exact Mann-Whitney test of the two kinds of blocks."""
    kinds = [
        [row["error"] - intact["error"] for row in deleted if bool(row["resizes"]) is kind] for kind in (True, False)
    ]
    resizing, keeping = kinds
    about: dict[str, Any] = {
        "published": "more for blocks that downsample",
        "table": str(table.path),
        "statement": RESIZING,
    }
    if not resizing or not keeping:
        why = f"the network has no blocks that {'resize' if not resizing else 'keep the shape'}"
        return Verdict(7, network, CANNOT_SAY, why, **about)
    test = rank_sum(resizing, keeping)
    wins = test.wins
    measured = f"{fmean(resizing):+.3g} against {fmean(keeping):+.3g} points on average"
    told = (
        f"the {len(resizing)} that resize add {fmean(resizing):.3g} points on average, the {len(keeping)} others "
        f"{fmean(keeping):.3g}; one of them exceeds one of the others in {100 * wins:.0f} % of pairs "
        f"(Mann-Whitney p = {test.p:.2g})"
    )
    if test.least >= SIGNIFICANT:
        verdict, why = (
            CANNOT_SAY,
            f"{told}; so few blocks settle nothing, their clearest order has p = {test.least:.2g}",
        )
    elif test.p >= SIGNIFICANT:
        verdict, why = CANNOT_SAY, f"{told}, which may be chance"
    else:
        verdict, why = (HOLDS if wins > 0.5 else DOES_NOT_HOLD), told
    return Verdict(
        7, network, verdict, why, measured=measured, measured_value=wins, unit="share of pairs", **about
    )  # fmt: skip


def several(run: Run) -> Iterator[Verdict]:
    """Claim 8: does the mean error rise at every step, as far as other draws would show?"""
    from resnet_probe.statistics import bootstrap_mean  # noqa: PLC0415

    for table in run.named("lesion_multi"):
        for network in table.networks:
            rows = [row for row in table.rows(network) if row["deleted"]]
            numbers = sorted({row["deleted"] for row in rows})
            groups = [[row["error"] for row in rows if row["deleted"] == number] for number in numbers]
            means = [fmean(group) for group in groups]
            rank, low, high = _rank(table, network)
            about: dict[str, Any] = {
                "table": str(table.path),
                "published_value": None,
                "unit": "Spearman's rank correlation",
            }
            if len(numbers) < 3 or rank is None or low is None or high is None:
                why = f"{len(numbers)} numbers of deleted blocks are too few to see a rise; three or more are needed"
                yield Verdict(8, network, CANNOT_SAY, why, **about)
                continue
            reach = [bootstrap_mean(group, 0) for group in groups]
            falls = [
                (a, b)
                for (a, _, (bottom, _)), (b, _, (_, top)) in pairwise(zip(numbers, means, reach, strict=True))
                if bottom is not None and top is not None and top < bottom
            ]
            unsettled = [
                (a, b)
                for (a, mean, (bottom, _)), (b, after, (_, top)) in pairwise(zip(numbers, means, reach, strict=True))
                if (bottom is None or top is None)
                and (after if top is None else top) < (mean if bottom is None else bottom)
            ]
            told = (
                f"the mean error goes from {means[0]:.3g} % with {numbers[0]} deleted to {means[-1]:.3g} % with "
                f"{numbers[-1]}, rank correlation {rank:.2f} ({between(low, high, 2)})"
            )
            intact = next((row for row in table.rows(network) if row["deleted"] == 0), None)
            jump = _jump(numbers, means, reach, intact)
            if high <= 0:
                verdict, why = DOES_NOT_HOLD, f"{told}: it does not rise"
            elif jump is not None:
                verdict, why = DOES_NOT_HOLD, f"{told}, but it jumps: {jump}"
            elif falls:
                verdict, why = DOES_NOT_HOLD, f"{told}, but it falls from {falls[0][0]} to {falls[0][1]} deleted"
            elif unsettled:
                a, b = unsettled[0]
                verdict, why = (
                    CANNOT_SAY,
                    f"{told}; it falls from {a} to {b} deleted, where a single draw has no interval",
                )
            elif low < LEAST_RANK:
                verdict, why = CANNOT_SAY, f"{told}, whose interval reaches below {LEAST_RANK}, a weak rise"
            else:
                verdict, why = HOLDS, f"{told}; no step falls beyond what other draws would give"
            found = Verdict(
                8, network, verdict, why, measured=f"rank correlation {rank:.2f}", measured_value=rank, low=low,
                high=high, **about,
            )  # fmt: skip
            yield withheld(found, untaught(table, network, intact=intact))


def _rank(table: SavedTable, network: str) -> tuple[float | None, float | None, float | None]:
    """The rank correlation with its interval, from the facts of the table."""
    found = [fact for fact in facts_of(table.result).get(network, []) if fact.label == "rank correlation"]
    return (found[0].value, found[0].low, found[0].high) if found else (None, None, None)


def _jump(
    numbers: Sequence[int], means: Sequence[float], reach: Sequence[tuple[float | None, float | None]],
    intact: Mapping[str, Any] | None,
) -> str | None:  # fmt: skip
    """Words on a single further deletion that takes most of the whole rise, beyond what other draws would give."""
    start = [] if intact is None else [(0, float(intact["error"]), (float(intact["error"]), float(intact["error"])))]
    points = [*start, *zip(numbers, means, reach, strict=True)]
    rise = max(mean for _, mean, _ in points) - points[0][1]
    for (a, _, (_, top)), (b, _, (bottom, _)) in pairwise(points):
        if b == a + 1 and top is not None and bottom is not None and bottom - top > JUMP * rise > 0:
            return f"from {a} to {b} deleted it rises by {bottom - top:.3g} of {rise:.3g} points or more"
    return None


def orders(run: Run) -> Iterator[Verdict]:
    """Claim 9: the rank correlation of disorder and error, by its bootstrap interval."""
    for table in run.named("reorder"):
        for network in table.networks:
            rows = table.rows(network)
            rank, low, high = _rank(table, network)
            about: dict[str, Any] = {"table": str(table.path), "unit": "Spearman's rank correlation"}
            if rank is None or low is None or high is None:
                yield Verdict(
                    9, network, CANNOT_SAY, "the orders or the errors are all alike, so nothing rises", **about
                )
                continue
            told = (
                f"rank correlation of disorder (1 - tau) and error {rank:.2f} ({between(low, high, 2)}) over "
                f"{len(rows) - 1} orders; the trained order has {rows[0]['error']:.3g} % error, the worst "
                f"{max(row['error'] for row in rows):.3g} %"
            )
            verdict = HOLDS if low >= LEAST_RANK else DOES_NOT_HOLD if high < LEAST_RANK else CANNOT_SAY
            if verdict != HOLDS:
                told += f"; below {LEAST_RANK} the error does not follow the disorder"
            found = Verdict(
                9, network, verdict, told, measured=f"rank correlation {rank:.2f}", measured_value=rank, low=low,
                high=high, **about,
            )  # fmt: skip
            yield withheld(found, untaught(table, network, intact=rows[0]))
