"""Pictures: the unraveled view of a small network, and the blocks of a real one."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import groupby
from typing import TYPE_CHECKING, Any

from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize, to_rgba
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch, Patch

from resnet_probe import figures

if TYPE_CHECKING:
    import networkx as nx

MOST_DRAWN = 5  # blocks; 32 paths are what a page shows
_LINE = 0.8
_PITCH = {True: 1.55, False: 1.0}  # from row to row of the anatomy, with blocks and without; boxes are 0.48 high
_DASHES = (0, (2.5, 1.2))
_KINDS = {
    "block": figures.PALETTE["blue"],
    "layer": figures.PALETTE["orange"],
    "parallel": figures.PALETTE["purple"],
    "other": "#C4C4C4",
    "deleted": "white",
}


def draw_unraveled(blocks: int, name: str = "") -> Figure:
    """A residual network in its usual form and unraveled, a page (178 mm) wide.

    Above, the blocks with their shortcuts; below, the same network as its 2^n paths: at every block each path parts
    in two, so that block i stands there 2^(i-1) times, and the number at the end is the path's length.

    Args:
        blocks: number of residual blocks, 1 to `MOST_DRAWN`.

    Raises:
        ValueError: no blocks, or more than can be drawn.

    Source: after Veit et al. 2016, arXiv 1605.06431, Fig. 1.
    """
    if not 1 <= blocks <= MOST_DRAWN:
        what = "a network without blocks has one path" if blocks < 1 else f"2^{blocks} paths cannot be drawn"
        raise ValueError(f"{what}; the unraveled view is for 1 to {MOST_DRAWN} blocks, such as --depth 8")
    paths = 2**blocks
    title = f"{figures.label(name)}: " if name else ""
    with figures.style():
        figure, (above, below) = figures.new_figure(
            "page", height=26 + 5.5 * paths + 10, rows=2, height_ratios=[26, 5.5 * paths + 10]
        )
        for axis in (above, below):
            axis.set_axis_off()
        above.set_title(f"a   {title}{blocks} residual block{'s' if blocks > 1 else ''}")
        below.set_title(f"b   unraveled: {paths} paths")
        _usual(above, blocks)
        _tree(below, blocks)
        for axis in (above, below):
            axis.set_xlim(-0.9, 3 * blocks + 1.8)
        above.set_ylim(-0.6, 1.0)
        below.set_ylim(-0.55, 0.7 * (paths - 1) + 0.55)
    return figure


def draw_anatomy(graph: nx.DiGraph, *, name: str = "", column: str = "", across: int = 12) -> Figure:
    """The blocks of a network as a picture, as wide as its longest row needs, one stage after another.

    A residual block is its branch, a box above the trunk, beside its shortcut, the trunk below it: solid for an
    identity, dashed for a projection. Other units stand on the trunk; deleted ones are pale, with a dashed outline.
    Units with a `value` are coloured by it.

    Args:
        graph: from `anatomy_graph`.
        column: what the values are, for the scale beside the picture.
        across: boxes side by side.
    """
    nodes = {node: data for node, data in graph.nodes(data=True) if data["kind"] not in ("input", "add")}
    rows = _rows(nodes, across)
    values = [data["value"] for data in nodes.values() if "value" in data]
    scale = ScalarMappable(Normalize(min(values), max(values)), colormaps["viridis"]) if values else None
    longest = max(len(row) for row in rows)
    blocks = sum(data["kind"] == "block" for data in nodes.values())
    pitch = _PITCH[blocks > 0]
    with figures.style():
        figure, axis = figures.new_figure("column" if longest <= 5 else "page", height=12 + 8.5 * pitch * len(rows))
        axis.spines[:].set_visible(False)
        stages: dict[int, float] = {}
        for number, row in enumerate(rows):
            y = -pitch * number
            _arrow(axis, (-0.5, y), (len(row) - 0.45, y))
            for place, node in enumerate(row):
                _unit(axis, place, y, node, nodes[node], scale=scale)
            stages.setdefault(nodes[row[0]]["stage"], y)
        axis.set_xticks([])
        axis.set_yticks(list(stages.values()), [f"stage {stage}" for stage in stages])
        axis.tick_params(length=0)
        axis.set_xlim(-0.6, longest - 0.4)
        axis.set_ylim(-pitch * (len(rows) - 1) - 0.5, 0.95 if blocks else 0.4)
        if name:
            figure.suptitle(f"{figures.label(name)}: {blocks} residual blocks", x=0.01, ha="left", fontsize=8)
        if scale:
            figure.colorbar(scale, ax=axis, label=column, fraction=0.02, pad=0.01, aspect=22)
        drawn = [nodes[node] for row in rows for node in row]
        kinds = dict.fromkeys(data["kind"] for data in drawn if "value" not in data)
        handles: list[Any] = [Patch(facecolor=_KINDS[kind], edgecolor=figures.INK, label=kind) for kind in kinds]
        for shortcut in dict.fromkeys(data["shortcut"] for data in drawn if data["kind"] == "block"):
            dashes: Any = "-" if shortcut == "identity" else _DASHES
            look = {"color": figures.INK, "linewidth": _LINE, "linestyle": dashes}
            handles.append(Line2D([], [], **look, label=f"{shortcut} shortcut"))
        figures.legend_above(figure, handles, loc="outside lower center")
    return figure


# -- the unraveled view ---------------------------------------------------------------------------------------------


def _usual(axis: Axes, blocks: int) -> None:
    colour = figures.PALETTE["blue"]
    _dot(axis, -0.4, 0, "in")
    for block in range(blocks):
        x = 3 * block
        start = x - 0.4 if not block else x - 0.55
        _arrow(axis, (start, 0), (x + 0.5, 0))
        _box(axis, x + 1, 0, f"$f_{{{block + 1}}}$", colour)
        _arrow(axis, (x + 1.5, 0), (x + 2.24, 0))
        _sum(axis, x + 2.35, 0)
        axis.plot([x - 0.2, x - 0.2, x + 2.35], [0, 0.75, 0.75], color=figures.INK, linewidth=_LINE)
        _arrow(axis, (x + 2.35, 0.75), (x + 2.35, 0.13))
    _arrow(axis, (3 * blocks - 0.55, 0), (3 * blocks + 1.15, 0))
    axis.text(3 * blocks + 1.2, 0, "out", ha="left", va="center")


def _tree(axis: Axes, blocks: int) -> None:
    """Leaves are the paths, from top to bottom in binary order of the branches they take."""
    paths = 2**blocks
    leaves = [format(number, f"0{blocks}b") for number in range(paths)]
    y_of = {leaf: 0.7 * (paths - 1 - place) for place, leaf in enumerate(leaves)}
    for level in range(blocks - 1, -1, -1):
        for prefix, group in groupby(sorted(y_of), key=lambda path: path[:level]):
            members = [path for path in group if len(path) == level + 1]
            if members:
                y_of[prefix] = sum(y_of[member] for member in members) / len(members)
    shades = colormaps["viridis"]
    _dot(axis, -0.4, y_of[""], "in")
    for prefix in [path for path in y_of if len(path) < blocks]:
        level = len(prefix)
        x, y = 3 * level, y_of[prefix]
        begin = -0.4 if not level else x - 0.5
        for choice in "01":
            to = y_of[prefix + choice]
            axis.plot([begin, x - 0.2, x - 0.2, x + 2.5], [y, y, to, to], color=figures.INK, linewidth=_LINE, zorder=1,
                      solid_joinstyle="round")  # fmt: skip
            if choice == "1":
                _box(axis, x + 1, to, f"$f_{{{level + 1}}}$", figures.PALETTE["blue"], high=0.5)
    end = 3 * blocks
    middle = 0.35 * (paths - 1)
    for leaf in leaves:
        length = leaf.count("1")
        axis.plot([end - 0.5, end - 0.1, end + 0.6], [y_of[leaf], y_of[leaf], middle], color=figures.INK,
                  linewidth=0.5 * _LINE, zorder=1)  # fmt: skip
        tone = shades(0.15 + 0.7 * length / blocks)
        axis.plot(end - 0.3, y_of[leaf], "o", color=tone, markersize=9, markeredgewidth=0, zorder=3)
        axis.text(end - 0.3, y_of[leaf] - 0.01, str(length), ha="center", va="center", color="white", fontsize=6.5,
                  zorder=4)  # fmt: skip
    _sum(axis, end + 0.6, middle)
    _arrow(axis, (end + 0.72, middle), (end + 1.15, middle))
    axis.text(end + 1.2, middle, "out", ha="left", va="center")


def _dot(axis: Axes, x: float, y: float, words: str) -> None:
    axis.plot([x], [y], "o", color=figures.INK, markersize=2.5, zorder=3)
    axis.text(x - 0.1, y, words, ha="right", va="center")


def _box(axis: Axes, x: float, y: float, words: str, colour: str, *, high: float = 0.62) -> None:
    box = FancyBboxPatch((x - 0.5, y - high / 2), 1, high, boxstyle="round,pad=0,rounding_size=0.08", facecolor=colour,
                         edgecolor=figures.INK, linewidth=0.5, zorder=2)  # fmt: skip
    axis.add_patch(box)
    axis.text(x, y - 0.02, words, ha="center", va="center", color="white", zorder=3)


def _sum(axis: Axes, x: float, y: float) -> None:
    axis.plot(x, y, "o", color="white", markeredgecolor=figures.INK, markeredgewidth=0.6, markersize=9, zorder=3)
    axis.plot(x, y, "+", color=figures.INK, markeredgewidth=0.6, markersize=5.5, zorder=4)


def _arrow(axis: Axes, start: tuple[float, float], end: tuple[float, float]) -> None:
    look: dict[str, Any] = {"linewidth": _LINE, "color": figures.INK, "shrinkA": 0, "shrinkB": 0, "zorder": 1}
    axis.add_patch(FancyArrowPatch(start, end, arrowstyle="-|>", mutation_scale=6, **look))


# -- the blocks of a network ----------------------------------------------------------------------------------------


def _rows(nodes: Mapping[str, Mapping[str, Any]], across: int) -> list[list[str]]:
    """Units in order, a new row for every stage and wherever a row is full; a ReLU after an addition takes no place."""
    shown = [node for node, data in nodes.items() if data["kind"] != "other" or "value" in data]
    rows: list[list[str]] = []
    for _, members in groupby(shown or nodes, key=lambda node: nodes[node]["stage"]):
        stage = list(members)
        rows += [stage[start : start + across] for start in range(0, len(stage), across)]
    return rows


def _unit(axis: Axes, x: float, y: float, node: str, data: Mapping[str, Any], *, scale: ScalarMappable | None) -> None:
    fill: Any = scale.to_rgba(data["value"]) if scale is not None and "value" in data else _KINDS[data["kind"]]
    gone, block = data["kind"] == "deleted", data["kind"] == "block"
    if block:
        axis.plot([x - 0.44, x - 0.44, x + 0.44, x + 0.44], [y, y + 0.55, y + 0.55, y + 0.12], color=figures.INK,
                  linewidth=_LINE, zorder=1)  # fmt: skip
        if data["shortcut"] != "identity":
            axis.plot([x - 0.42, x + 0.4], [y, y], color="white", linewidth=2 * _LINE, zorder=1)
            axis.plot([x - 0.42, x + 0.4], [y, y], color=figures.INK, linewidth=_LINE, linestyle=_DASHES, zorder=1)
        axis.plot(x + 0.44, y, "o", color="white", markeredgecolor=figures.INK, markeredgewidth=0.5, markersize=4.5,
                  zorder=3)  # fmt: skip
        axis.plot(x + 0.44, y, "+", color=figures.INK, markeredgewidth=0.5, markersize=3, zorder=4)
    middle = y + 0.55 if block else y
    box = FancyBboxPatch((x - 0.34, middle - 0.24), 0.68, 0.48, boxstyle="round,pad=0,rounding_size=0.06",
                         facecolor=to_rgba(fill, 0.3) if gone else fill, edgecolor=figures.INK, linewidth=0.5,
                         linestyle="--" if gone else "-", zorder=2)  # fmt: skip
    axis.add_patch(box)
    short = node if len(node) <= 11 else f"…{node[-10:]}"
    axis.text(x, y - 0.2 if block else y - 0.3, figures.label(short), ha="center", va="top", fontsize=5.5)
