"""All analyses: ours, named here, and those of other packages, named by their entry points.

A package adds an analysis with an entry point in the group `resnet_probe.analyses` that names its declaration:

    [project.entry-points."resnet_probe.analyses"]
    mine = "my_package.mine:ANALYSIS"
"""

from __future__ import annotations

import warnings
from dataclasses import replace
from functools import cache
from importlib import metadata

from resnet_probe.analyses import seeds
from resnet_probe.analyses.declaration import Analysis, Claim, Fact, Plot, Table
from resnet_probe.lazy import named
from resnet_probe.tables import Result

GROUP = "resnet_probe.analyses"

# In the order of the report.
OURS = (
    "resnet_probe.analyses.compare:ANALYSIS",
    "resnet_probe.analyses.accuracy:ANALYSIS",
    "resnet_probe.analyses.lesion:ANALYSIS",
    "resnet_probe.analyses.importance:ANALYSIS",
    "resnet_probe.analyses.prune:ANALYSIS",
    "resnet_probe.analyses.reorder:ANALYSIS",
    "resnet_probe.analyses.paths:ANALYSIS",
    "resnet_probe.analyses.responses:ANALYSIS",
    "resnet_probe.analyses.iterative:ANALYSIS",
    "resnet_probe.analyses.grid:ANALYSIS",
    "resnet_probe.analyses.inspect:ANALYSIS",
)


@cache
def analyses() -> dict[str, Analysis]:
    """Every analysis by its name.

    One of another package that cannot be imported, or that takes a name of ours, is told in a warning and left out.
    """
    found: dict[str, Analysis] = {}
    for place in OURS:
        ours = named(place)
        found[ours.name] = ours
    for entry in sorted(metadata.entry_points(group=GROUP)):
        try:
            theirs = entry.load()
            if not isinstance(theirs, Analysis):
                raise TypeError(f"{entry.value} is a {type(theirs).__name__}, not an Analysis")
            if theirs.name in found or {t.name for t in theirs.tables} & {
                t.name for a in found.values() for t in a.tables
            }:
                raise ValueError(f"{theirs.name} or one of its tables has a name that is taken")
        except Exception as error:
            warnings.warn(f"the analysis {entry.name} ({entry.value}) is left out: {error}", stacklevel=2)
            continue
        found[theirs.name] = theirs
    return found


def analysis(name: str) -> Analysis:
    """The analysis of that name.

    Raises:
        LookupError: there is none.
    """
    try:
        return analyses()[name]
    except KeyError:
        raise LookupError(f"no analysis {name!r}; there are {', '.join(analyses())}") from None


def analysis_of(table: str) -> Analysis:
    """The analysis that makes a table."""
    return next(each for each in analyses().values() if any(own.name == table for own in each.tables))


def tables() -> dict[str, Table]:
    """Every table by its name, in the order of the report."""
    return {
        table.name: table if table.command else replace(table, command=each.name)
        for each in analyses().values()
        for own in each.tables
        for table in _with_seeds(own)
    }


def _with_seeds(table: Table) -> tuple[Table, ...]:
    """A table, and the one over seeds where it has one."""
    return (table,) if table.spread is None else (table, seeds.table_of(table, table.spread))


def declared(name: str) -> Table:
    """The table of that name; of one that nobody declares, a plain one."""
    return tables().get(name) or Table(name, name.replace("_", " ").capitalize(), ())


def facts_of(table: Result) -> dict[str, list[Fact]]:
    """Network -> what the table says of it; of a table without networks, what it says under an empty name.

    A table that nobody has words for, or that lacks a column because an older version wrote it, says nothing.
    """
    place = declared(table.name).facts
    if not place or not table.rows:
        return {}
    try:
        return {network: named(place)(table, network) for network in table.networks or [""]}
    except (KeyError, TypeError, ValueError, IndexError, ZeroDivisionError):
        return {}


def studied() -> list[Table]:
    """The tables that a full study of one network has, in the order of the report."""
    steps = {step.table for each in analyses().values() for step in each.study if not each.needs.together}
    return [table for name, table in tables().items() if name in steps]


def plots() -> dict[str, tuple[Table, Plot]]:
    """Every figure by its name, with the table that it belongs to."""
    return {plot.name: (table, plot) for table in tables().values() for plot in table.plots}


def claims() -> dict[int, tuple[Claim, Table]]:
    """Every claim by its number, with the first table that speaks to it."""
    found: dict[int, tuple[Claim, Table]] = {}
    for table in tables().values():
        for claim in table.claims:
            found.setdefault(claim.number, (claim, table))
    return dict(sorted(found.items()))
