"""Figures of the papers' networks: counted beside printed, and multiply-adds against parameters."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from resnet_probe.tables import Result

FAMILIES = {  # beginning of a title -> name in the legend, colour of the palette, marker
    "ResNet": ("residual", "blue", "o"),
    "Plain": ("plain", "green", "D"),
    "VGG": ("VGG", "vermillion", "s"),
    "GoogLeNet": ("GoogLeNet", "purple", "^"),
    "AlexNet": ("AlexNet", "orange", "v"),
    "LeNet": ("LeNet-5", "black", "P"),
}
LABELLED_BELOW = (14, 16, 50, 164, 1202)  # depths whose numbers would stand on a neighbour's
QUANTITIES = {"parameters": "parameters", "multiply_adds": "multiply-adds for one input"}


def _family(row: dict[str, Any]) -> tuple[str, str, str]:
    return next((look for start, look in FAMILIES.items() if row["title"].startswith(start)), ("others", "sky", "X"))


def plot_zoo(result: Result) -> Figure:
    """Bars of parameters and multiply-adds, printed numbers as marks, and the ratio of counted to printed; 178 mm wide.

    In the panel of ratios a filled marker is the network that the source counted, an open one the network in use where
    that is another one; the grey band is 2 % to either side.

    Raises:
        ValueError: the table is empty.
    """
    from math import floor, log10  # noqa: PLC0415

    from resnet_probe.figures import INK, PALETTE, legend_above, new_figure, style  # noqa: PLC0415

    rows = _rows(result)
    with style():
        figure, axes = new_figure(
            "page", height=20 + 4.2 * len(rows), cols=3, sharey=True, gridspec_kw={"width_ratios": [1, 1, 0.7]}
        )
        for panel, (quantity, words) in zip(axes, QUANTITIES.items(), strict=False):
            for place, row in enumerate(rows):
                panel.barh(place, row[quantity], height=0.7, color=PALETTE[_family(row)[1]], alpha=0.85)
                if row[f"published_{quantity}"] is not None:
                    x = row[f"published_{quantity}"]
                    panel.vlines(x, place - 0.45, place + 0.45, color=INK, linewidth=1.2)
            counts = [row[quantity] for row in rows]
            panel.set_xscale("log")
            panel.set_xlim(left=10 ** floor(log10(min(counts))), right=4 * max(counts))
            panel.set_xlabel(words)
        axes[2].axvspan(0.98, 1.02, color="0.9", linewidth=0, zorder=0)
        for place, row in enumerate(rows):
            if row["multiply_adds_ratio"] is not None:
                _draw_ratio(axes[2], place, row)
        axes[2].set_xlabel("multiply-adds,\ncounted / printed")
        for panel in axes:
            panel.grid(axis="x")
            panel.tick_params(axis="y", length=0)
        axes[0].set_yticks(range(len(rows)), [f"{row['title']} ({row['input']})" for row in rows])
        axes[0].set_ylim(len(rows) - 0.4, -0.6)
        dot: dict[str, Any] = {"color": INK, "linestyle": "", "marker": "o"}
        handles = [
            axes[0].barh(0, 0, color="0.6", label="counted here"),
            *axes[0].plot([], [], color=INK, marker="|", linestyle="", markersize=7, label="printed"),
            *axes[0].plot([], [], **dot, label="the network that the source counted"),
            *axes[0].plot([], [], **dot, markerfacecolor="white", label="the one in use, where it differs"),
        ]
        legend_above(figure, handles)
    return figure


def _draw_ratio(axes: Axes, place: int, row: dict[str, Any]) -> None:
    from resnet_probe.figures import PALETTE  # noqa: PLC0415

    look: dict[str, Any] = {"color": PALETTE[_family(row)[1]], "linestyle": "", "marker": "o", "markersize": 3.4}
    ratio, as_counted = row["multiply_adds_ratio"], row["as_counted_ratio"]
    if as_counted is None:
        axes.plot(ratio, place, **look)
    else:
        axes.plot([ratio, as_counted], [place, place], color=look["color"], linewidth=0.8)
        axes.plot(ratio, place, **look, markerfacecolor="white")
        axes.plot(as_counted, place, **look)


def plot_zoo_scatter(result: Result) -> Figure:
    """Multiply-adds against parameters, filled for 224x224 images and open for 32x32; one column (85 mm) wide.

    Numbers are depths. Plain networks lie under the residual ones of the same depth.

    Raises:
        ValueError: the table is empty.
    """
    from resnet_probe.figures import GREY, PALETTE, legend_above, new_figure, style  # noqa: PLC0415

    rows = _rows(result)
    with style():
        figure, axes = new_figure("column", height=88)
        seen: set[str] = set()
        told: set[tuple[str, int]] = set()
        for row in rows:
            name, colour, marker = _family(row)
            plain, large = name == "plain", row["input"].endswith("224x224")
            x, y = row["parameters"], row["multiply_adds"]
            axes.plot(
                x, y, linestyle="", marker=marker, color=PALETTE[colour], markeredgewidth=0.9,
                markerfacecolor=PALETTE[colour] if large else "white", markersize=7 if plain else 4,
                zorder=2 if plain else 3, label=None if name in seen else name,
            )  # fmt: skip
            seen.add(name)
            if name in ("residual", "VGG") and (name, row["depth"]) not in told:
                told.add((name, row["depth"]))
                below = row["depth"] in LABELLED_BELOW
                place: dict[str, Any] = {"xytext": (4, -7) if below else (-4, 3), "ha": "left" if below else "right"}
                axes.annotate(str(row["depth"]), (x, y), textcoords="offset points", fontsize=5.5, **place)
        axes.plot([], [], linestyle="", marker="o", color=GREY, label="224x224 images")
        axes.plot([], [], linestyle="", marker="o", color=GREY, markerfacecolor="white", label="32x32 images")
        axes.set_xscale("log")
        axes.set_yscale("log")
        axes.set(xlabel="parameters", ylabel="multiply-adds for one input")
        axes.margins(0.08)
        axes.grid()
        legend_above(figure)
    return figure


def _rows(result: Result) -> tuple[dict[str, Any], ...]:
    if not result.rows:
        raise ValueError(f"table {result.name} has no rows, so there is nothing to draw")
    return result.rows
