"""The figures of `evaluate`, drawn from its tables alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from resnet_probe.analyses.accuracy.views import SINGLE

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from resnet_probe.tables import Result

MOST_CLASSES = 30  # with a line of their own; of more, the errors are drawn in falling order
FEW = 10  # images in a bin
MOST_SERIES = 7  # in one figure, where there are more than that only single views are drawn

Rows = list[dict[str, Any]]


def plot(result: Result) -> Figure:
    """Top-1 error of each network and view with its 95 % interval.

    Raises:
        ValueError: the table is empty or has other columns.
    """
    from resnet_probe.figures import label, network_colours, new_figure, style  # noqa: PLC0415

    _check(result, {"network", "view", "top1_error", "top1_low", "top1_high"})
    rows = result.rows
    looks = network_colours((row["network"] for row in rows), result.settings.get("colours"))
    with style():
        figure, axes = new_figure("column", height=22 + 5.5 * len(rows))
        for place, row in enumerate(rows):
            whisker = [[row["top1_error"] - row["top1_low"]], [row["top1_high"] - row["top1_error"]]]
            look = {key: looks[row["network"]][key] for key in ("color", "marker")}
            axes.errorbar(row["top1_error"], place, xerr=whisker, **look, markersize=4, elinewidth=0.8, linewidth=0)
        several = len({row["view"] for row in rows}) > 1
        names = [label(row["network"], 22) + (f", {row['view']}" if several else "") for row in rows]
        axes.set_yticks(range(len(rows)), names)
        axes.set_ylim(len(rows) - 0.5, -0.5)
        figure.supxlabel("top-1 error (%), 95 % interval", fontsize="medium")  # wider than axes beside long names
        axes.grid(axis="x")
        axes.tick_params(axis="y", length=0)
    return figure


def plot_classes(result: Result) -> Figure:
    """Error of each class with its 95 % interval; for more than 30 classes the errors in falling order.

    Raises:
        ValueError: the table is empty or has other columns.
    """
    from resnet_probe.figures import legend_above, new_figure, style  # noqa: PLC0415

    _check(result, {"network", "view", "class", "index", "error", "error_low", "error_high"})
    series = _series(result)
    looks = _looks(series, result)
    series = {key: [row for row in rows if row["error"] is not None] for key, rows in series.items()}
    classes = list(dict.fromkeys(row["class"] for row in result.rows))
    with style():
        if len(classes) > MOST_CLASSES:
            figure, axes = new_figure("column", aspect=0.7)
            for name, rows in series.items():
                falling = sorted((row["error"] for row in rows), reverse=True)
                look = {key: looks[name][key] for key in ("color", "linestyle")}
                axes.plot(range(1, len(falling) + 1), falling, label=name, **look)
            axes.set(xlabel="class, by falling error", ylabel="error of the class (%)")
            axes.set_ylim(bottom=0)
            axes.grid(axis="y")
        else:
            step = 0.72 / len(series)
            figure, axes = new_figure("column", height=28 + max(4.2, 2.1 * len(series)) * len(classes))
            for number, (name, rows) in enumerate(series.items()):
                shift = (number - (len(series) - 1) / 2) * step
                _dots(axes, rows, looks[name], name, {c: classes.index(c) + shift for c in classes})
            axes.set_yticks(range(len(classes)), classes)
            axes.set_ylim(len(classes) - 0.5, -0.5)
            for place in range(1, len(classes)):
                axes.axhline(place - 0.5, color="0.92", linewidth=0.5, zorder=0)
            axes.set_xlim(left=-0.02 * axes.get_xlim()[1])  # an error of 0 is not on the axis
            axes.set_xlabel("error of the class (%), 95 % interval")
            axes.grid(axis="x")
            axes.tick_params(axis="y", length=0)
        legend_above(figure)
    return figure


def plot_reliability(result: Result) -> Figure:
    """Accuracy over confidence, in bins, with the number of images in each bin below (Guo et al. 2017, Fig. 1).

    On the diagonal a network is right as often as it says. Whiskers are 95 % intervals of the accuracy. Bins of fewer
    than ten images say little: they have open markers, and neither whiskers nor a line. Where there are no two other
    bins, the legend says so.

    Raises:
        ValueError: the table is empty or has other columns.
    """
    from resnet_probe.figures import GREY, INK, legend_above, new_figure, style  # noqa: PLC0415

    _check(result, {"network", "view", "low", "high", "images", "confidence", "accuracy"})
    series = _series(result)
    with style():
        looks = _looks(series, result)
        figure, (above, below) = new_figure(
            "column", height=100, rows=2, sharex=True, gridspec_kw={"height_ratios": [3, 1]}
        )
        above.plot([0, 1], [0, 1], color=GREY, linewidth=0.8, linestyle=(0, (3, 2)), zorder=1)
        for name, rows in series.items():
            _reliability(above, rows, looks[name], name, alone=len(series) == 1)
            edges = [rows[0]["low"], *(row["high"] for row in rows)]
            look = {key: looks[name][key] for key in ("color", "linestyle")}
            below.stairs([row["images"] or float("nan") for row in rows], edges, baseline=None, linewidth=0.9, **look)
        if any(0 < row["images"] < FEW for rows in series.values() for row in rows):
            few = {"marker": "o", "markerfacecolor": "white", "markeredgewidth": 0.7, "linestyle": ""}
            above.plot([], [], color=INK, **few, markersize=2.8, label=f"bin of fewer than {FEW} images")
            below.axhline(FEW, color=GREY, linewidth=0.6, linestyle=":", zorder=0)
        above.set_xlim(0, 1)
        above.set_ylim(0, 1)
        above.set_ylabel("accuracy, 95 % interval")
        below.set_yscale("log")
        below.set_ylim(bottom=0.8)
        below.yaxis.set_major_formatter("{x:,.0f}")
        below.minorticks_off()
        below.set(ylabel="images", xlabel="confidence (probability of the predicted class)")
        for axes in (above, below):
            axes.grid(axis="y")
        legend_above(figure)
    return figure


def _check(result: Result, needed: set[str]) -> None:
    if not result.rows or not needed <= set(result.columns):
        raise ValueError(f"table {result.name} needs rows with the columns {', '.join(sorted(needed))}")


def _series(result: Result) -> dict[str, Rows]:
    """Rows by the network's name, with the view where a network has several; single views only if there are many."""
    from resnet_probe.figures import label  # noqa: PLC0415

    keys = list(dict.fromkeys((row["network"], row["view"]) for row in result.rows))
    if len(keys) > MOST_SERIES:
        keys = [key for key in keys if key[1] == SINGLE] or keys
    several = len({view for _, view in keys}) > 1
    names = {key: label(key[0], 26) + (f", {key[1]}" if several else "") for key in keys}
    return {name: [row for row in result.rows if (row["network"], row["view"]) == key] for key, name in names.items()}


def _looks(series: Mapping[str, Rows], result: Result) -> dict[str, dict[str, Any]]:
    """The first view of a network has its colour; the others have what is left, in this figure only."""
    from resnet_probe.figures import network_colours, noted, remembered  # noqa: PLC0415

    networks = list(dict.fromkeys(rows[0]["network"] for rows in series.values()))
    known = result.settings.get("colours")
    network_colours(networks, known)
    keys: dict[str, str] = {}
    for name, rows in series.items():
        network = rows[0]["network"]
        keys[name] = network if network not in keys.values() else f"{network}, {rows[0]['view']}"
    with remembered(noted(networks), share=False):
        looks = network_colours([*networks, *keys.values()], known)
    return {name: looks[key] for name, key in keys.items()}


def _dots(
    axes: Axes, rows: Sequence[dict[str, Any]], look: dict[str, Any], name: str, places: dict[str, float]
) -> None:
    x, y = [row["error"] for row in rows], [places[row["class"]] for row in rows]
    whiskers = [
        [max(0.0, row["error"] - row["error_low"]) for row in rows],
        [row["error_high"] - row["error"] for row in rows],
    ]
    kinds = {key: look[key] for key in ("color", "marker")}
    dots = axes.errorbar(x, y, xerr=whiskers, **kinds, markersize=3.2, elinewidth=0.6, linewidth=0, label=name)
    dots.lines[0].set_clip_on(False)  # an error of 0 stands on the edge


def _reliability(axes: Axes, rows: Sequence[dict[str, Any]], look: dict[str, Any], name: str, *, alone: bool) -> None:
    firm = [row for row in rows if row["images"] >= FEW]
    x, y = [row["confidence"] for row in firm], [row["accuracy"] for row in firm]
    whiskers = [
        [max(0.0, row["accuracy"] - row["accuracy_low"]) for row in firm],
        [max(0.0, row["accuracy_high"] - row["accuracy"]) for row in firm],
    ]
    kinds = {key: look[key] for key in ("color", "linestyle")}
    axes.errorbar(x, y, yerr=whiskers, **kinds, linewidth=0.9, elinewidth=0.5, zorder=2)
    for few in (False, True):
        chosen = [row for row in rows if row["images"] and (row["images"] < FEW) is few]
        x, y = [row["confidence"] for row in chosen], [row["accuracy"] for row in chosen]
        face = "white" if few else look["color"]
        dots = {"marker": look["marker"], "s": 8 if few else 12, "linewidths": 0.7, "zorder": 3, "clip_on": False}
        axes.scatter(x, y, c=face, edgecolors=look["color"], **dots)
    if len(firm) < 2 and alone:
        name += ": too few images for a curve"
    axes.plot([], [], **kinds, marker=look["marker"], markersize=3.2, label=name)
