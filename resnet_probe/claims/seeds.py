"""Verdicts over several trainings of one architecture: the same claims, with the training as the unit.

A claim that one number decides is judged by the mean of that number over the checkpoints, with Student's interval. What
holds for each of three networks on these images need not hold for the next training, and the other way round.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from math import isfinite

from resnet_probe.analyses.seeds import trainings
from resnet_probe.claims.lesions import ALONE, RESIZING
from resnet_probe.claims.published import ALMOST_NOTHING, LEAST_RANK
from resnet_probe.claims.verdicts import CANNOT_SAY, DOES_NOT_HOLD, HOLDS, Verdict, between
from resnet_probe.statistics import over_seeds
from resnet_probe.tables import Run

# What decides: claim, and the part of it if it has several -> (whether it holds above the bar or below it, the bar).
DECIDED: dict[int | str, tuple[bool, float]] = {
    ALONE: (False, ALMOST_NOTHING), RESIZING: (True, 0), 14: (False, 0), 17: (False, 0), 19: (True, LEAST_RANK),
    22: (True, 0),
}  # fmt: skip


def over_trainings(run: Run, verdicts: Sequence[Verdict]) -> Iterator[Verdict]:
    """One more verdict for each claim and architecture of which the run has several checkpoints."""
    tables = {str(table.path): table for table in run.tables}
    for rule, (above, bar) in DECIDED.items():
        mine = {(each.table, each.network): each for each in verdicts if rule in (each.claim, each.statement)}
        known = {key: tables[key[0]].about(key[1]) for key in mine if key[0] in tables}
        for arch, keys in trainings(known).items():
            found = [mine[key] for key in keys]
            if all(each.measured_value is not None and isfinite(each.measured_value) for each in found):
                yield _judged(arch, found, above=above, bar=bar)


def _judged(arch: str, found: Sequence[Verdict], *, above: bool, bar: float) -> Verdict:
    first = found[0]
    over = over_seeds([float(each.measured_value or 0) for each in found])
    assert over.low is not None
    assert over.high is not None
    right = over.low > bar if above else over.high < bar
    wrong = over.high < bar if above else over.low > bar
    verdict = HOLDS if right else DOES_NOT_HOLD if wrong else CANNOT_SAY
    names = ", ".join(each.network for each in found)
    why = (
        f"mean {over.mean:.3g} ({between(over.low, over.high)} over {over.count} trainings, standard deviation "
        f"{over.std:.2g}) against {bar:g}: {names}"
    )
    if first.note:
        why += f"; {first.note}"
    if reason := next((each.reason for each in found if each.reason), ""):
        verdict, why = CANNOT_SAY, f"{reason}; here {why}"
    return replace(
        first, network=f"{arch}, {over.count} trainings", verdict=verdict, why=why, low=over.low, high=over.high,
        measured=f"mean {over.mean:.3g}", measured_value=over.mean,
    )  # fmt: skip
