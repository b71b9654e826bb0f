"""Claims 6 to 9 and 22: what deleting and reordering does to the error."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from itertools import pairwise
from statistics import NormalDist, fmean, median
from typing import Any

from resnet_probe.analyses.registry import facts_of
from resnet_probe.claims.conditions import chance, family_of, standard_error, unlike_veit, untaught
from resnet_probe.claims.published import ALMOST_NOTHING, AT_CHANCE, JUMP, LEAST_RANK
from resnet_probe.claims.verdicts import CANNOT_SAY, DOES_NOT_HOLD, HOLDS, Verdict, between, spell, withheld
from resnet_probe.statistics import bonferroni, bootstrap_mean, confidence_sequence, paired_difference, wilson
from resnet_probe.tables import Run, SavedTable

INTACT = "(intact)"
RESIZING = "Blocks that resize matter more than blocks that keep the shape"
ALONE = "Deleting one block that keeps the shape changes almost nothing"


def lesions(run: Run) -> Iterator[Verdict]:
    """Claim 6 for every VGG, claim 7 for every residual network with a table of single deletions."""
    for table, network in run.each("lesion"):
        intact = next((row for row in table.rows(network) if row["block"] == INTACT), None)
        deleted = [row for row in table.rows(network) if row["block"] != INTACT]
        if intact is None or not deleted:
            continue
        reason = untaught(table, network, intact=intact)
        if all(row.get("kind") == "block" for row in deleted):
            note = unlike_veit(table, network, len(deleted))
            yield withheld(_alone(table, network, intact, deleted), reason, note)
            yield withheld(_resizing(table, network, intact, deleted), reason, note)
        elif family_of(table.arch(network)) == "vgg" or "vgg" in network.lower():
            yield withheld(_layers(table, network, deleted), reason)


def _layers(table: SavedTable, network: str, deleted: Sequence[Mapping[str, Any]]) -> Verdict:
    """Claim 6: is every layer's error at chance or above, by its Wilson interval?"""
    guessing = chance(table, network)
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
    strict = bonferroni(len(deleted))
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


def increase(
    intact: Mapping[str, Any], row: Mapping[str, Any], confidence: float = 0.95, *, sequence: bool = False
) -> tuple[float, float, float]:
    """Increase of the error in percentage points, with Tango's score interval for paired differences.

    Where the number of images was not fixed beforehand (`sequence`), with a confidence sequence instead.

    Tables that do not say how many images are newly wrong and newly right are given the most that their other columns
    allow, which makes the interval too wide rather than too narrow.
    """
    newly_wrong, newly_right = row.get("newly_wrong"), row.get("newly_right")
    if newly_wrong is None or newly_right is None:
        more = row["wrong"] - intact["wrong"]
        together = row.get("changed", min(row["wrong"] + intact["wrong"], row["images"]))
        newly_right = max((together - more) // 2, -more, 0)
        newly_wrong = newly_right + more
    interval = confidence_sequence if sequence else paired_difference
    return interval(newly_wrong, newly_right, row["images"], confidence)


def _alone(table: SavedTable, network: str, intact: Mapping[str, Any], deleted: Sequence[Mapping[str, Any]]) -> Verdict:
    """Claim 7, first part: does any block that keeps the shape change more than almost nothing?"""
    added = partial(increase, intact, sequence=table.about(network).get("until") is not None)
    found = {row["block"]: added(row) for row in deleted if not row["resizes"]}
    if not found:
        return Verdict(
            7, network, CANNOT_SAY, "every block changes the shape of its input", table=str(table.path), statement=ALONE
        )
    middle = median(difference for difference, _, _ in found.values())
    worst = max(found, key=lambda name: found[name][0])
    top, low, high = found[worst]
    # one block among many refutes the claim, so those intervals hold 95 % together
    strict = {row["block"]: added(row, bonferroni(len(found))) for row in deleted if row["block"] in found}
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
    """Claim 7, second part: do the blocks that resize add more on average than the others, on other images too?

    The unit is the image: these blocks are all that the network has. How the errors of two deletions vary together over
    the images is not in the table, so standard errors are added up, which is the most that they can come to.
    """
    resizing, keeping = ([row for row in deleted if bool(row["resizes"]) is kind] for kind in (True, False))
    about: dict[str, Any] = {
        "published": "more for blocks that downsample",
        "table": str(table.path),
        "statement": RESIZING,
    }
    if not resizing or not keeping:
        why = f"the network has no blocks that {'resize' if not resizing else 'keep the shape'}"
        return Verdict(7, network, CANNOT_SAY, why, **about)
    means = [fmean(row["error"] - intact["error"] for row in rows) for rows in (resizing, keeping)]
    difference, low, high = _apart(resizing, keeping)
    told = (
        f"the {len(resizing)} that resize add {means[0]:.3g} points on average, the {len(keeping)} others "
        f"{means[1]:.3g}: {difference:+.3g} points ({between(low, high)} over images)"
    )
    if low > 0:
        verdict, why = HOLDS, told
    elif high < 0:
        verdict, why = DOES_NOT_HOLD, told
    else:
        verdict, why = CANNOT_SAY, f"{told}, whose interval holds 0"
    return Verdict(
        7, network, verdict, why, measured=f"{means[0]:+.3g} against {means[1]:+.3g} points on average",
        measured_value=difference, low=low, high=high, unit="percentage points", **about,
    )  # fmt: skip


def middle(run: Run) -> Iterator[Verdict]:
    """Claim 22: do the middle half of the blocks that keep the shape add less on average than the others?

    Over images, as the second part of claim 7.
    """
    for table, network in run.each("lesion"):
        intact = next((row for row in table.rows(network) if row["block"] == INTACT), None)
        rows = [row for row in table.rows(network) if row.get("kind") == "block" and not row["resizes"]]
        if intact is None or not rows:
            continue
        about: dict[str, Any] = {"table": str(table.path)}
        quarter = len(rows) // 4
        if quarter == 0:
            why = f"blocks that keep the shape: {len(rows)}; a middle half takes four or more"
            yield Verdict(22, network, CANNOT_SAY, why, **about)
            continue
        inner, outer = rows[quarter:-quarter], [*rows[:quarter], *rows[-quarter:]]
        difference, low, high = _apart(outer, inner)
        told = (
            f"the {len(outer)} first and last blocks that keep the shape add {difference:+.3g} points more than "
            f"the {len(inner)} between ({between(low, high)} over images)"
        )
        verdict = HOLDS if low > 0 else DOES_NOT_HOLD if high < 0 else CANNOT_SAY
        judged = Verdict(
            22, network, verdict, f"{told}; the source's networks are language models",
            measured=f"{difference:+.3g} points", measured_value=difference, low=low, high=high,
            unit="percentage points", **about,
        )  # fmt: skip
        yield withheld(judged, untaught(table, network, intact=intact))


def _apart(first: Sequence[Mapping[str, Any]], second: Sequence[Mapping[str, Any]]) -> tuple[float, float, float]:
    """Mean error of some deletions minus that of others, with an interval over images; see `_resizing`."""
    difference = fmean(row["error"] for row in first) - fmean(row["error"] for row in second)
    reach = NormalDist().inv_cdf(0.975) * sum(
        fmean(standard_error(row["wrong"], row["images"]) for row in rows) for rows in (first, second)
    )
    return difference, difference - reach, difference + reach


def several(run: Run) -> Iterator[Verdict]:
    """Claim 8: does the mean error rise at every step, as far as other draws would show, and never at one stroke?

    A rank correlation says that the error rises, not that it rises smoothly; the rule against jumps does.
    """
    for table, network in run.each("lesion_multi"):
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
        if high < LEAST_RANK:
            verdict, why = DOES_NOT_HOLD, f"{told}: below {LEAST_RANK} the error does not follow the number"
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
        blocks = table.about(network).get("blocks")
        yield withheld(found, untaught(table, network, intact=intact), unlike_veit(table, network, blocks))


def _rank(table: SavedTable, network: str) -> tuple[float | None, float | None, float | None]:
    """The rank correlation with its interval, from the facts of the table."""
    found = [fact for fact in facts_of(table.result).get(network, []) if fact.label == "rank correlation"]
    return (found[0].value, found[0].low, found[0].high) if found else (None, None, None)


def _jump(
    numbers: Sequence[int], means: Sequence[float], reach: Sequence[tuple[float | None, float | None]],
    intact: Mapping[str, Any] | None, what: str = "deleted",
) -> str | None:  # fmt: skip
    """Words on a single further deletion or swap that takes most of the rise, beyond what other draws would give."""
    start = [] if intact is None else [(0, float(intact["error"]), (float(intact["error"]), float(intact["error"])))]
    points = [*start, *zip(numbers, means, reach, strict=True)]
    rise = max(mean for _, mean, _ in points) - points[0][1]
    for (a, _, (_, top)), (b, _, (bottom, _)) in pairwise(points):
        if b == a + 1 and top is not None and bottom is not None and bottom - top > JUMP * rise > 0:
            return f"from {a} to {b} {what} it rises by {bottom - top:.3g} of {rise:.3g} points or more"
    return None


def orders(run: Run) -> Iterator[Verdict]:
    """Claim 9: the rank correlation of disorder and error by its bootstrap interval, and the rule against jumps."""
    for table, network in run.each("reorder"):
        rows = table.rows(network)
        rank, low, high = _rank(table, network)
        about: dict[str, Any] = {"table": str(table.path), "unit": "Spearman's rank correlation"}
        if rank is None or low is None or high is None:
            yield Verdict(9, network, CANNOT_SAY, "the orders or the errors are all alike, so nothing rises", **about)
            continue
        different = len({row["order"] for row in rows} - {rows[0]["order"]})
        told = (
            f"rank correlation of disorder (1 - tau) and error {rank:.2f} ({between(low, high, 2)}) over "
            f"{different} different orders; the trained order has {rows[0]['error']:.3g} % error, the worst "
            f"{max(row['error'] for row in rows):.3g} %"
        )
        numbers = sorted({row["swaps"] for row in rows[1:]})
        groups = [[row["error"] for row in rows[1:] if row["swaps"] == number] for number in numbers]
        jump = _jump(
            numbers, [fmean(group) for group in groups], [bootstrap_mean(g, 0) for g in groups], rows[0], "swaps"
        )
        if high < LEAST_RANK:
            verdict, why = DOES_NOT_HOLD, f"{told}: below {LEAST_RANK} the error does not follow the disorder"
        elif jump is not None:
            verdict, why = DOES_NOT_HOLD, f"{told}, but it jumps: {jump}"
        elif low < LEAST_RANK:
            verdict, why = CANNOT_SAY, f"{told}, whose interval reaches below {LEAST_RANK}, a weak rise"
        else:
            verdict, why = HOLDS, told
        found = Verdict(
            9, network, verdict, why, measured=f"rank correlation {rank:.2f}", measured_value=rank, low=low,
            high=high, **about,
        )  # fmt: skip
        blocks = len(table.about(network).get("blocks") or ()) or None
        yield withheld(found, untaught(table, network, intact=rows[0]), unlike_veit(table, network, blocks))
