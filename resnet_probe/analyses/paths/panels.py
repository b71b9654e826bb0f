"""The figure of gradients by path length, drawn from `gradients.csv` alone (Veit et al. 2016, Fig. 6)."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from matplotlib.ticker import LogLocator, MaxNLocator, NullFormatter

from resnet_probe import figures
from resnet_probe.analyses.paths.effective import describe
from resnet_probe.tables import Result

NEEDED = ("network", "length", "count", "class_norm", "class_share", "path_norm", "path_norm_std", "samples")
_SHADE = 0.16
_DASHES = (0, (4, 1.5))
_BAND = "95 % interval of the mean"

Rows = Sequence[Mapping[str, Any]]


def plot_gradients(result: Result) -> Figure:
    """Draw what carries the gradient, two by two panels, a page (178 mm) wide; needs the table only.

    - a: how many paths there are of each length.
    - b: norm of a single path by its length, mean over the samples with its 95 % interval, and the exponential fit;
      for one network also the exact norm of each class.
    - c: share of the gradient by length: exact class shares (line) and count x norm (dashed). For one network the
      interval that holds 95 % of the exact shares is shaded, and a bracket marks that of count x norm; for several,
      brackets mark the intervals of their exact shares.
    - d: how much the paths of a class cancel: norm of their exact mean over the mean of their norms, with the 95 %
      interval that comes from the sampled mean.

    Without sampled paths b shows the exact class norms, and d is left out.

    Raises:
        ValueError: the table has other columns, or none but its header.
    """
    if missing := [column for column in NEEDED if column not in result.columns]:
        raise ValueError(f"table {result.name} has no column {', '.join(missing)}; gradients need {', '.join(NEEDED)}")
    networks: dict[str, list[Mapping[str, Any]]] = {}
    for row in result.rows:
        networks.setdefault(str(row["network"]), []).append(row)
    if not networks:
        raise ValueError(f"table {result.name} has no rows, so there is nothing to draw")
    found = {name: describe(rows) for name, rows in networks.items()}
    looks = figures.network_colours(networks, result.settings.get("colours"))
    sampled = all(row["path_norm"] is not None for row in result.rows)
    alone = len(networks) == 1
    with figures.style():
        figure, grid = figures.new_figure("page", height=112 if sampled else 56, rows=2 if sampled else 1,
                                          cols=2 if sampled else 3, squeeze=False)  # fmt: skip
        axes = list(grid.flat)
        for name, rows in networks.items():
            look, about = looks[name], found[name]
            label = figures.label(name)
            _lengths(axes[0], rows, look, label)
            _norms(axes[1], rows, look, about, alone=alone, label=label)
            _shares(axes[2], rows, look, about, alone=alone)
            if sampled:
                _cancellation(axes[3], rows, look, alone=alone, label=label)
        _brackets(axes[2], [(looks[name]["color"], about) for name, about in found.items()])
        _finish(axes, alone=alone, sampled=sampled)
        if not alone:
            handles, words = axes[0].get_legend_handles_labels()
            if sampled:  # with the markers of the other panels
                handles, words = axes[3].get_legend_handles_labels()
                handles.append(Patch(color=figures.INK, alpha=_SHADE, linewidth=0))
                words.append(f"{_BAND} (b, d)")
            figures.legend_above(figure, handles, words)
    return figure


def _column(rows: Rows, name: str) -> list[float]:
    return [math.nan if row[name] is None else row[name] for row in rows]


def _above_zero(rows: Rows, name: str) -> list[float]:
    """Values for a logarithmic axis: what float32 has no number for is 0."""
    return [value or math.nan for value in _column(rows, name)]


def _interval_of_mean(rows: Rows) -> tuple[list[float], list[float]]:
    """95 % interval of the mean path norm, symmetric on a log axis: mean times exp(+-1.96 std / (mean sqrt(n))).

    Samples of one image are alike, so no more of them count than there are images.
    """
    means, spread = _column(rows, "path_norm"), _column(rows, "path_norm_std")
    reach = [
        1.96 * std / (mean * math.sqrt(min(row["samples"], row.get("images", row["samples"])))) if mean > 0 else 0.0
        for row, mean, std in zip(rows, means, spread, strict=True)
    ]
    low = [mean * math.exp(-by) for mean, by in zip(means, reach, strict=True)]
    return low, [mean * math.exp(by) for mean, by in zip(means, reach, strict=True)]


def _lengths(axis: Axes, rows: Rows, look: Mapping[str, Any], label: str) -> None:
    total = sum(row["count"] for row in rows)
    shares = [100 * (row["count"] / total) for row in rows]
    edges = [row["length"] - 0.5 for row in rows] + [rows[-1]["length"] + 0.5]
    axis.stairs(shares, edges, color=look["color"], linestyle=look["linestyle"], linewidth=1.1, label=label)
    axis.stairs(shares, edges, color=look["color"], fill=True, alpha=_SHADE, linewidth=0)
    axis.set_ylabel("share of all paths (%)")


def _norms(
    axis: Axes, rows: Rows, look: Mapping[str, Any], about: Mapping[str, Any], *, alone: bool, label: str
) -> None:
    lengths, colour = [row["length"] for row in rows], look["color"]
    if "effective" not in about:
        axis.plot(lengths, _above_zero(rows, "class_norm"), color=colour, marker=look["marker"], label=label)
        axis.set_ylabel("gradient norm of all paths")
        return
    means = _column(rows, "path_norm")
    decay = about["decay"]
    each = f"single path, mean of {rows[0]['samples']}" if alone else label
    axis.plot(lengths, means, linestyle="none", color=colour, marker=look["marker"], markersize=2.8, label=each)
    low, high = _interval_of_mean(rows)
    axis.fill_between(lengths, low, high, color=colour, alpha=_SHADE, linewidth=0, label=_BAND if alone else None)
    if decay:
        line = [math.exp(decay["intercept"] + decay["slope"] * length) for length in lengths]
        words = f"fit: $\\times${math.exp(decay['slope']):.2g} per branch, $R^2$ = {decay['r2']:.3f}" if alone else None
        axis.plot(lengths, line, color=figures.INK if alone else colour, linewidth=0.8, label=words)
    if alone:
        axis.plot(lengths, _above_zero(rows, "class_norm"), color=figures.PALETTE["vermillion"], linewidth=1.1,
                  linestyle=_DASHES, label="all paths of the length (exact)")  # fmt: skip
    axis.set_ylabel("gradient norm at the input")


def _shares(axis: Axes, rows: Rows, look: Mapping[str, Any], about: Mapping[str, Any], *, alone: bool) -> None:
    lengths, interval = [row["length"] for row in rows], about["exact"]
    exact = figures.PALETTE["vermillion"] if alone else look["color"]
    words = "exact" + (f": {_held(interval)}" if interval else "") if alone else None
    if interval and alone:
        axis.axvspan(interval["low"] - 0.5, interval["high"] + 0.5, color=exact, alpha=_SHADE, linewidth=0, zorder=0)
    axis.plot(lengths, [100 * value for value in _column(rows, "class_share")], color=exact, linewidth=1.1,
              marker=look["marker"], markersize=2.6, label=words)  # fmt: skip
    if about.get("effective"):
        found = about["effective"]
        also = f"count $\\times$ norm: {_held(found)}" if alone else None
        axis.plot(lengths, [100 * value for value in _column(rows, "effective_share")], color=look["color"],
                  linewidth=1.0, linestyle=_DASHES, label=also)  # fmt: skip
    axis.set_ylabel("share of the gradient (%)")


def _held(interval: Mapping[str, Any]) -> str:
    return f"{interval['low']} to {interval['high']} hold {100 * interval['holds']:.0f} %"


def _brackets(axis: Axes, networks: Sequence[tuple[str, Mapping[str, Any]]]) -> None:
    """Above the curves: of one network the interval of count x norm, of several those of their exact shares."""
    top = max(float(np.nanmax(np.asarray(line.get_ydata(), dtype=float))) for line in axis.get_lines())
    for rank, (colour, about) in enumerate(networks):
        interval = about["exact"] if len(networks) > 1 else about.get("effective")
        if interval and math.isfinite(top):
            ends = [interval["low"] - 0.5, interval["high"] + 0.5]
            height = top * (1.08 + 0.07 * rank)
            axis.plot(ends, [height] * 2, color=colour, linewidth=0.9, marker="|", markersize=4)


def _cancellation(axis: Axes, rows: Rows, look: Mapping[str, Any], *, alone: bool, label: str) -> None:
    lengths, ratios = [row["length"] for row in rows], _column(rows, "cancellation_ratio")
    errors = [math.nan if (error := row.get("cancellation_error")) is None else error for row in rows]
    reach = [math.exp(1.96 * error / ratio) if ratio else 1.0 for ratio, error in zip(ratios, errors, strict=True)]
    axis.fill_between(lengths, [ratio / by for ratio, by in zip(ratios, reach, strict=True)],
                      [ratio * by for ratio, by in zip(ratios, reach, strict=True)], color=look["color"],
                      alpha=_SHADE, linewidth=0, label=_BAND if alone else None)  # fmt: skip
    axis.plot(lengths, ratios, color=look["color"],
              marker=look["marker"], markersize=2.6, linewidth=1.0, label=None if alone else label)  # fmt: skip
    axis.set_ylabel("|mean path| / mean |path|")


def _make_room(axis: Axes, *, below: float = 0.0, above: float = 0.0) -> None:
    """Extend the vertical range by shares of itself, so that a legend covers no data."""
    low, high = (axis.transScale.transform((1, value))[1] for value in axis.get_ylim())
    ends = (low - below * (high - low), high + above * (high - low))
    axis.set_ylim(*(axis.transScale.inverted().transform((1, end))[1] for end in ends))


def _finish(axes: Sequence[Axes], *, alone: bool, sampled: bool) -> None:
    titles = ["paths", "norm by length", "share by length", "cancellation (1: none)"]
    for axis, letter, title in zip(axes, "abcd", titles, strict=False):
        axis.set(title=f"{letter}   {title}", xlabel="path length (residual branches taken)")
        axis.xaxis.set_major_locator(MaxNLocator("auto", integer=True, min_n_ticks=1))
    axes[0].set_ylim(bottom=0)
    _logarithmic(axes[1])
    axes[2].axhline(0, color=figures.GREY, linewidth=0.5, zorder=0)
    if alone:
        _make_room(axes[0], above=0.12)
        axes[0].legend(loc="upper left")
        _make_room(axes[1], below=0.5 if sampled else 0.16)
        axes[1].legend(loc="lower center")
        _make_room(axes[2], above=0.3)
        axes[2].legend(loc="upper center")
    elif sampled:
        kinds = {"exact": "-", "count $\\times$ norm": _DASHES}
        lines = [axes[2].plot([], [], color=figures.INK, linewidth=1.0, linestyle=style)[0] for style in kinds.values()]
        _make_room(axes[2], above=0.3)
        axes[2].legend(lines, list(kinds), loc="upper center")
    if sampled:
        axes[3].axhline(1, color=figures.GREY, linewidth=0.6, linestyle=(0, (1, 1)), zorder=0)
        _logarithmic(axes[3])
        if alone:
            _make_room(axes[3], above=0.16)
            axes[3].legend(loc="upper center")


def _logarithmic(axis: Axes) -> None:
    """A log axis with readable ticks however many decades it spans; left linear if nothing is above zero."""
    drawn = [float(y) for line in axis.get_lines() for y in np.asarray(line.get_ydata(), dtype=float)]
    values = [value for value in drawn if value > 0]
    if values:
        axis.set_yscale("log")
        if max(values) / min(values) > 1e4:
            axis.yaxis.set_major_locator(LogLocator(numticks=7))
        elif max(values) / min(values) < 100:
            axis.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
            axis.yaxis.set_major_formatter("{x:g}")
            axis.yaxis.set_minor_formatter(NullFormatter())
