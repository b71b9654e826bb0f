"""Claims 14, 17 to 19, 21 and 23: iterative inference, and what predicts the damage of a deletion."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from statistics import NormalDist, fmean
from typing import Any

from resnet_probe.claims.conditions import standard_error, untaught
from resnet_probe.claims.published import JUMP, LEAST_BLOCKS, LEAST_RANK, NEAR
from resnet_probe.claims.verdicts import CANNOT_SAY, DOES_NOT_HOLD, HOLDS, Verdict, between, spell, withheld
from resnet_probe.statistics import bonferroni
from resnet_probe.tables import Run

PREACTIVATION = "the paper's networks are pre-activation"


def branches(run: Run) -> Iterator[Verdict]:
    """Claim 14: is the mean cosine of branch and gradient below 0 in every block, by its interval over images?

    Jastrzebski et al. (eqs. 2 to 4) expand the loss of the classifier that reads h, the exit gradient; the gradient
    that is propagated back through the later blocks is told beside it, and judged only in tables without the other.
    """
    for table, network in run.each("iterative"):
        exits, back = (_cosines(table.rows(network), column) for column in ("cos_exit", "cos_gradient"))
        found, errors = exits if exits[0] else back
        about: dict[str, Any] = {"table": str(table.path), "published_value": None, "unit": "cosine"}
        if not found:
            why = "every block changes the shape of its input, so branch and gradient cannot be compared"
            yield Verdict(14, network, CANNOT_SAY, why, **about)
            continue
        # one block among many refutes the claim, so those intervals hold 95 % together
        strict = NormalDist().inv_cdf((1 + bonferroni(len(found))) / 2)
        above = [name for name, (mean, _, _) in found.items() if mean - strict * errors[name] > 0]
        unclear = [name for name, (_, _, high) in found.items() if not high < 0 and name not in above]  # nan too
        least = max(found, key=lambda name: found[name][0])
        top, low, high = found[least]
        what = f"the largest mean cosine is {top:.3g} ({between(low, high, 2)}) in {least}"
        if above:
            verdict = DOES_NOT_HOLD
            why = f"{len(above)} of {len(found)} blocks lie above 0 with their whole intervals; {what}"
        elif unclear:
            verdict, why = CANNOT_SAY, f"the intervals of {spell(unclear)} of {len(found)} blocks reach 0; {what}"
        else:
            where = "of the last stage that keep the shape" if exits[0] else "that keep the shape"
            verdict, why = HOLDS, f"all {len(found)} blocks {where} lie below 0; {what}"
        below = len(found) - len(above) - len(unclear)
        if exits[0] and back[0]:
            under = sum(high < 0 for _, _, high in back[0].values())
            why += f"; of the back-propagated gradient, {under} of {len(back[0])} blocks lie below 0"
        if "preact" not in table.arch(network):
            why += f"; {PREACTIVATION}"
        judged = Verdict(
            14, network, verdict, why, measured=f"below 0 in {below} of {len(found)} blocks", measured_value=top,
            low=low, high=high, **about,
        )  # fmt: skip
        few = f"{len(found)} blocks are too few to speak of every block"
        short = few if verdict == HOLDS and len(found) < LEAST_BLOCKS else ""
        yield withheld(judged, untaught(table, network) or short)


def _cosines(
    rows: Sequence[Mapping[str, Any]], column: str
) -> tuple[dict[str, tuple[float, float, float]], dict[str, float]]:
    """Of each block the mean cosine with its interval over images, and its standard error."""
    found, errors = {}, {}
    reach = NormalDist().inv_cdf(0.975)
    for row in rows:
        mean, spread, images = row.get(column), row.get(f"{column}_std"), row.get("gradients")
        if mean is not None and spread is not None and images:
            error = errors[row["block"]] = spread / math.sqrt(images)
            found[row["block"]] = (mean, mean - reach * error, mean + reach * error)
    return found, errors


def higher_blocks(run: Run) -> Iterator[Verdict]:
    """Claim 17: is the mean cosine of branch and exit gradient lower in the upper half of the last stage's blocks?

    The unit is the image. How two blocks' cosines vary together over images is not in the table, so standard errors are
    added up, which is the most that they can come to.
    """
    for table, network in run.each("iterative"):
        found, errors = _cosines(table.rows(network), "cos_exit")
        about: dict[str, Any] = {"table": str(table.path), "unit": "cosine"}
        names = list(found)
        lower, upper = names[: len(names) // 2], names[(len(names) + 1) // 2 :]
        if len(names) < LEAST_BLOCKS:
            why = f"{len(names)} blocks of the last stage keep the shape of their input; halves need {LEAST_BLOCKS}"
            yield Verdict(17, network, CANNOT_SAY, why, **about)
            continue
        means = [fmean(found[name][0] for name in part) for part in (lower, upper)]
        reach = NormalDist().inv_cdf(0.975) * sum(fmean(errors[name] for name in part) for part in (lower, upper))
        difference = means[1] - means[0]
        low, high = difference - reach, difference + reach
        why = (
            f"mean cosine {means[1]:.3g} in the upper half of the last stage's {len(names)} blocks, {means[0]:.3g} "
            f"in the lower: {difference:+.3g} ({between(low, high, 2)} over images)"
        )
        verdict = HOLDS if high < 0 else DOES_NOT_HOLD if low > 0 else CANNOT_SAY
        judged = Verdict(
            17, network, verdict, why, measured=f"{difference:+.3g}", measured_value=difference, low=low, high=high,
            **about,
        )  # fmt: skip
        note = "" if "preact" in table.arch(network) else PREACTIVATION
        yield withheld(judged, untaught(table, network), note)


def exits(run: Run) -> Iterator[Verdict]:
    """Claim 18: does the accuracy of early exits rise over the last stage, without a fall and without a jump?

    A jump is a step that takes more than half of the whole rise. Standard errors of two exits are added up, see
    `higher_blocks`; one step among many refutes the claim, so the steps' intervals hold 95 % together.
    """
    for table, network in run.each("iterative"):
        rows = [row for row in table.rows(network) if row.get("exit_accuracy") is not None]
        about: dict[str, Any] = {"table": str(table.path), "unit": "percentage points"}
        if len(rows) < LEAST_BLOCKS:
            why = f"blocks in the last stage: {len(rows)}; a rise in steps needs {LEAST_BLOCKS} or more"
            yield Verdict(18, network, CANNOT_SAY, why, **about)
            continue
        accuracy = [row["exit_accuracy"] for row in rows]
        errors = [standard_error(row["exit_accuracy"] / 100 * row["images"], row["images"]) for row in rows]
        rise, reach = accuracy[-1] - accuracy[0], NormalDist().inv_cdf(0.975) * (errors[0] + errors[-1])
        strict = NormalDist().inv_cdf((1 + bonferroni(len(rows) - 1)) / 2)
        both = pairwise(zip(accuracy, errors, strict=True))
        steps = [
            (b - a, strict * (one + other), row["block"])
            for ((a, one), (b, other)), row in zip(both, rows[1:], strict=True)
        ]
        largest = max(steps)
        why = (
            f"from {accuracy[0]:.3g} to {accuracy[-1]:.3g} % right over {len(rows)} blocks; the largest step, "
            f"{largest[0]:+.3g} points, is that of {largest[2]}"
        )
        falls = [name for step, noise, name in steps if step + noise < 0]
        if rise + reach < 0:
            verdict, why = DOES_NOT_HOLD, f"{why}: it falls"
        elif rise - reach <= 0:
            verdict, why = CANNOT_SAY, f"{why}: no rise that other images would be sure to show"
        elif falls:
            verdict, why = DOES_NOT_HOLD, f"{why}; it falls at {spell(falls)}"
        elif largest[0] - largest[1] > JUMP * rise:
            verdict, why = DOES_NOT_HOLD, f"{why}, more than half of the whole rise: it jumps"
        elif largest[0] > JUMP * rise:
            verdict, why = CANNOT_SAY, f"{why}, about half of the whole rise"
        else:
            verdict = HOLDS
        judged = Verdict(
            18, network, verdict, why, measured=f"{rise:+.3g} points", measured_value=rise, low=rise - reach,
            high=rise + reach, **about,
        )  # fmt: skip
        yield withheld(judged, untaught(table, network))


def estimation(run: Run) -> Iterator[Verdict]:
    """Claim 21: of each stage, does the estimation error fall from block to block, and is its mean near 0?

    By feature, because means of either sign cancel when features are pooled. Near 0 is at most half of the deviation
    (ours). There is no interval: means and deviations of so many values are known to far more digits than are asked.
    """
    for table, network in run.each("iterative"):
        rows = [row for row in table.rows(network) if row.get("estimation_spread")]  # not the last block of a stage
        about: dict[str, Any] = {"table": str(table.path), "unit": "share of the deviation"}
        stages = {stage: [row for row in rows if row["stage"] == stage] for stage in {row["stage"] for row in rows}}
        stages = {stage: mine for stage, mine in sorted(stages.items()) if len(mine) > 1}
        if not stages:
            yield Verdict(21, network, CANNOT_SAY, "no stage has three blocks of equal shape", **about)
            continue
        rises = [
            after["block"]
            for mine in stages.values()
            for before, after in pairwise(mine)
            if after["estimation_spread"] > before["estimation_spread"]
        ]
        furthest = max(
            (row for mine in stages.values() for row in mine),
            key=lambda row: row["estimation_bias"] / row["estimation_spread"],
        )
        ratio = furthest["estimation_bias"] / furthest["estimation_spread"]
        why = f"the mean is at most {ratio:.2g} of the deviation, in {furthest['block']}"
        why += f"; the deviation rises at {spell(rises)}" if rises else "; the deviation falls at every block"
        verdict = DOES_NOT_HOLD if rises or ratio > NEAR else HOLDS
        judged = Verdict(
            21, network, verdict, why, measured=f"{ratio:.2g} of the deviation", measured_value=ratio, **about
        )
        yield withheld(judged, untaught(table, network))


def agreement(run: Run) -> Iterator[Verdict]:
    """Claim 23: does the agreement of two images' gradients fall more slowly with depth than exponentially?

    With c at the last block, at the first, and half way between, ln c(first) - 2 ln c(middle) + ln c(last) is 0 if the
    agreement falls exponentially, and ln((1 + m) / sqrt(1 + 2 m)) if it falls as 1 / sqrt(depth), m blocks from one to
    the next. The bar is half of that (ours). Relative standard errors are added up, see `higher_blocks`; pairs in a row
    share an image, which at most doubles the variance of their mean.
    """
    for table, network in run.each("iterative"):
        rows = [row for row in table.rows(network) if row.get("agreement") is not None]
        about: dict[str, Any] = {"table": str(table.path), "unit": "ln of the ratio to an exponential"}
        half = (len(rows) - 1) // 2
        if len(rows) < LEAST_BLOCKS or rows[0]["images"] < 2:
            known = f"{len(rows)} blocks and {rows[0]['images']} images" if rows else "an older version's table"
            why = f"{known}; a fall needs the agreement in {LEAST_BLOCKS} blocks, over 2 images or more"
            yield Verdict(23, network, CANNOT_SAY, why, **about)
            continue
        chosen = [rows[-1 - 2 * half], rows[-1 - half], rows[-1]]
        values = [row["agreement"] for row in chosen]
        pairs = math.sqrt((rows[0]["images"] - 1) / 2)
        reach = NormalDist().inv_cdf(0.975)
        errors = [row["agreement_std"] / pairs for row in chosen]
        told = ", ".join(f"{value:.3g} in {row['block']}" for value, row in zip(values, chosen, strict=True))
        if any(value - reach * error <= 0 for value, error in zip(values, errors, strict=True)):
            why = f"the mean cosine is {told}: one is not told from 0, so there is no fall to compare"
            yield Verdict(23, network, CANNOT_SAY, why, **about)
            continue
        first, middle, last = map(math.log, values)
        excess = first - 2 * middle + last
        relative = [reach * error / value for error, value in zip(errors, values, strict=True)]
        reach = relative[0] + 2 * relative[1] + relative[2]
        bar = math.log((1 + half) / math.sqrt(1 + 2 * half)) / 2
        low, high = excess - reach, excess + reach
        apart = f"{excess:+.2g} ({between(low, high, 2)})"
        why = f"mean cosine {told}; {apart} against an exponential fall, bar {bar:.2g}"
        verdict = HOLDS if low > bar else DOES_NOT_HOLD if high < bar else CANNOT_SAY
        if last - first < relative[0] + relative[2]:
            verdict, why = CANNOT_SAY, f"{why}; no fall with depth is told from noise"
        judged = Verdict(
            23, network, verdict, why, measured=f"{excess:+.2g}", measured_value=excess, low=low, high=high, **about
        )
        edited = "its blocks were edited before it was measured" if table.about(network).get("edits") else ""
        yield withheld(judged, edited, "the paper's networks are at initialisation")


def influence(run: Run) -> Iterator[Verdict]:
    """Claim 19: the rank correlation of block influence and the loss that deletions add, by its bootstrap interval."""
    for table, network in run.each("iterative_ranks"):
        for row in table.rows(network):
            if (row["measure"], row["damage"], row["subset"]) != ("influence", "loss", "all"):
                continue
            rank, low, high = row["rho"], row["low"], row["high"]
            why = (
                f"rank correlation {rank:.2f} ({between(low, high, 2)}) of influence and added loss over "
                f"{row['blocks']} blocks"
            )
            if table.about(network).get("lesion_on_the_same_images") is False:
                why += ", whose damage was measured on other images"
            verdict = HOLDS if low >= LEAST_RANK else DOES_NOT_HOLD if high < LEAST_RANK else CANNOT_SAY
            if verdict != HOLDS:
                why += f"; below {LEAST_RANK} the influence does not rank the damage"
            judged = Verdict(
                19, network, verdict, f"{why}; the source's networks are language models",
                measured=f"rank correlation {rank:.2f}", measured_value=rank, low=low, high=high,
                unit="Spearman's rank correlation", table=str(table.path),
            )  # fmt: skip
            yield withheld(judged, untaught(table, network))
