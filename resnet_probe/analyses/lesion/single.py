"""Delete every unit, one at a time (Veit et al. 2016, section 4.1 and Fig. 3).

A deleted residual block leaves its shortcut; a deleted layer of a network without blocks leaves an identity that fits
(`anatomy.bypass`), since the paper does not say how.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from resnet_probe.analyses.columns import against_intact, with_interval
from resnet_probe.analyses.lesion import INTACT, LESION, Parameters
from resnet_probe.analyses.lesion.groups import by_class
from resnet_probe.analyses.lesion.measures import measures
from resnet_probe.figures.looks import DASHED
from resnet_probe.statistics import confidence_sequence

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from resnet_probe.analyses.runtime import Runtime
    from resnet_probe.analyses.subject import Subject
    from resnet_probe.evaluate import Score
    from resnet_probe.tables import Result

__all__ = ["plot", "run"]

AGAIN: dict[str, Any] = {"linestyle": ":", "marker": "x", "markersize": 3, "linewidth": 0.9}
INTACT_AGAIN: dict[str, Any] = {"linestyle": (0, (1, 1.5)), "linewidth": 0.7}


def run(subject: Subject, parameters: Parameters, runtime: Runtime) -> list[Result]:
    """Delete every residual block (every convolution of a network without blocks), one at a time.

    With `until` the images come in a random order, drawn by the runtime's seed, and no more of them are used as soon as
    the confidence sequence of every deletion's difference is at most twice that wide.

    Returns:
        Table `lesion`: the intact network first, then one row per unit from input to output. With `by` also the table
        `lesion_by`.

    Raises:
        ValueError: the network's class count does not fit the data; or several processes with `until`.
    """
    network, until = subject.network, parameters.until
    variants = {INTACT: network.steps} | {unit.name: network.delete(unit.name).steps for unit in network.surgical}
    split, limit = parameters.recalibrate_split, parameters.recalibrate_limit
    train = runtime.training_images(subject, split=split, limit=limit) if parameters.recalibrate else None
    if until is None:
        scores = runtime.evaluate(subject, variants, "lesion")
    else:
        shuffled = subject.shuffled(runtime.seed)
        scores = runtime.evaluate(shuffled, variants, "lesion.until", enough=partial(_narrow, until))
    again = runtime.evaluate_recalibrated(subject, variants, train, "lesion") if train else {}
    plans = {unit.name: (i, unit.plan) for i, unit in enumerate(network.surgical)}
    rows = []
    for block, score in scores.items():
        index, plan = plans.get(block, (None, None))
        rows.append(
            {
                "network": subject.name,
                "block": block,
                "index": index,
                "stage": plan.stage if plan else None,
                "resizes": plan.resizes if plan else None,
                **with_interval(score),
                "changed": score.changed,
                "kind": plan.kind if plan else None,
                "shortcut": (plan.shortcut or None) if plan else None,
                "error_recalibrated": again[block].error if again else None,
                **against_intact(scores[INTACT] if plan else None, score, sequence=until is not None),
            }
        )
    settings: dict[str, Any] = subject.chance()
    if until is not None:
        intact, *deleted = scores.values()
        widest = max(_half_width(intact, score) for score in deleted)
        settings["until"] = {"points": until, "widest": widest, "available": len(subject.data), "seed": runtime.seed}
    tables = [LESION.result(rows, **settings), *measures(subject, scores)]
    if parameters.by is not None:
        flags = {block: score.flags for block, score in scores.items()}
        tables.append(by_class(subject.name, flags, subject.data.labels.cpu(), subject.data.classes))
    return tables


def _narrow(until: float, scores: Mapping[str, Score]) -> bool:
    """Whether the interval of every deletion's difference reaches at most so many points to either side."""
    intact, *deleted = scores.values()
    deleted.sort(key=lambda score: -int((score.flags != intact.flags).sum()))  # the widest interval comes first
    return all(_half_width(intact, score) <= until for score in deleted)


def _half_width(intact: Score, score: Score) -> float:
    newly_wrong, newly_right = (int((a.flags & ~b.flags).sum()) for a, b in ((score, intact), (intact, score)))
    _, low, high = confidence_sequence(newly_wrong, newly_right, score.images)
    return (high - low) / 2


def plot(result: Result) -> Figure:
    """Error after deleting each unit, by its position (Veit et al. 2016, Fig. 3).

    Filled markers are units that keep the shape of their input, open ones those that resize; whiskers are the 95 %
    intervals, the dashed line is the intact network. Where images were added until the differences were known, whiskers
    are the confidence sequences of the differences, and the legend has the number of images. Several networks in one
    table are drawn over relative position.
    """
    from matplotlib.ticker import MaxNLocator  # noqa: PLC0415

    from resnet_probe.figures import INK, label, legend_above, network_colours, new_figure, style  # noqa: PLC0415

    networks = list(dict.fromkeys(row["network"] for row in result.rows))
    looks = network_colours(networks, result.settings.get("colours"))
    many = len(networks) > 1
    with style():
        figure, axes = new_figure("column", aspect=0.68)
        for network in networks:
            rows = [row for row in result.rows if row["network"] == network]
            _draw(axes, rows, looks[network], label(network), relative=many)
            if until := result.about(network).get("until"):
                images = f"{rows[0]['images']:,} of {until['available']:,} images"
                axes.plot([], [], color=looks[network]["color"], linestyle="", marker="|", markersize=6,
                          label=f"confidence sequence, {images}")  # fmt: skip
        colour, marker = (INK, "o") if many else (looks[networks[0]][key] for key in ("color", "marker"))
        intact = next(row["error"] for row in result.rows if row["block"] == INTACT)
        axes.plot([], [], color=colour, linewidth=0.8, linestyle=DASHED,
                  label="intact" if many else f"intact: {intact:.3g} %")  # fmt: skip
        if any(row.get("error_recalibrated") is not None for row in result.rows):
            axes.plot([], [], color=colour, **AGAIN, label="BN re-estimated")
            axes.plot([], [], color=colour, **INTACT_AGAIN, label="intact, BN re-estimated")
        if any(row["resizes"] for row in result.rows):
            axes.scatter([], [], c="white", edgecolors=colour, marker=marker, s=12, linewidths=0.8, label="resizes")
        classes = result.about(networks[0]).get("classes")
        if classes and max(row["error"] for row in result.rows) > 60 * (1 - 1 / classes):
            chance = 100 * (1 - 1 / classes)
            axes.axhline(chance, color="0.6", linewidth=0.6, linestyle=":", zorder=0, label="chance")
        axes.set_ylim(bottom=0)
        if not many:
            axes.xaxis.set_major_locator(MaxNLocator("auto", integer=True, min_n_ticks=1))
        axes.set_ylabel("error (%), 95 % interval")
        axes.set_xlabel("position of the deleted unit (0 first, 1 last)" if many else _what(result.rows))
        legend_above(figure)
    return figure


def _draw(axes: Axes, rows: Sequence[dict[str, Any]], look: dict[str, Any], name: str, *, relative: bool) -> None:
    intact = next(row for row in rows if row["block"] == INTACT)
    lesions = [row for row in rows if row["block"] != INTACT]
    span = max(len(lesions) - 1, 1)
    x = [row["index"] / span if relative else row["index"] for row in lesions]
    y = [row["error"] for row in lesions]
    below, above = zip(*map(_whiskers, lesions), strict=True)
    colour, marker = look["color"], look["marker"]
    axes.axhline(intact["error"], color=colour, linewidth=0.8, linestyle=DASHED, zorder=1)
    # solid: dashed lines are the intact networks
    axes.errorbar(x, y, yerr=[below, above], color=colour, linewidth=0.9, elinewidth=0.6, zorder=2)
    faces = ["white" if row["resizes"] else colour for row in lesions]
    axes.scatter(x, y, c=faces, edgecolors=colour, marker=marker, s=12, linewidths=0.8, zorder=3)
    axes.plot([], [], color=colour, marker=marker, markersize=3.2, label=name)
    if lesions[0].get("error_recalibrated") is not None:
        again = [row["error_recalibrated"] for row in lesions]
        axes.plot(x, again, zorder=2, color=colour, **AGAIN)
        axes.axhline(intact["error_recalibrated"], color=colour, **INTACT_AGAIN, zorder=1)
    if not relative:
        for before, after in pairwise(lesions):
            if before["stage"] != after["stage"]:
                axes.axvline(after["index"] - 0.5, color="0.85", linewidth=0.6, zorder=0)


def _whiskers(row: Mapping[str, Any]) -> tuple[float, float]:
    """How far the interval reaches down and up: that of the error, or that of the difference if images were added.

    One image has none in tasks other than classification; and an interval of resamples may leave out the error itself.
    """
    if row.get("increase_low") is None and row.get("difference_low") is not None:
        return row["difference"] - row["difference_low"], row["difference_high"] - row["difference"]
    if row["error_low"] is None:
        return 0.0, 0.0
    return max(0.0, row["error"] - row["error_low"]), max(0.0, row["error_high"] - row["error"])


def _what(rows: Sequence[dict[str, Any]]) -> str:
    kinds = {row["kind"] for row in rows if row["block"] != INTACT}
    return "deleted block (index from the input)" if kinds == {"block"} else "deleted layer (index from the input)"
