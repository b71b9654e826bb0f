"""Figures of pruning: the frontier of every order, and the blocks as they fall."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from resnet_probe.analyses.prune import ORDERS
from resnet_probe.figures.looks import DASHED

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from resnet_probe.tables import Result

HEALED = {"statistics": "BN re-estimated", "trained": "fine-tuned"}
BANDS = ("greedy", "beam", "exhaustive")  # lines with a band; the others have none, or nothing could be seen


def plot(result: Result) -> Figure:
    """Error on the images that report against the number of removed blocks, and against the parameters left.

    Bands: 95 % Wilson intervals over images of the intact network and of searches, and the range of the random orders.
    """
    from matplotlib.ticker import MaxNLocator  # noqa: PLC0415

    from resnet_probe.figures import GREY, INK, label, legend_above, new_figure, style  # noqa: PLC0415

    first = result.networks[0]
    everything, about = result.of(first), result.about(first)
    rows = [row for row in everything if not row.get("healing")]
    intact = rows[0]
    with style():
        figure, panels = new_figure("page", aspect=0.42, cols=2, sharey=True)
        for axes, key, factor in zip(panels, ("removed", "parameters"), (1, 1e-3), strict=True):
            axes.axhspan(intact["error_low"], intact["error_high"], color=GREY, alpha=0.18, linewidth=0)
            axes.axhline(intact["error"], color=INK, linewidth=0.8, linestyle=DASHED,
                         label="intact" if key == "removed" else None)  # fmt: skip
            for order, look in _looks(rows).items():
                mine = [row for row in rows if row["order"] == order]
                if order == "random":
                    mine, low, high = _spread(mine, intact)
                else:
                    mine = [intact, *mine]
                    low, high = ([row[f"error_{end}"] for row in mine] for end in ("low", "high"))
                x = [factor * row[key] for row in mine]
                name = ORDERS[order] if key == "removed" else None
                if order == "random":
                    axes.fill_between(
                        x, low, high, color=GREY, alpha=0.25, linewidth=0, label=f"{name}: range" if name else None
                    )
                elif order in BANDS:
                    axes.fill_between(x, low, high, color=look["color"], alpha=0.18, linewidth=0)
                axes.plot(x, [row["error"] for row in mine], label=name, **look)
            for healing, marker in (("statistics", "x"), ("trained", "*")):
                mine = [row for row in everything if row.get("healing") == healing]
                if mine:
                    x, y = ([scale * row[name] for row in mine] for name, scale in ((key, factor), ("error", 1)))
                    ends = [[abs(row["error"] - row[f"error_{end}"]) for row in mine] for end in ("low", "high")]
                    words = f"{ORDERS[mine[0]['order']]}, {HEALED[healing]}" if key == "removed" else None
                    axes.errorbar(x, y, yerr=ends, color=INK, linestyle="", marker=marker, markersize=5, elinewidth=0.6,
                                  label=words, zorder=5)  # fmt: skip
        if classes := about.get("classes"):
            for axes in panels:
                axes.axhline(100 * (1 - 1 / classes), color=GREY, linewidth=0.6, linestyle=":", zorder=0)
        panels[0].set_ylim(bottom=0)
        panels[0].xaxis.set_major_locator(MaxNLocator("auto", integer=True))
        panels[0].set_xlabel("removed blocks")
        panels[0].set_ylabel("error (%), 95 % interval")
        panels[1].invert_xaxis()
        panels[1].set_xlabel("parameters that are left (thousands)")
        chose, report = about["choose"], about["report"]
        said = [label(first, 22), f"{chose['images']:,} {chose['split']} images chose"]
        said.append(f"{intact['images']:,} {report['split']} images report")
        warning = ["the same images chose and report"] if about["same_images"] else []
        panels[0].set_title("\n".join([*said, *warning]), fontsize=7)
        legend_above(figure)
    return figure


def plot_orders(result: Result) -> Figure:
    """When each block falls: a row for each order, a column for each block, dark the first to go."""
    import numpy as np  # noqa: PLC0415
    import seaborn as sns  # noqa: PLC0415
    from matplotlib.ticker import MaxNLocator  # noqa: PLC0415

    from resnet_probe.figures import label, new_figure, style  # noqa: PLC0415

    first = result.networks[0]
    rows, about = [row for row in result.of(first) if not row.get("healing")], result.about(first)
    players, stages = about["players"], about["stages"]
    orders = [order for order in _looks(rows) if order != "random"]
    falls = np.full((len(orders), len(players)), np.nan)
    for line, order in zip(falls, orders, strict=True):
        sets = {row["removed"]: row["blocks"].split() for row in rows if row["order"] == order}
        for place, block in enumerate(players):  # after the last set that keeps it
            line[place] = 1 + max((removed for removed, gone in sets.items() if block not in gone), default=0)
    with style():
        figure, axes = new_figure("page", height=24 + 5.2 * len(orders))
        bar = {"label": "falls as number", "ticks": MaxNLocator(integer=True)}
        words = [ORDERS[order] for order in orders]
        sns.heatmap(falls, cmap="viridis", cbar_kws=bar, xticklabels=players, yticklabels=words, ax=axes)
        for place in range(1, len(players)):
            if stages[place] != stages[place - 1]:
                axes.axvline(place, color="white", linewidth=1.5)
        axes.tick_params(labelsize=5.5)
        axes.set_title(label(first, 22), fontsize=7)
    return figure


def _looks(rows: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Per order its line: colours of the palette, dashed when they come round again."""
    from resnet_probe.figures import GREY, PALETTE  # noqa: PLC0415

    names = [name for name in ORDERS if any(row["order"] == name for row in rows)]
    colours = list(PALETTE.values())
    found: dict[str, dict[str, Any]] = {}
    for number, name in enumerate(name for name in names if name != "random"):
        round_ = number // len(colours)
        found[name] = {
            "color": colours[number % len(colours)], "linestyle": ("-", (0, (3, 1.2)))[round_ % 2],
            "linewidth": 1.5 if name in BANDS else 0.9,
        }  # fmt: skip
    if "random" in names:
        found["random"] = {"color": GREY, "linestyle": "-", "linewidth": 0.9}
    return {name: found[name] for name in names}


def _spread(
    rows: list[dict[str, Any]], intact: dict[str, Any]
) -> tuple[list[dict[str, Any]], list[float], list[float]]:
    """Of the random orders by the number removed: means, lowest and highest errors; the intact network first."""
    from statistics import fmean  # noqa: PLC0415

    means, low, high = [intact], [intact["error"]], [intact["error"]]
    for removed in sorted({row["removed"] for row in rows}):
        mine = [row for row in rows if row["removed"] == removed]
        errors = [row["error"] for row in mine]
        means.append({key: fmean(row[key] for row in mine) for key in ("removed", "parameters", "error")})
        low.append(min(errors))
        high.append(max(errors))
    return means, low, high
