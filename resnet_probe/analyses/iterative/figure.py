"""The figures of iterative inference, drawn from the tables alone."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from resnet_probe.analyses.iterative import MEASURES

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from resnet_probe.tables import Result

Rows = Sequence[dict[str, Any]]


def plot(result: Result) -> Figure:
    """Every measure by block; a line is the mean over images, a band its standard deviation over images.

    Open markers are blocks that resize; vertical lines stand between stages. Of several networks a panel has
    one measure of each, without bands.

    Raises:
        ValueError: the table is empty or has other columns.
    """
    from matplotlib.ticker import MaxNLocator  # noqa: PLC0415

    from resnet_probe.figures import label, new_figure, style  # noqa: PLC0415

    if not result.networks or not set(MEASURES) <= set(result.columns):
        raise ValueError(f"table {result.name} needs rows with the measures of blocks")
    if len(result.networks) > 1:
        return _several(result)
    rows = result.rows
    with style():
        figure, axes = new_figure("page", height=96, rows=2, cols=4)
        (size, beside, gradient, exit_), (influence, damage, estimation, exits) = axes
        _line(size, rows, "ratio", look=("blue", "o"), name="|F| / |h|", band=True)
        size.set(title="size of the update", ylabel="|F(h)| / |h|")
        size.set_ylim(bottom=0)

        # the gradients' cosines are the claim, and a tenth of the others': a scale of its own for each
        _line(beside, rows, "cos_input", look=("blue", "o"), name="h")
        beside.set(title="update and input", ylabel="cos(F(h), h)")
        _line(gradient, rows, "cos_gradient", look=("vermillion", "s"), name="at the input", band=True)
        _line(gradient, rows, "cos_gradient_out", look=("orange", "^"), name="at the output")
        gradient.set(title="update and gradient", ylabel="cos(F(h), dL/dh)")
        _legend(gradient)
        _line(exit_, rows, "cos_exit", look=("green", "D"), name="dL/dh of the exit")
        exit_.set(title="update, exit gradient", ylabel="cos(F(h), exit's dL/dh)")
        exit_.set_visible(any(row.get("cos_exit") is not None for row in rows))
        for panel in (beside, gradient, exit_):
            panel.axhline(0, color="0.4", linewidth=0.6, zorder=0)

        _line(influence, rows, "influence", look=("blue", "o"), name="1 - cos", band=True)
        _line(influence, rows, "angular", look=("purple", "s"), name="arccos(cos) / π", band=True)
        influence.set(title="turn of h", ylabel="distance of h and next h")
        influence.set_ylim(bottom=0)
        _legend(influence)

        _damage(damage, rows)

        _line(estimation, rows, "estimation", look=("blue", "o"), name="mean")
        _line(estimation, rows, "estimation_std", look=("vermillion", "s"), name="std")
        estimation.axhline(0, color="0.4", linewidth=0.6, zorder=0)
        estimation.set(title="estimation error", ylabel="h minus last h of the stage")
        _legend(estimation)

        _exits(exits, rows, result.about(rows[0]["network"]).get("error"))
        for panel in axes.flat:
            panel.set_xlim(-0.8, len(rows) - 0.2)
            panel.xaxis.set_major_locator(MaxNLocator("auto", integer=True, min_n_ticks=1))
            for before, after in pairwise(rows):
                if before["stage"] != after["stage"]:
                    panel.axvline(after["index"] - 0.5, color="0.85", linewidth=0.6, zorder=0)
        for panel in axes[1]:
            panel.set_xlabel("block (from the input)")
        head = f"{label(rows[0]['network'])}, {rows[0]['images']:,} images (shaded: their standard deviation)"
        figure.suptitle(head + "; open: block that resizes" * any(row["resizes"] for row in rows), fontsize=8, x=0.01,
                        ha="left")  # fmt: skip
    return figure


SEVERAL = (
    ("size of the update", "ratio", "|F(h)| / |h|"),
    ("update and input", "cos_input", "cos(F(h), h)"),
    ("update and gradient", "cos_gradient", "cos(F(h), dL/dh)"),
    ("update, exit gradient", "cos_exit", "cos(F(h), exit's dL/dh)"),
    ("turn of h", "influence", "1 - cos(h, next h)"),
    ("damage of deletion", "lesion_loss", "increase of loss (nats)"),
    ("estimation error", "estimation_std", "std of h minus last h"),
    ("early exits", "exit_accuracy", "accuracy (%)"),
)


def _several(result: Result) -> Figure:
    """One measure a panel, a line for each network, over relative position where they differ in depth."""
    from matplotlib.ticker import MaxNLocator  # noqa: PLC0415

    from resnet_probe.figures import label, legend_above, network_colours, new_figure, style  # noqa: PLC0415

    networks = {name: result.of(name) for name in result.networks}
    looks = network_colours(list(networks), result.settings.get("colours"))
    relative = len({len(rows) for rows in networks.values()}) > 1
    with style():
        figure, axes = new_figure("page", height=104, rows=2, cols=4)
        for panel, (title, column, words) in zip(axes.flat, SEVERAL, strict=True):
            for name, rows in networks.items():
                some = [row for row in rows if row.get(column) is not None]
                x = [row["index"] / max(len(rows) - 1, 1) if relative else row["index"] for row in some]
                if some:
                    panel.plot(x, [row[column] for row in some], **looks[name], markersize=2.6, linewidth=0.9,
                               label=label(name))  # fmt: skip
            panel.set_visible(bool(panel.get_lines()))  # the damage is not known everywhere
            if "cos" in column or column == "lesion_loss":
                panel.axhline(0, color="0.4", linewidth=0.6, zorder=0)
            panel.set(title=title, ylabel=words)
            deepest = 1 if relative else max(map(len, networks.values())) - 1
            panel.set_xlim(-0.05 * deepest, 1.05 * deepest)
            if not relative:
                panel.xaxis.set_major_locator(MaxNLocator("auto", integer=True, min_n_ticks=1))
        for panel in axes[1]:
            panel.set_xlabel("block (0 first, 1 last)" if relative else "block (from the input)")
        legend_above(figure, *axes[0, 0].get_legend_handles_labels())
    return figure


def _line(axes: Axes, rows: Rows, column: str, *, look: tuple[str, str], name: str, band: bool = False) -> None:
    from resnet_probe.figures import PALETTE  # noqa: PLC0415

    some = [row for row in rows if row.get(column) is not None]
    if not some:
        return
    x, y = [row["index"] for row in some], [row[column] for row in some]
    colour, marker = PALETTE[look[0]], look[1]
    if band:
        low = [v - row[f"{column}_std"] for v, row in zip(y, some, strict=True)]
        high = [v + row[f"{column}_std"] for v, row in zip(y, some, strict=True)]
        axes.fill_between(x, low, high, color=colour, alpha=0.15, linewidth=0)
    axes.plot(x, y, color=colour, linewidth=0.9)
    faces = ["white" if row["resizes"] else colour for row in some]
    axes.scatter(x, y, c=faces, edgecolors=colour, marker=marker, s=9, linewidths=0.7, zorder=3)
    axes.plot([], [], color=colour, linewidth=0.9, marker=marker, markersize=2.8, label=name)


def _legend(axes: Axes) -> None:
    """At the top, above all lines."""
    lines = len(axes.get_legend_handles_labels()[1])
    low, high = axes.get_ylim()
    axes.set_ylim(low, high + (0.04 + 0.09 * lines) * (high - low))
    axes.legend(fontsize=6, loc="upper left", borderaxespad=0.1, labelspacing=0.25)


def _damage(axes: Axes, rows: Rows) -> None:
    """Predicted and measured increase of the loss."""
    _line(axes, rows, "first_order", look=("orange", "^"), name="first-order prediction")
    _line(axes, rows, "lesion_loss", look=("blue", "o"), name="measured")
    axes.axhline(0, color="0.4", linewidth=0.6, zorder=0)
    axes.set(title="damage of deletion", ylabel="increase of loss (nats)")
    _legend(axes)


def _exits(axes: Axes, rows: Rows, error: float | None) -> None:
    _line(axes, rows, "exit_accuracy", look=("blue", "o"), name="own classifier")
    _line(axes, rows, "adapter_accuracy", look=("green", "s"), name="least-squares adapter")
    axes.set(title="early exits", ylabel="accuracy (%)")
    axes.set_ylim(0, 103)
    axes.set_yticks(range(0, 101, 20))  # none in the room for the legend
    if error is not None:
        axes.axhline(100 - error, color="0.4", linewidth=0.7, linestyle=(0, (4, 2)), zorder=0, label="whole network")
    _legend(axes)


def plot_ranks(result: Result) -> Figure:
    """Rank correlation of each measure with the measured increase of error, with its 95 % bootstrap interval.

    Filled: all blocks. Open: the blocks that keep their input's shape. Of several networks all blocks alone.

    Raises:
        ValueError: the table is empty or has other columns.
    """
    from resnet_probe.figures import PALETTE, label, legend_above, network_colours, new_figure, style  # noqa: PLC0415

    if not result.rows or not {"measure", "damage", "subset", "rho", "low", "high"} <= set(result.columns):
        raise ValueError(f"table {result.name} needs rows of rank correlations")
    rows = [row for row in result.rows if row["damage"] == "error"] or list(result.rows)
    network, names = rows[0]["network"], result.networks
    by_size = sorted(
        (row for row in rows if row["subset"] == "all" and row["network"] == network), key=lambda row: abs(row["rho"])
    )
    place = {row["measure"]: i for i, row in enumerate(by_size)}
    looks = {("all", network): (PALETTE["blue"], PALETTE["blue"], 0.12),
             ("keep shape", network): (PALETTE["vermillion"], "white", -0.16)}  # fmt: skip
    if len(names) > 1:
        colours = [each["color"] for each in network_colours(names, result.settings.get("colours")).values()]
        shifts = [0.3 - 0.6 * number / (len(names) - 1) for number in range(len(names))]
        looks = {("all", name): (colour, colour, shift)
                 for name, colour, shift in zip(names, colours, shifts, strict=True)}  # fmt: skip
    with style():
        figure, axes = new_figure("column", height=16 + 6.2 * max(len(place), 3))
        for (subset, name), (colour, face, shift) in looks.items():
            some = [row for row in rows if (row["subset"], row["network"]) == (subset, name)]
            some = [row for row in some if row["measure"] in place]
            y = [place[row["measure"]] + shift for row in some]
            axes.hlines(y, [row["low"] for row in some], [row["high"] for row in some], color=colour, linewidth=0.9)
            axes.scatter([row["rho"] for row in some], y, c=face, edgecolors=colour, s=14, linewidths=0.8, zorder=3)
            if some:
                blocks = max(row["blocks"] for row in some)
                words = "all blocks" if subset == "all" else "blocks that keep shape"
                words = f"{words} (up to {blocks})" if len(names) == 1 else label(name)
                axes.plot([], [], color=colour, marker="o", markerfacecolor=face, markersize=3.4, label=words)
        axes.axvline(0, color="0.4", linewidth=0.6, zorder=0)
        axes.set_yticks(range(len(by_size)), [MEASURES.get(row["measure"], row["measure"]) for row in by_size])
        axes.set_xlim(-1.05, 1.05)
        axes.set_xlabel("Spearman's ρ with increase of error")
        axes.grid(axis="x")
        title = label(network) if len(names) == 1 else None
        legend_above(figure, loc="outside upper left", title=title, alignment="left", most=1)
    return figure
