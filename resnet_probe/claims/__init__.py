"""Published claims, and what the tables of a run say about them.

- `judge`: all verdicts on a run, as the table `claims`.
- `published`: the numbers of the papers, each with paper and section.
- `verdicts`: what a verdict is.
- `sizes`, `training`, `responses`, `lesions`, `paths`, `iterative`, `pruning`: the rules, by family of claims. Each
  takes a run and yields a verdict for every network that its tables can speak to. Which claims there are stands with
  the tables of the analyses.
- `seeds`: the same claims over several trainings of one architecture.

A verdict is about this network, or these trainings, on these images. It is "cannot say" where the interval leaves it
open, and where the published value was measured under other conditions.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from resnet_probe.analyses.registry import claims
from resnet_probe.claims.seeds import over_trainings
from resnet_probe.claims.verdicts import CANNOT_SAY, COLUMNS, DOES_NOT_HOLD, HOLDS, VERDICTS, Verdict, table
from resnet_probe.lazy import named
from resnet_probe.tables import Result, Run
from resnet_probe.tables.runs import MALFORMED

__all__ = ["CANNOT_SAY", "COLUMNS", "DOES_NOT_HOLD", "HOLDS", "VERDICTS", "Verdict", "judge"]


def judge(run: Run) -> Result:
    """Every claim that the tables of a run can speak to, one row for each network or comparison.

    The claims stand with the tables that they are about (`analyses.declaration.Claim`), and name their rules. A table
    that lacks a column, because an older version wrote it, speaks to nothing; so does one of another task than
    classification, which none of the claims is about.

    Args:
        run: from `tables.read_run`.

    Returns:
        Table `claims`; the settings hold how many verdicts there are of each kind (`counts`), the claims that no
        table speaks to (`silent`), and tables that could not be judged (`unusable`).
    """
    classifiers = [t for t in run.tables if not any(t.about(network).get("task") for network in t.networks)]
    run = replace(run, tables=tuple(classifiers))
    rules: dict[str, list[int]] = {}
    for number, (claim, _) in claims().items():
        rules.setdefault(claim.rule, []).append(number)
    found: list[Verdict] = []
    unusable: list[str] = []
    for place, numbers in rules.items():
        try:
            found += named(place)(run)
        except (*MALFORMED, ImportError) as error:
            judged = " and ".join(str(number) for number in numbers)
            unusable.append(f"claim {judged}: a table that the rule cannot read ({type(error).__name__}: {error})")
    found += over_trainings(run, found)
    spoken = {verdict.claim for verdict in found}
    silent = [number for number in claims() if number not in spoken]
    found = [replace(verdict, table=_shown(run, verdict.table)) for verdict in found]
    return table(found).with_settings({"silent": silent, "unusable": unusable})


def _shown(run: Run, path: str) -> str:
    """The file from the folder of the run on: where that lies is nobody else's concern."""
    for folder in run.folders:
        if path and Path(path).is_relative_to(folder):
            return (Path(folder.resolve().name) / Path(path).relative_to(folder)).as_posix()
    return path
