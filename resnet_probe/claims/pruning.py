"""Claims 24 to 27: what single lesions say of blocks in company, what cutting and healing do, and where to cut."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from resnet_probe.claims.conditions import untaught
from resnet_probe.claims.published import LEAST_RANK, RECOVERED
from resnet_probe.claims.verdicts import CANNOT_SAY, DOES_NOT_HOLD, HOLDS, Verdict, between, withheld
from resnet_probe.statistics import spearman
from resnet_probe.tables import Run, SavedTable

LEAST_BLOCKS = 5  # below which a rank correlation says nothing


def shapley(run: Run) -> Iterator[Verdict]:
    """Claim 24: the rank correlation of single lesions and Shapley values by accuracy, by its bootstrap interval."""
    for table, network in run.each("importance"):
        rows = [row for row in table.rows(network) if row["measure"] == "accuracy"]
        found = spearman([row["lesion"] for row in rows], [row["shapley"] for row in rows], 0)
        rank, low, high = found.spearman, found.spearman_low, found.spearman_high
        if len(rows) < LEAST_BLOCKS or rank is None or low is None or high is None:
            why = f"{len(rows)} blocks with values that differ; a rank correlation needs {LEAST_BLOCKS}"
            yield Verdict(24, network, CANNOT_SAY, why, table=str(table.path))
            continue
        why = f"rank correlation {rank:.2f} ({between(low, high, 2)}) of lesion and Shapley value, {len(rows)} blocks"
        verdict = HOLDS if low >= LEAST_RANK else DOES_NOT_HOLD if high < LEAST_RANK else CANNOT_SAY
        judged = Verdict(
            24, network, verdict, f"{why}, bar {LEAST_RANK}; the source's networks are language models",
            measured=f"rank correlation {rank:.2f}", measured_value=rank, low=low, high=high,
            unit="Spearman's rank correlation", table=str(table.path),
        )  # fmt: skip
        yield withheld(judged, untaught(table, network))


def greedy(run: Run) -> Iterator[Verdict]:
    """Claim 25: with a third of the blocks removed, is the error higher by single lesions than by the greedy search?

    Paired on the images that report, by the interval of the difference. Single lesions go by the loss, as the search
    does, or by the error where the table has no order by the loss.
    """
    for table, network in run.each("prune"):
        rows = table.rows(network)
        third = max(1, len(table.about(network)["players"]) // 3)
        named = {row["order"]: row for row in rows if row["removed"] == third and not row.get("healing")}
        row = named.get("lesion_loss") or named.get("lesion")
        about: dict[str, Any] = {"table": str(table.path), "unit": "points"}
        if row is None or row["over_greedy"] is None:
            why = "the table has no greedy order beside one by single lesions"
            yield Verdict(25, network, CANNOT_SAY, why, **about)
            continue
        more, low, high = row["over_greedy"], row["over_greedy_low"], row["over_greedy_high"]
        why = f"with {third} blocks removed one ranking has {more:+.3g} points ({between(low, high)}) over greedy"
        verdict = HOLDS if low > 0 else DOES_NOT_HOLD if high < 0 else CANNOT_SAY
        judged = Verdict(
            25,
            network,
            verdict,
            why,
            measured=f"{more:+.3g} points",
            measured_value=more,
            low=low,
            high=high,
            **about,
        )
        yield withheld(judged, untaught(table, network, intact=rows[0]) or _same_images(table, network))


def healing(run: Run) -> Iterator[Verdict]:
    """Claim 26: of each network that was cut and trained, is the error within a point of the intact one's?

    One network that is further off, by its paired interval, refutes the claim for that cut.
    """
    for table, network in run.each("prune"):
        rows = table.rows(network)
        for row in rows:
            if row.get("healing") != "trained":
                continue
            more, low, high = row["difference"], row["difference_low"], row["difference_high"]
            why = f"with {row['removed']} blocks removed {more:+.3g} points of error are left ({between(low, high)})"
            why += f", bar {RECOVERED:g} points"
            verdict = HOLDS if high < RECOVERED else DOES_NOT_HOLD if low > RECOVERED else CANNOT_SAY
            judged = Verdict(
                26, network, verdict, why, measured=f"{more:+.3g} points", measured_value=more, low=low, high=high,
                unit="points", table=str(table.path),
            )  # fmt: skip
            yield withheld(judged, untaught(table, network, intact=rows[0]) or _same_images(table, network))


def late(run: Run) -> Iterator[Verdict]:
    """Claim 27: do runs of a quarter of the blocks add less error in the later half of the network than in the earlier?

    All runs of that length count, so nothing is chosen; over images, by the interval of the difference of the means.
    """
    for table, network in run.each("prune_runs"):
        about, rows = table.about(network), table.rows(network)
        length = about["length"]
        half = next((each for each in about["halves"] if each["length"] == length and each["low"] is not None), None)
        if half is None:
            why = f"{len(about['players'])} blocks can go, too few for late and early runs of {length}"
            yield Verdict(27, network, CANNOT_SAY, why, table=str(table.path))
            continue
        more, low, high = half["difference"], half["low"], half["high"]
        starts = [row for row in rows if row["length"] == length]
        best = min(starts, key=lambda row: row["loss"])["start"] + 1
        why = f"late runs of {length} blocks cost {more:+.3g} points of error ({between(low, high)}) over early ones; "
        why += f"run {best} of {len(starts)} is missed least"
        verdict = HOLDS if high < 0 else DOES_NOT_HOLD if low > 0 else CANNOT_SAY
        judged = Verdict(
            27, network, verdict, why, measured=f"{more:+.3g} points", measured_value=more, low=low, high=high,
            unit="points", table=str(table.path),
        )  # fmt: skip
        yield withheld(judged, untaught(table, network, intact=rows[0]))


def _same_images(table: SavedTable, network: str) -> str:
    """Why errors are too low to judge by; empty if other images chose."""
    return "the images that report chose the blocks too" if table.about(network).get("same_images") else ""
