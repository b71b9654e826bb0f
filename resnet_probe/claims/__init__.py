"""Published claims, and what the tables of a run say about them.

- `judge`: all verdicts on a run, as the table `claims`.
- `published`: the numbers of the papers, each with paper and section.
- `verdicts`: what a verdict is.
- `sizes`, `training`, `responses`, `lesions`, `paths`: the rules, by family of claims. Each takes a run and yields a
  verdict for every network that its tables can speak to.

A verdict is about this network on these images. It is "cannot say" where the interval leaves it open, and where the
published value was measured under other conditions.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from resnet_probe.claims import lesions, paths, responses, sizes, training
from resnet_probe.claims.published import CLAIMS
from resnet_probe.claims.verdicts import CANNOT_SAY, COLUMNS, DOES_NOT_HOLD, HOLDS, VERDICTS, Verdict, table
from resnet_probe.tables import Result, Run

__all__ = [
    "CANNOT_SAY",
    "CLAIMS",
    "COLUMNS",
    "DOES_NOT_HOLD",
    "HOLDS",
    "NEEDED",
    "RULES",
    "VERDICTS",
    "Verdict",
    "judge",
]

# What judges which claims.
RULES: dict[tuple[int, ...], Callable[[Run], Iterator[Verdict]]] = {
    (1,): sizes.parameters,
    (2,): sizes.errors,
    (3,): training.degradation,
    (4,): responses.responses,
    (5,): training.variants,
    (6, 7): lesions.lesions,
    (8,): lesions.several,
    (9,): lesions.orders,
    (10,): paths.lengths,
    (11, 12): paths.gradients,
    (13,): training.effective_training,
    (14,): paths.branches,
}

# Claim -> the command whose table speaks to it, for those who miss it.
NEEDED: dict[int, str] = {
    1: "inspect",
    2: "lesion",
    3: "grid",
    4: "responses with a ResNet and a plain network, or with ResNets of two depths",
    5: "grid",
    6: "lesion of a VGG",
    7: "lesion of a residual network",
    8: "lesion --multi",
    9: "reorder",
    10: "paths",
    11: "paths --data",
    12: "paths --data",
    13: "grid",
    14: "iterative",
}


def judge(run: Run) -> Result:
    """Every claim that the tables of a run can speak to, one row for each network or comparison.

    A table that lacks a column, because an older version wrote it, speaks to nothing.

    Args:
        run: from `runs.read_run`.

    Returns:
        Table `claims`; the settings hold how many verdicts there are of each kind (`counts`), the claims that no
        table speaks to (`silent`), and tables that could not be judged (`unusable`).
    """
    found: list[Verdict] = []
    unusable: list[str] = []
    for numbers, rule in RULES.items():
        try:
            found += rule(run)
        except (KeyError, TypeError, ValueError, ZeroDivisionError) as error:
            claims = " and ".join(str(number) for number in numbers)
            unusable.append(f"claim {claims}: a table that the rule cannot read ({type(error).__name__}: {error})")
    judged = {verdict.claim for verdict in found}
    silent = [number for number in CLAIMS if number not in judged]
    return table(found).with_settings({"silent": silent, "unusable": unusable})
