"""The figure of path lengths, drawn from the table alone."""

import math
from collections.abc import Mapping
from decimal import Decimal
from itertools import pairwise

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from resnet_probe import figures
from resnet_probe.analyses.paths.lengths import UNITS, Polynomial, Statistics, statistics
from resnet_probe.analyses.paths.table import distributions
from resnet_probe.tables import Result

MOST_BARS = 60
_OUTSIDE = "#C4C4C4"
_LABELS = {
    "module": "path length in modules (residual branches taken)",
    "layer": "path length in layers with weights",
}


def plot(result: Result) -> Figure:
    """Draw the share of paths of each length, one column (85 mm) wide; needs the table only.

    One network: its distribution with the central 95 % interval in colour and the mean. Several: points, each
    distribution relative to its most frequent length, so that networks whose lengths are one apart compare with those
    whose lengths are two apart; one length alone is a line. Where the length in layers follows from the length in
    modules, as in every network whose blocks are all alike, it is a second scale on the same panel; elsewhere it has a
    panel of its own. Without residual blocks there is no panel in modules. Only lengths with at least a thousandth of
    the largest share are in view; the table has them all.

    Raises:
        ValueError: the table has other columns, or none but its header.
    """
    tables = distributions(result)
    scale = _layers_of_modules(tables)
    panels = ["module"] if scale else _worth_a_panel(tables)
    with figures.style():
        figure, axes = figures.new_figure(height=52 if len(panels) == 1 else 92, rows=len(panels), squeeze=False)
        for axis, unit in zip(axes[:, 0], panels, strict=True):
            _draw(axis, tables[unit], result.settings.get("colours"))
            axis.set_xlabel(_LABELS[unit])
            many = len(tables[unit]) > 1
            axis.set_ylabel("paths (most frequent: 1)" if many else "share of all paths (%)")
        if len(tables[panels[0]]) > 1:
            figures.legend_above(figure, *axes[0, 0].get_legend_handles_labels())
        if scale:
            first, step = scale
            axis = axes[0, 0]
            above = axis.secondary_xaxis(
                "top", functions=(lambda length: first + step * length, lambda length: (length - first) / step)
            )
            above.set_xlabel(_LABELS["layer"])
            above.xaxis.set_major_locator(MaxNLocator("auto", integer=True, min_n_ticks=1))
            above.spines["top"].set_visible(True)
    return figure


def _worth_a_panel(tables: dict[str, dict[str, Polynomial]]) -> list[str]:
    """The units to draw: in modules only where a network has any, or where nothing else is left to draw."""
    units = [unit for unit in UNITS if unit in tables]
    without_modules = all(len(counts) == 1 for counts in tables.get("module", {}).values())
    return units[1:] if without_modules and len(units) > 1 else units


def _layers_of_modules(tables: dict[str, dict[str, Polynomial]]) -> tuple[int, int] | None:
    """(a, b) where every path of m modules has a + b m layers, as far as the counts tell; else None."""
    if set(tables) != set(UNITS):
        return None
    scales = set()
    for name, modules in tables["module"].items():
        layers = tables["layer"].get(name, ())
        found = [length for length, count in enumerate(layers) if count]
        steps = {later - earlier for earlier, later in pairwise(found)}
        if not all(modules) or modules != tuple(layers[length] for length in found) or len(steps) != 1:
            return None
        scales.add((found[0], steps.pop()))
    return scales.pop() if len(scales) == 1 else None


def _draw(axis: Axes, networks: dict[str, Polynomial], known: Mapping[str, str] | None) -> None:
    looks = figures.network_colours(networks, known)
    views = []
    for name, counts in networks.items():
        lengths, shares, step = _in_view(counts)
        margin = 0.8 * step if len(lengths) > 1 else 4.8  # a single bar does not fill the panel
        views.append((max(lengths[0] - margin, -0.5 * step), lengths[-1] + margin))  # no length is below 0
        colour = looks[name]["color"]
        if len(networks) > 1:
            heights = [share / max(shares) for share in shares]
            axis.plot(lengths, heights, **looks[name], linewidth=0.9, label=figures.label(name), clip_on=False)
            if len(lengths) == 1:
                axis.vlines(lengths, 0, 1, color=colour, linestyle=looks[name]["linestyle"], linewidth=0.9)
            continue
        found = statistics(counts)
        inside = [found.low <= length <= found.high for length in lengths]
        if len(lengths) <= MOST_BARS:
            colours = [colour if within else _OUTSIDE for within in inside]
            axis.bar(lengths, shares, width=0.86 * step, color=colours, linewidth=0)
        else:  # bars without gaps; as single rectangles they would show hairlines between them
            kept = [height if within else 0.0 for height, within in zip(shares, inside, strict=True)]
            axis.stairs(shares, _edges(lengths, step), fill=True, color=_OUTSIDE)
            axis.stairs(kept, _edges(lengths, step), fill=True, color=colour)
        _summarise(axis, f"{figures.label(name)}: {_in_words(found.total)}", found, step, max(shares))
    axis.set_xlim(min(low for low, _ in views), max(high for _, high in views))
    axis.set_ylim(bottom=0)
    axis.xaxis.set_major_locator(MaxNLocator("auto", integer=True, min_n_ticks=1))
    axis.yaxis.set_major_locator(MaxNLocator(6, steps=[1, 2, 5, 10]))


def _summarise(axis: Axes, title: str, found: Statistics, step: int, peak: float) -> None:
    """Above the bars: the central interval as a bracket, the mean as its dot, and both in words."""
    ends = [found.low - step / 2, found.high + step / 2]
    if found.std == 0:
        words = f"all of length {found.mode}"
    else:
        words = f"mean {found.mean:.4g}, {100 * found.inside:.1f} % within {found.low} to {found.high}"
        axis.plot(ends, [1.07 * peak] * 2, color=figures.INK, linewidth=0.8, marker="|", markersize=4)
        axis.plot(found.mean, 1.07 * peak, color=figures.INK, marker="o")
    axis.text(sum(ends) / 2, 1.13 * peak, f"{title}\n{words}", ha="center", va="bottom", linespacing=1.35)
    axis.set_ylim(top=1.45 * peak)


def _in_view(counts: Polynomial) -> tuple[range, list[float], int]:
    """The lengths worth drawing, the share of all paths of each in percent, and the step between lengths."""
    total, most = sum(counts), max(counts)
    found = [length for length, count in enumerate(counts) if count]
    step = math.gcd(*(later - earlier for earlier, later in pairwise(found))) or 1
    seen = [length for length in found if 1000 * counts[length] >= most]
    lengths = range(seen[0], seen[-1] + 1, step)
    return lengths, [100 * (counts[length] / total) for length in lengths], step


def _edges(lengths: range, step: int) -> list[float]:
    return [length - step / 2 for length in (*lengths, lengths[-1] + step)]


def _in_words(total: int) -> str:
    """The number of paths, short enough for a figure."""
    if total > 1000 and total & (total - 1) == 0:
        return f"$2^{{{total.bit_length() - 1}}}$ paths"
    if total < 1_000_000:
        return f"{total:,} path{'s' if total > 1 else ''}"
    digits, power = f"{Decimal(total):.1e}".split("e+")
    return rf"${digits} \times 10^{{{power}}}$ paths"
