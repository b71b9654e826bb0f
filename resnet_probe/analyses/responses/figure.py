"""The figure of layer responses, drawn from the table alone."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from resnet_probe.tables import Result


def plot(result: Result) -> Figure:
    """Standard deviation of each layer's response, in original order and sorted (He et al. 2015, Fig. 7).

    Layers on shortcuts have open markers. Where one network has more than one and a half times the layers of another,
    positions are relative. Where networks differ by more than a factor of 20 the axis is logarithmic.

    Raises:
        ValueError: the table is empty or has other columns.
    """
    from matplotlib.ticker import MaxNLocator  # noqa: PLC0415

    from resnet_probe.figures import label, legend_above, network_colours, new_figure, style  # noqa: PLC0415

    needed = {"network", "index", "rank", "std"}
    if not result.rows or not needed <= set(result.columns):
        raise ValueError(f"table {result.name} needs rows with the columns {', '.join(sorted(needed))}")
    networks = list(dict.fromkeys(row["network"] for row in result.rows))
    looks = network_colours(networks, result.settings.get("colours"))
    layers = Counter(row["network"] for row in result.rows)
    relative = len(set(layers.values())) > 1
    with style():
        figure, (above, below) = new_figure("column", height=104, rows=2, sharey=True)
        for name in networks:
            rows = [row for row in result.rows if row["network"] == name]
            look = looks[name]
            scale = max(len(rows) - 1, 1) if relative else 1
            line = {"color": look["color"], "linestyle": look["linestyle"], "linewidth": 0.9}
            ordered = sorted(rows, key=lambda row: row["index"])
            x, y = [row["index"] / scale for row in ordered], [row["std"] for row in ordered]
            above.plot(x, y, **line)
            faces = ["white" if row.get("part") == "shortcut" else look["color"] for row in ordered]
            size = 5 if len(rows) > 40 else 10
            above.scatter(
                x, y, s=size, marker=look["marker"], c=faces, edgecolors=look["color"], linewidths=0.6, zorder=3
            )
            above.plot([], [], **line, marker=look["marker"], markersize=3, label=f"{label(name)} ({len(rows)} layers)")
            by_rank = sorted(rows, key=lambda row: row["rank"])
            marks = {"marker": look["marker"], "markersize": 0.8 * size**0.5}
            below.plot([row["rank"] / scale for row in by_rank], [row["std"] for row in by_rank], **line, **marks)
        stds = [row["std"] for row in result.rows if row["std"] > 0]
        if stds and max(stds) > 20 * min(stds):
            above.set_yscale("log")
        else:
            above.set_ylim(0, 1.06 * max(stds, default=1))
        ends = " (0 first, 1 last)" if relative else ""
        above.set_xlabel(f"layer, in original order{ends}")
        below.set_xlabel(f"layer, by falling standard deviation{ends}")
        for axes in (above, below):
            axes.set_ylabel("std of response")
            axes.grid(axis="y")
            if not relative:
                axes.xaxis.set_major_locator(MaxNLocator("auto", integer=True, min_n_ticks=1))
        legend_above(figure)
    return figure
