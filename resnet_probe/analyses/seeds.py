"""Several trainings of one network: mean, standard deviation and interval over them, position by position.

A table that declares a `Spread` has a second one, `<name>_seeds`, wherever it holds several checkpoints of one
architecture. The unit is the training; intervals over images are those of the single networks.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from math import isfinite
from typing import TYPE_CHECKING, Any, TypeVar

from resnet_probe.analyses.columns import interval
from resnet_probe.analyses.declaration import Column, Fact, Plot, Spread, Table
from resnet_probe.statistics import over_seeds
from resnet_probe.tables import Result

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Name = TypeVar("Name", bound=Hashable)

SUFFIX = "_seeds"


def table_of(table: Table, over: Spread) -> Table:
    """The declaration of the second table."""
    kept = {column.key: column for column in table.columns}
    return Table(
        f"{table.name}{SUFFIX}",
        f"{table.title}, over seeds",
        (
            Column("network", str, "name of the architecture"),
            *(kept[key] for key in over.position),
            Column("measure", str, f"column of `{table.name}.csv`"),
            Column("seeds", int, "checkpoints of the architecture"),
            Column("mean", float, "over them"),
            Column("std", float, "standard deviation over them (n - 1)"),
            *interval("", "the mean's 95 % interval over seeds (Student)", method="checkpoints"),
        ),
        plots=(Plot(f"{table.name}{SUFFIX}", f"{__name__}:plot"),),
        facts=f"{__name__}:facts",
        parent=table.name,
        listed=False,
    )


def spread(result: Result, table: Table) -> Result | None:
    """The second table; None where no two checkpoints are trainings of one architecture (`trainings`).

    Positions that not all of them have, and measures without a finite value, are left out.
    """
    over = table.spread
    if over is None:
        return None
    groups = trainings({name: result.about(name) for name in result.networks})
    rows: list[dict[str, Any]] = []
    for arch, networks in groups.items():
        found = [{tuple(row[key] for key in over.position): row for row in result.of(name)} for name in networks]
        for measure in over.measures:
            for position in found[0]:
                values = [each[position][measure] for each in found if position in each]
                if len(values) < len(networks) or not all(v is not None and isfinite(v) for v in values):
                    continue
                over_all = over_seeds(values)
                rows.append(
                    {
                        "network": arch, **dict(zip(over.position, position, strict=True)), "measure": measure,
                        "seeds": over_all.count, "mean": over_all.mean, "std": over_all.std, "low": over_all.low,
                        "high": over_all.high,
                    }
                )  # fmt: skip
    members = {arch: {"checkpoints": names} for arch, names in groups.items()}
    kept = {key: value for key, value in result.settings.items() if key != "networks"}
    return table_of(table, over).result(rows, **{**kept, "networks": members}) if rows else None


def trainings(networks: Mapping[Name, Mapping[str, Any]]) -> dict[str, list[Name]]:
    """Architecture -> the networks that are several trainings of it.

    They come from different files that were not edited, and were measured on the same images.

    Args:
        networks: name -> what the settings say of it.
    """
    trained = {
        name: about
        for name, about in networks.items()
        if about.get("arch") and about.get("checkpoint_sha256") and not about.get("edits")
    }
    groups: dict[str, list[Name]] = {}
    for arch in dict.fromkeys(about["arch"] for about in trained.values()):
        mine = {name: about for name, about in trained.items() if about["arch"] == arch}
        files = {about["checkpoint_sha256"] for about in mine.values()}
        images = {about.get("data_fingerprint") for about in mine.values()}
        if 1 < len(mine) == len(files) and len(images) == 1:
            groups[arch] = list(mine)
    return groups


def facts(table: Result, network: str) -> list[Fact]:
    """Of each measure the position where the trainings differ most."""
    told = []
    for measure in dict.fromkeys(row["measure"] for row in table.of(network)):
        rows = [row for row in table.of(network) if row["measure"] == measure]
        widest = max(rows, key=lambda row: row["std"])
        at = widest[table.columns[1]]
        text = (
            f"{widest['mean']:.4g} +- {widest['std']:.2g} over {widest['seeds']} checkpoints at {at}, where they "
            f"differ most (95 % interval {widest['low']:.4g} to {widest['high']:.4g})"
        )
        told.append(Fact(f"{measure} over seeds", text, widest["mean"], widest["low"], widest["high"]))
    return told


def plot(result: Result) -> Figure:
    """Mean over the checkpoints by position, of the first measure; bands: one standard deviation, and the interval."""
    from resnet_probe.figures import label, legend_above, network_colours, new_figure, style  # noqa: PLC0415

    names = list(dict.fromkeys(row["network"] for row in result.rows))
    looks = network_colours(names, result.settings.get("colours"))
    measure = result.rows[0]["measure"]
    with style():
        figure, axes = new_figure("column", aspect=0.68)
        tops: list[float] = []
        for name in names:
            rows = [row for row in result.of(name) if row["measure"] == measure]
            x, mean, std = _places(rows, result.columns), [r["mean"] for r in rows], [r["std"] for r in rows]
            colour = looks[name]["color"]
            interval = [[row[end] for row in rows] for end in ("low", "high")]
            axes.fill_between(x, *interval, color=colour, alpha=0.12, linewidth=0)
            around = [[m + sign * s for m, s in zip(mean, std, strict=True)] for sign in (-1, 1)]
            axes.fill_between(x, *around, color=colour, alpha=0.3, linewidth=0)
            seeds = rows[0]["seeds"]
            axes.plot(x, mean, color=colour, marker=looks[name]["marker"], markersize=3, linewidth=1,
                      label=f"{label(name)}, {seeds} seeds")  # fmt: skip
            tops += around[1]
        axes.set_ylim(0, 1.15 * max(tops) or None)  # two seeds have an interval of 12.7 standard errors
        if "block" in result.columns or "layer" in result.columns:
            axes.set_xlabel("index from the input (-1: intact)" if -1 in x else "index from the input")
        else:
            axes.set_xlabel("path length (residual branches taken)")
        axes.set_ylabel(measure.replace("_", " "))
        legend_above(figure)
    return figure


def _places(rows: Sequence[dict[str, Any]], columns: Sequence[str]) -> list[float]:
    """Where each row stands: its index or length; the intact network before the first."""
    key = next((each for each in ("index", "length") if each in columns), None)
    return [number if key is None else -1 if row[key] is None else row[key] for number, row in enumerate(rows)]
