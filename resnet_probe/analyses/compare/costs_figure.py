"""What networks cost and what they are worth: errors, multiply-adds and times, drawn from the table alone."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from resnet_probe.tables import Result


def plot_costs(compare: Result) -> Figure:
    """Error and multiply-adds against parameters; with times, a panel of bars for them; 178 mm wide.

    Whiskers are 95 % intervals of the error over images, and the standard deviation of the time over batches.

    Raises:
        ValueError: the table is empty.
    """
    from resnet_probe.figures import label, legend_above, network_colours, new_figure, style  # noqa: PLC0415

    rows = compare.rows
    if not rows:
        raise ValueError("compare.csv has no rows, so there is nothing to draw")
    looks = network_colours((row["network"] for row in rows), compare.settings.get("colours"))
    timed = [row for row in rows if row["forward_ms"] is not None]
    with style():
        figure, axes = new_figure("page", height=60, cols=3 if timed else 2, squeeze=False)
        errors, adds, *times = axes[0]
        handles = []
        for row in rows:
            look = {"color": looks[row["network"]]["color"], "marker": looks[row["network"]]["marker"]}
            spread = [[row["error"] - row["error_low"]], [row["error_high"] - row["error"]]]
            errors.errorbar(row["parameters"], row["error"], yerr=spread, linestyle="", elinewidth=0.6, **look)
            handles += adds.plot(row["parameters"], row["flops"], linestyle="", label=label(row["network"]), **look)
        errors.set_ylabel("error (%)")
        errors.set_ylim(bottom=0)
        adds.set_ylabel("multiply-adds for one input")
        adds.set_yscale("log")
        for panel in (errors, adds):
            panel.set_xscale("log")
            panel.set_xlabel("parameters")
            panel.grid()
            panel.margins(x=0.15)
            _give_decades(panel, [row["parameters"] for row in rows], "x")
        _give_decades(adds, [row["flops"] for row in rows], "y")
        for panel in times:
            _draw_times(panel, timed, looks)
        for panel, letter in zip(axes[0], "abc", strict=False):
            panel.set_title(letter, fontweight="bold")
        legend_above(figure, handles)
    return figure


def _give_decades(axes: Axes, values: list[int], which: str) -> None:
    """Limits of a logarithmic axis at whole powers of ten, so that at least two ticks have a number."""
    from math import ceil, floor, log10  # noqa: PLC0415

    from matplotlib.ticker import NullFormatter  # noqa: PLC0415

    low, high = floor(log10(min(values)) - 0.05), ceil(log10(max(values)) + 0.05)
    getattr(axes, f"set_{which}lim")(10**low, 10**high)
    getattr(axes, f"{which}axis").set_minor_formatter(NullFormatter())


def _draw_times(axes: Axes, rows: list[dict[str, Any]], looks: Mapping[str, dict[str, Any]]) -> None:
    """Two bars for each network: forward, and forward plus backward."""
    for place, row in enumerate(rows):
        look = looks[row["network"]]
        for offset, kind in ((-0.2, "forward_ms"), (0.2, "backward_ms")):
            face = look["color"] if kind == "forward_ms" else "white"
            axes.bar(place + offset, row[kind], width=0.36, color=face, edgecolor=look["color"], linewidth=0.8)
            axes.errorbar(
                place + offset, row[kind], yerr=row[f"{kind}_std"], ecolor="black", elinewidth=0.6, capsize=1.5
            )
    axes.bar(0, 0, color="0.3", edgecolor="0.3", label="forward")
    axes.bar(0, 0, color="white", edgecolor="0.3", label="forward + backward")
    axes.set_xticks([])
    axes.set_xlim(-0.7, len(rows) - 0.3)
    axes.set(xlabel="network", ylabel=f"ms for a batch of {rows[0]['batch_size']}")
    axes.set_ylim(0, 1.28 * max(row["backward_ms"] + row["backward_ms_std"] for row in rows))
    axes.legend(loc="upper center", ncols=1)
