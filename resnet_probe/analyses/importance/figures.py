"""Figures of importance: values beside lesions, the error of all subsets, interactions of pairs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from resnet_probe.analyses.importance import UNITS
from resnet_probe.figures.looks import DASHED

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from resnet_probe.tables import Result

APART = 0.16  # of the distance between two blocks, between the marks of one


def plot(result: Result) -> Figure:
    """Shapley value (filled) and single lesion (open) of each block, by loss and by accuracy.

    Whiskers are 95 % intervals: of the lesion over images, of the value over images and, where orders were drawn, over
    draws too.
    """
    from matplotlib.ticker import MaxNLocator  # noqa: PLC0415

    from resnet_probe.figures import GREY, label, legend_above, network_colours, new_figure, style  # noqa: PLC0415

    networks = result.networks
    looks = network_colours(networks, result.settings.get("colours"))
    with style():
        figure, panels = new_figure("column", aspect=0.95, rows=2, sharex=True)
        for axes, (measure, unit) in zip(panels, UNITS.items(), strict=True):
            axes.axhline(0, color=GREY, linewidth=0.6, zorder=0)
            for number, network in enumerate(networks):
                rows = [row for row in result.of(network) if row["measure"] == measure]
                look = looks[network]
                for place, name, face, what in (
                    (-1, "shapley", look["color"], "Shapley value"), (1, "lesion", "white", "single lesion")
                ):  # fmt: skip
                    x = [row["index"] + APART * (place + 0.5 * number) for row in rows]
                    y = [row[name] for row in rows]
                    known = [row[f"{name}_low"] is not None for row in rows]
                    ends = [
                        [
                            abs(row[name] - row[f"{name}_{end}"]) if has else 0
                            for row, has in zip(rows, known, strict=True)
                        ]
                        for end in ("low", "high")
                    ]
                    axes.errorbar(
                        x, y, yerr=ends, color=look["color"], marker=look["marker"], markersize=3.2,
                        markerfacecolor=face, markeredgewidth=0.7, linestyle="", elinewidth=0.6,
                        label=f"{label(network, 22)}: {what}" if measure == "loss" else None,
                    )  # fmt: skip
            axes.set_ylabel(f"by {measure} ({unit}), 95 %")
        axes.xaxis.set_major_locator(MaxNLocator("auto", integer=True))
        axes.set_xlabel("block (index from the input)")
        legend_above(figure)
    return figure


def plot_subsets(result: Result) -> Figure:
    """Error of every subset of blocks by its size; the best and the worst of each size are joined."""
    from matplotlib.ticker import MaxNLocator  # noqa: PLC0415

    from resnet_probe.figures import GREY, label, legend_above, network_colours, new_figure, style  # noqa: PLC0415

    networks = result.networks
    looks = network_colours(networks, result.settings.get("colours"))
    with style():
        figure, axes = new_figure("column", aspect=0.68)
        for network in networks:
            rows, colour = result.of(network), looks[network]["color"]
            x, y = ([row[key] for row in rows] for key in ("kept", "error"))
            axes.plot(x, y, linestyle="", marker="_", markersize=7, markeredgewidth=0.7, color=colour, alpha=0.6,
                      label=f"{label(network, 22)}: each subset")  # fmt: skip
            sizes = sorted(set(x))
            for pick, marker, what in ((min, "v", "best"), (max, "^", "worst")):
                ends = [pick((r for r in rows if r["kept"] == size), key=lambda r: r["error"]) for size in sizes]
                axes.errorbar(
                    sizes, [row["error"] for row in ends], color=colour, marker=marker, markersize=3, linewidth=0.8,
                    yerr=[[abs(row["error"] - row[f"error_{end}"]) for row in ends] for end in ("low", "high")],
                    elinewidth=0.6, label=f"{what} of its size",
                )  # fmt: skip
            axes.axhline(rows[0]["error"], color=colour, linewidth=0.8, linestyle=DASHED, label="all blocks")
        if classes := result.about(networks[0]).get("classes"):
            axes.axhline(100 * (1 - 1 / classes), color=GREY, linewidth=0.9, linestyle=":", zorder=0, label="chance")
        axes.set_ylim(bottom=0)
        axes.xaxis.set_major_locator(MaxNLocator("auto", integer=True))
        axes.set_xlabel("blocks kept")
        axes.set_ylabel("error (%), 95 % interval")
        legend_above(figure)
    return figure


def plot_pairs(result: Result) -> Figure:
    """Heat map of the Shapley interaction index by the loss; a dot marks a pair whose interval leaves zero out."""
    import pandas as pd  # noqa: PLC0415
    import seaborn as sns  # noqa: PLC0415

    from resnet_probe.figures import label, legend_above, new_figure, style  # noqa: PLC0415

    first = result.networks[0]
    rows = pd.DataFrame(row for row in result.of(first) if row["measure"] == "loss")
    names = list(dict.fromkeys([*rows["block_a"], *rows["block_b"]]))
    values = rows.pivot(index="block_b", columns="block_a", values="interaction").reindex(names[1:], columns=names[:-1])
    limit = float(rows["interaction"].abs().max()) or 1.0
    with style():
        figure, axes = new_figure("column", aspect=0.86)
        bar = {"label": "interaction (nats)"}
        sns.heatmap(values, cmap="RdBu", vmin=-limit, vmax=limit, cbar_kws=bar, ax=axes)
        told = rows[(rows["interaction_low"] > 0) | (rows["interaction_high"] < 0)]
        place = {name: number + 0.5 for number, name in enumerate(names)}
        x, y = [place[name] for name in told["block_a"]], [place[name] - 1 for name in told["block_b"]]
        axes.plot(x, y, linestyle="", marker="o", markersize=1.8, color="black",
                  label="95 % interval leaves 0 out")  # fmt: skip
        legend_above(figure)
        axes.tick_params(labelsize=5.5)
        axes.set(xlabel="", ylabel="")
        axes.set_title(label(first, 22), fontsize=7)
    return figure
