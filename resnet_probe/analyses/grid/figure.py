"""Learning curves, and final errors against depth, drawn from the tables alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from resnet_probe.tables import Result

Rows = Sequence[Mapping[str, Any]]
_BAND = 0.15  # opacity


def plot(result: Result) -> Figure:
    """Training error (dashed) and test error (solid) against iterations, a panel for each family of several networks.

    Lines are means over seeds, bands go from the lowest to the highest seed (He et al. 2015, Fig. 6). More networks
    than there are colours have a panel each, with the test errors of all others in grey. One epoch is a point for each.
    """
    from matplotlib.ticker import MaxNLocator  # noqa: PLC0415

    from resnet_probe.figures import PALETTE, new_figure, style  # noqa: PLC0415

    panels: dict[str, Rows] = {f: _of(result.rows, "family", f) for f in _distinct(result.rows, "family")}
    if all(len(_distinct(rows, "_key")) == 1 for rows in panels.values()):
        panels = {"": result.rows}  # a line for each family fits one panel
    looks = {family: _looks(rows) for family, rows in panels.items()}
    crowded = any(len({look["color"] for look in each.values()}) < len(each) for each in looks.values())
    keys = _distinct(result.rows, "_key")
    if crowded:
        panels = {_text(key): [row for row in result.rows if _key(row) == key] for key in keys}
        looks = {_text(key): {key: {"color": PALETTE["blue"], "label": None}} for key in keys}
    points = all(len({row["iteration"] for row in result.rows if _key(row) == key}) == 1 for key in keys)
    across = 4 if crowded else len(panels)
    size = {"height": 8 + 32 * -(-len(panels) // across)} if crowded else {"aspect": 0.42 if len(panels) > 1 else 0.7}
    with style():
        figure, axes = new_figure(
            "page" if len(panels) > 1 else "column", **size, rows=-(-len(panels) // across), cols=across,
            sharex=crowded, sharey=True, squeeze=False,
        )  # fmt: skip
        for ax in list(axes.flat)[len(panels) :]:
            ax.remove()
        for ax, (name, rows) in zip(axes.flat, panels.items(), strict=False):
            for key in keys if crowded else ():
                if _text(key) != name:
                    others = [row for row in result.rows if _key(row) == key]
                    _curve(ax, others, "test_error", color="0.85", linewidth=0.6, zorder=0)
            for key, look in looks[name].items():
                mine = [row for row in rows if _key(row) == key]
                _curve(ax, mine, "train_error", color=look["color"], **_training(points))
                _curve(ax, mine, "test_error", color=look["color"], label=look["label"], band=True)
            if len(panels) > 1:
                ax.set_title({"resnet": "residual"}.get(name, name), fontsize=7.0 if crowded else None)
            ax.set_ylim(bottom=0)
            ax.set_xlim(left=0)
            ax.xaxis.set_major_locator(MaxNLocator("auto", integer=True, min_n_ticks=1))
            ax.tick_params(labelbottom=True)
        figure.supxlabel("iterations", fontsize="medium")
        figure.supylabel("error (%)", fontsize="medium")
        _legend_above(figure, list(axes.flat), points=points)
    return figure


def _training(points: bool) -> dict[str, Any]:
    if points:
        return {"linestyle": "", "marker": "o", "markersize": 3, "markerfacecolor": "white"}
    return {"linestyle": (0, (3, 1.5)), "linewidth": 0.8}


def _legend_above(figure: Figure, axes: Any, *, points: bool) -> None:
    """One legend for all panels, where it covers no line; then what solid and dashed lines are."""
    from matplotlib.lines import Line2D  # noqa: PLC0415
    from matplotlib.patches import Patch  # noqa: PLC0415

    from resnet_probe.figures import GREY, legend_above  # noqa: PLC0415

    found = {name: handle for ax in axes for handle, name in zip(*ax.get_legend_handles_labels(), strict=True)}
    test = _training(points) | {"markerfacecolor": GREY} if points else {}
    found["test"] = Line2D([], [], color=GREY, **test)
    found["training"] = Line2D([], [], color=GREY, **_training(points))
    if any(ax.collections for ax in axes):
        found["test, range over seeds"] = Patch(color=GREY, alpha=_BAND, linewidth=0)
    legend_above(figure, list(found.values()), list(found))


def plot_grid(result: Result) -> Figure:
    """Final training and test error of each cell against depth.

    Test errors by network where there is one depth only, or more variants and styles than there are colours.
    """
    from resnet_probe.figures import PALETTE, new_figure, style  # noqa: PLC0415

    rows = [row for row in result.rows if row["test_error"] is not None]
    depths = sorted({row["depth"] for row in rows if row["depth"] is not None})
    with style():
        if len(depths) > 1 and len(_series(rows)) <= len(PALETTE):
            figure, axes = new_figure("page", aspect=0.42, cols=2, sharey=False)
            _against_depth(axes, rows, depths)
        else:
            names = _distinct(rows, "_key")
            figure, ax = new_figure("column", height=18 + 6.0 * len(names))
            _by_name(ax, rows, names)
    return figure


def plot_lesions(result: Result) -> Figure:
    """Error added by deleting each block against its position, one line per network and style.

    Lines are means over seeds, bands go from the lowest to the highest seed; dotted where the block resizes the maps.
    """
    import pandas as pd  # noqa: PLC0415
    import seaborn as sns  # noqa: PLC0415

    from resnet_probe.figures import label, legend_above, network_colours, new_figure, style  # noqa: PLC0415

    keys = _distinct(result.rows, "_key")
    looks = network_colours([_text(key) for key in keys], result.settings.get("colours"))
    with style():
        figure, (ax, spread) = new_figure("page", aspect=0.42, cols=2, width_ratios=(2, 1))
        for number, key in enumerate(keys):
            mine = pd.DataFrame(row for row in result.rows if _key(row) == key)
            colour = looks[_text(key)]["color"]
            sns.lineplot(
                mine, x="index", y="increase", color=colour, label=label(_text(key)), legend=False, ax=ax,
                marker="o", markersize=2.4, markeredgewidth=0,
                errorbar=("pi", 100), err_kws={"alpha": 0.15, "linewidth": 0},
            )  # fmt: skip
            spread.boxplot(  # seaborn 0.13 draws boxes by an argument that matplotlib 3.11 deprecates
                mine.loc[~mine["resizes"], "increase"], positions=[number], widths=0.6, whis=(0, 100), showfliers=False,
                boxprops={"color": colour}, medianprops={"color": colour, "linewidth": 1.4},
                whiskerprops={"color": colour}, capprops={"color": colour},
            )  # fmt: skip
        for place in sorted({row["index"] for row in result.rows if row["resizes"]}):
            ax.axvline(place, color="0.8", linewidth=0.6, linestyle=":", zorder=0)
        ax.set(xlabel="deleted block (index from the input; dotted: resizes)", ylabel="error added (percentage points)")
        legend_above(figure)
        spread.set_xticks(range(len(keys)), [key[1].replace("-", "\n") for key in keys])
        spread.set_title("blocks that keep the size", fontsize=7.0)
        spread.axhline(0, color="0.8", linewidth=0.6, zorder=0)
    return figure


def _against_depth(axes: Any, rows: Rows, depths: Sequence[int]) -> None:
    from resnet_probe.figures import network_colours, remembered  # noqa: PLC0415

    series = _series(rows)
    with remembered(share=False):  # these are families of networks
        looks = network_colours(["-".join(str(part) for part in one if part) for one in series])
    for ax, column, title in zip(axes, ("train_error", "test_error"), ("training", "test"), strict=True):
        for one, look in zip(series, looks.values(), strict=True):
            mine = [row for row in rows if (row["family"], row["variant"], row["style"]) == one]
            for depth in depths:
                values = [row[column] for row in mine if row["depth"] == depth]
                ax.plot([depths.index(depth)] * len(values), values, linestyle="", marker=look["marker"],
                        color=look["color"], alpha=0.45, markersize=2.6, markeredgewidth=0)  # fmt: skip
            known = [d for d in depths if any(row["depth"] == d for row in mine)]
            means = [_mean([row[column] for row in mine if row["depth"] == d]) for d in known]
            name = " ".join(part for part in ({"resnet": "residual"}.get(one[0], one[0]), one[1],
                                              one[2] if one[2] != "normal" else None) if part)  # fmt: skip
            ax.plot([depths.index(d) for d in known], means, color=look["color"], linestyle=look["linestyle"],
                    label=name)  # fmt: skip
        ax.set_xticks(range(len(depths)), [str(depth) for depth in depths])
        ax.set(xlabel="depth (layers)", title=title)
        ax.set_ylim(bottom=0)
    axes[0].set_ylabel("error (%)")
    axes[0].legend(loc="best", title="dots: seeds", title_fontsize=7.0)


def _series(rows: Rows) -> list[tuple[Any, ...]]:
    return list(dict.fromkeys((row["family"], row["variant"], row["style"]) for row in rows))


def _by_name(ax: Any, rows: Rows, names: Sequence[Any]) -> None:
    import seaborn as sns  # noqa: PLC0415

    from resnet_probe.figures import PALETTE, label  # noqa: PLC0415

    shown = {
        "x": [row["test_error"] for row in rows], "y": [label(_text(_key(row))) for row in rows],
        "order": [label(_text(name)) for name in names], "color": PALETTE["blue"], "ax": ax,
    }  # fmt: skip
    sns.stripplot(**shown, jitter=False, alpha=0.5, size=3)
    sns.pointplot(**shown, errorbar=None, linestyle="none", marker="|", markersize=9, markeredgewidth=1.4)
    ax.set(xlabel="test error (%)", ylabel="")
    several = len({row["seed"] for row in rows}) > 1
    ax.set_title("dots: seeds, bar: mean" if several else "one seed", fontsize=7.0)
    ax.set_xlim(0, 1.08 * max(row["test_error"] for row in rows) or 1)


def _curve(ax: Any, rows: Rows, column: str, *, band: bool = False, **look: Any) -> None:
    """The mean over cells at each iteration that all of them have; a band from the lowest to the highest."""
    cells = _distinct(rows, "cell")
    by_step: dict[int, list[float]] = {}
    for row in rows:
        if row[column] is not None:
            by_step.setdefault(row["iteration"], []).append(row[column])
    steps = sorted(step for step, values in by_step.items() if len(values) == len(cells)) or sorted(by_step)
    if band and len(cells) > 1:
        low, high = ([pick(by_step[step]) for step in steps] for pick in (min, max))
        ax.fill_between(steps, low, high, color=look["color"], alpha=_BAND, linewidth=0)
    point = {"marker": "o", "markersize": 3, "clip_on": False} if len(steps) == 1 else {}
    ax.plot(steps, [_mean(by_step[step]) for step in steps], **{**point, **look})


def _looks(rows: Rows) -> dict[Any, dict[str, Any]]:
    """Colour and name of each network of a panel: depths from light to dark, others by the palette."""
    from matplotlib import colormaps  # noqa: PLC0415

    from resnet_probe.figures import label, network_colours  # noqa: PLC0415

    keys = _distinct(rows, "_key")
    depths = sorted({row["depth"] for row in rows if row["depth"] is not None})
    if len(depths) > 1 and len(keys) == len(depths):
        shades = colormaps["viridis_r"]
        places = {d: 0.12 + 0.8 * i / (len(depths) - 1) for i, d in enumerate(depths)}
        of = {_key(row): row["depth"] for row in rows}
        return {
            key: {"color": shades(places[of[key]]), "label": f"{of[key]} layers"}
            for key in sorted(keys, key=lambda key: of[key])
        }
    looks = network_colours([_text(key) for key in keys])
    return {key: {"color": looks[_text(key)]["color"], "label": label(_text(key))} for key in keys}


def _key(row: Mapping[str, Any]) -> tuple[str, str]:
    return row["arch"], row["style"]


def _text(key: tuple[str, str]) -> str:
    return key[0] if key[1] == "normal" else f"{key[0]}, {key[1]}"


def _distinct(rows: Rows, column: str) -> list[Any]:
    return list(dict.fromkeys(_key(row) if column == "_key" else row[column] for row in rows))


def _of(rows: Rows, column: str, value: Any) -> Rows:
    return [row for row in rows if row[column] == value]


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)
