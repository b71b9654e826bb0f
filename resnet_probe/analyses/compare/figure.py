"""The figure that compares networks: lesions, responses and path lengths, drawn from their tables alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from resnet_probe.analyses.compare.table import INTACT
from resnet_probe.figures.looks import DASHED

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from resnet_probe.tables import Result

Rows = Sequence[dict[str, Any]]
Looks = Mapping[str, dict[str, Any]]
IN_VIEW = 1e-3  # lengths with fewer paths, relative to the most frequent length, are out of view


def plot(
    compare: Result, lesion: Result | None = None, responses: Result | None = None, paths: Result | None = None
) -> Figure:
    """Error after each single deletion, layer responses and path lengths of all networks, 178 mm wide.

    Left (Veit et al. 2016, Fig. 3): error by position of the deleted unit; dashed lines are the intact networks, open
    markers units that resize, whiskers 95 % intervals over images. Middle (He et al. 2015, Fig. 7): standard deviation
    of each layer's response. Right (Veit et al. 2016, Fig. 6a): paths by length in layers, each distribution relative
    to its most frequent length. A table that is missing has no panel; a network keeps its colour in all.

    Args:
        compare: the table `compare`, which says which networks there are.
        lesion, responses, paths: the tables of these names, with the same networks.

    Raises:
        ValueError: there is nothing to draw.
    """
    from resnet_probe.figures import GREY, INK, label, legend_above, network_colours, new_figure, style  # noqa: PLC0415

    tables = {table.name: table for table in (compare, lesion, responses, paths) if table is not None}
    panels = [name for name in PANELS if name in tables and tables[name].rows]
    if not panels or not compare.rows:
        raise ValueError(f"nothing to compare: give rows in compare.csv and in any of {', '.join(PANELS)}.csv")
    networks = [row["network"] for row in compare.rows]
    looks = network_colours(networks, compare.settings.get("colours"))
    with style():
        widths = [1.5 if name == "lesion" else 1.0 for name in panels]
        figure, axes = new_figure(
            "page", height=66, cols=len(panels), squeeze=False, gridspec_kw={"width_ratios": widths}
        )
        for number, name in enumerate(panels):
            panel = axes[0, number]
            PANELS[name](panel, tables, looks)
            panel.set_title("abc"[number], fontweight="bold")
        handles: list[Any] = [
            axes[0, 0].plot([], [], **_line(looks[name]), marker=looks[name]["marker"], label=label(name))[0]
            for name in networks
        ]
        if "lesion" in panels:
            handles += axes[0, 0].plot([], [], color=INK, linewidth=0.8, linestyle=DASHED, label="intact")
            if any(row["resizes"] for row in tables["lesion"].rows):
                open_marker = {"marker": "o", "markerfacecolor": "white", "linestyle": "", "markeredgewidth": 0.8}
                handles += axes[0, 0].plot([], [], color=INK, **open_marker, label="unit that resizes")
            if _chance(compare.rows):
                handles += axes[0, 0].plot([], [], color=GREY, linewidth=0.8, linestyle=":", label="chance")
        legend_above(figure, handles)
    return figure


def _line(look: dict[str, Any]) -> dict[str, Any]:
    return {"color": look["color"], "linewidth": 0.9}  # solid: dashed lines are the intact networks


def _of(name: str, rows: Rows) -> list[dict[str, Any]]:
    return [row for row in rows if row["network"] == name]


def _chance(rows: Rows) -> float | None:
    """The error of a guess in percent, if it is the same for all networks."""
    found = {row["chance"] for row in rows if row.get("chance") is not None}
    return found.pop() if len(found) == 1 else None


def _lesions(axes: Axes, tables: Mapping[str, Result], looks: Looks) -> None:
    from resnet_probe.figures import GREY  # noqa: PLC0415

    rows = tables["lesion"].rows
    for name, look in looks.items():
        found = _of(name, rows)
        deleted = [row for row in found if row["block"] != INTACT]
        if not deleted:
            continue
        intact = next(row for row in found if row["block"] == INTACT)
        axes.axhline(intact["error"], color=look["color"], linewidth=0.8, linestyle=DASHED, zorder=1)
        span = len(deleted) - 1
        x = [row["index"] / span if span else 0.5 for row in deleted]
        y = [row["error"] for row in deleted]
        axes.plot(x, y, **_line(look), zorder=2)
        low = [row["error"] - row["error_low"] for row in deleted]
        high = [row["error_high"] - row["error"] for row in deleted]
        axes.errorbar(x, y, yerr=[low, high], fmt="none", ecolor=look["color"], elinewidth=0.5, zorder=2)
        faces = ["white" if row["resizes"] else look["color"] for row in deleted]
        axes.scatter(
            x, y, c=faces, edgecolors=look["color"], marker=look["marker"], s=_size(deleted), linewidths=0.8, zorder=3
        )
    if chance := _chance(tables["compare"].rows):
        axes.axhline(chance, color=GREY, linewidth=0.8, linestyle=":", zorder=0)
    axes.set_ylim(0, 104)
    axes.set_xlim(-0.03, 1.03)
    axes.set(xlabel="position of the deleted unit (0 first, 1 last)", ylabel="error (%)")


def _responses(axes: Axes, tables: Mapping[str, Result], looks: Looks) -> None:
    rows = tables["responses"].rows
    layers = [len(found) for name in looks if (found := _of(name, rows))]
    relative = len(set(layers)) > 1
    for name, look in looks.items():
        found = sorted(_of(name, rows), key=lambda row: row["index"])
        span = max(len(found) - 1, 1) if relative else 1
        x, y = [row["index"] / span for row in found], [row["std"] for row in found]
        axes.plot(x, y, **_line(look))
        faces = ["white" if row.get("part") == "shortcut" else look["color"] for row in found]
        axes.scatter(
            x, y, c=faces, edgecolors=look["color"], marker=look["marker"], s=_size(found), linewidths=0.6, zorder=3
        )
    stds = [row["std"] for row in rows if row["std"] > 0]
    if stds and max(stds) > 20 * min(stds):
        axes.set_yscale("log")
    else:
        axes.set_ylim(0, 1.06 * max(stds, default=1))
    axes.set(xlabel="layer (0 first, 1 last)" if relative else "layer, in original order", ylabel="std of response")


def _paths(axes: Axes, tables: Mapping[str, Result], looks: Looks) -> None:
    from matplotlib.ticker import MaxNLocator  # noqa: PLC0415

    rows = [row for row in tables["paths"].rows if row["unit"] == "layer"]
    longest = 0
    for name, look in looks.items():
        found = sorted(_of(name, rows), key=lambda row: row["length"])
        if not found:
            continue
        most = max(row["fraction"] for row in found)
        seen = [row for row in found if row["fraction"] >= IN_VIEW * most]
        x, y = [row["length"] for row in seen], [row["fraction"] / most for row in seen]
        longest = max(longest, *x)
        if len(seen) == 1:
            axes.vlines(x, 0, y, **_line(look))
        else:
            axes.plot(x, y, **_line(look))
        axes.plot(x, y, color=look["color"], linestyle="", marker=look["marker"], markersize=2.2)
    axes.set_xlim(0, 1.06 * longest)
    axes.set_ylim(0, 1.06)
    axes.xaxis.set_major_locator(MaxNLocator("auto", integer=True, min_n_ticks=1))
    axes.set(xlabel="path length (layers)", ylabel="paths (most frequent: 1)")


def _size(rows: Rows) -> float:
    return 5 if len(rows) > 40 else 9


PANELS = {"lesion": _lesions, "responses": _responses, "paths": _paths}
