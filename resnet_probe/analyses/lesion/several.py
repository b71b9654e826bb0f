"""Delete several units at random and watch the error rise (Veit et al. 2016, section 4.2 and Fig. 5a).

The paper does not say how many draws its curve has; here it is a parameter. Blocks that resize are left out unless
asked for, because deleting one of them is a different injury.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from itertools import combinations
from math import comb
from typing import TYPE_CHECKING, Any

from resnet_probe.analyses.averages import over_images
from resnet_probe.analyses.columns import against_intact, measured
from resnet_probe.analyses.lesion import MULTI, SUMMARY, Parameters
from resnet_probe.statistics import bootstrap_mean, spearman

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from resnet_probe.analyses.runtime import Runtime
    from resnet_probe.analyses.subject import Subject
    from resnet_probe.evaluate import Score
    from resnet_probe.tables import Result
    from resnet_probe.unraveled import UnraveledNetwork

__all__ = ["draw_lesions", "plot", "run", "summarise"]


def run(subject: Subject, parameters: Parameters, runtime: Runtime) -> list[Result]:
    """Delete random sets of units and measure the error of each.

    Of each size there are `draws` different sets; where there are no more sets than that, all of them.

    Returns:
        Table `lesion_multi`, one row per set, the intact network first; and table `lesion_multi_summary`, one row per
        number of deleted units, with three 95 % intervals of the mean error: over the images (the same draws on other
        images), over the draws (other draws on the same images), and over both at once.

    Raises:
        ValueError: a number of units that cannot be deleted, or fewer than one draw.
    """
    network, draws, resizing, seed = subject.network, parameters.draws, parameters.resizing, runtime.seed
    names = deletable(network, parameters)
    sets = draw_lesions(names, parameters.multi or (), draws, seed)
    sizes = list(parameters.multi or ())  # listed after more than there are were refused
    variants = {"": network.steps} | {" ".join(chosen): network.delete(*chosen).steps for _, chosen in sets}
    about = {"deleted": sizes, "draws": draws, "seed": seed, "resizing": resizing}
    split, limit = parameters.recalibrate_split, parameters.recalibrate_limit
    train = runtime.training_images(subject, split=split, limit=limit) if parameters.recalibrate else None
    scores = runtime.evaluate(subject, variants, "lesion_multi", about)
    again = runtime.evaluate_recalibrated(subject, variants, train, "lesion_multi", about) if train else {}
    rows: list[dict[str, Any]] = []
    counts: dict[int, int] = {}
    for number, chosen in [(0, ()), *sets]:
        key = " ".join(chosen)
        score = scores[key]
        rows.append(
            {
                "network": subject.name,
                "deleted": number,
                "draw": counts.get(number, 0),
                "blocks": key or None,
                **measured(score),
                "changed": score.changed,
                "error_recalibrated": again[key].error if again else None,
                **against_intact(scores[""] if chosen else None, score),
            }
        )
        counts[number] = counts.get(number, 0) + 1
    drawn = rows[1:] if len({row["deleted"] for row in rows}) > 2 else []  # one number has no rank
    ordered = spearman([row["deleted"] for row in drawn], [row["error"] for row in drawn], seed)
    settings = subject.chance() | {"drawn_from": names, "blocks": len(network.blocks)}
    settings |= asdict(ordered)
    listed = [(number, scores[" ".join(chosen)]) for number, chosen in [(0, ()), *sets]]
    return [MULTI.result(rows, **settings), summarise(rows, listed, settings, seed)]


def deletable(network: UnraveledNetwork, parameters: Parameters) -> list[str]:
    """The units that sets are drawn from."""
    return [unit.name for unit in network.surgical if parameters.resizing or not unit.plan.resizes]


def check_sizes(deleted: Sequence[int], units: int) -> None:
    """Whether so many of `units` can be deleted.

    Raises:
        ValueError: a number below 1 or above theirs.
    """
    for number in deleted:
        if not 1 <= number <= units:
            raise ValueError(
                f"cannot delete {number} of {units} units; give numbers from 1 to {units} (units that resize count "
                "only with --resizing)"
            )


def draw_lesions(
    names: Sequence[str], deleted: Sequence[int], draws: int, seed: int
) -> list[tuple[int, tuple[str, ...]]]:
    """Random sets of names, all different, in the order of `deleted`; each set in the order of `names`.

    Raises:
        ValueError: a number below 1 or above the number of names, or fewer than one draw.
    """
    import random  # noqa: PLC0415

    if draws < 1:
        raise ValueError(f"{draws} draws; give at least one")
    check_sizes(deleted, len(names))
    generator = random.Random(seed)
    sets = []
    for number in deleted:
        if comb(len(names), number) <= draws:
            chosen = list(combinations(range(len(names)), number))
        else:
            found: dict[tuple[int, ...], None] = {}
            while len(found) < draws:
                found[tuple(sorted(generator.sample(range(len(names)), number)))] = None
            chosen = list(found)
        sets += [(number, tuple(names[i] for i in indices)) for indices in chosen]
    return sets


def summarise(
    rows: Sequence[Mapping[str, Any]], scores: Sequence[tuple[int, Score]], settings: Mapping[str, Any], seed: int
) -> Result:
    """One row per number of deleted blocks; `scores` are per row the number and the score."""
    import numpy as np  # noqa: PLC0415

    summary = []
    for number in dict.fromkeys(row["deleted"] for row in rows):
        mine = [row for row in rows if row["deleted"] == number]
        errors = np.array([row["error"] for row in mine])
        its = [score for count, score in scores if count == number]
        _, (images_low, images_high), both = over_images(its, comb(len(settings["drawn_from"]), number), seed)
        again = [row["error_recalibrated"] for row in mine if row["error_recalibrated"] is not None]
        draws_low, draws_high = bootstrap_mean(errors, seed)
        if draws_low is not None and draws_high is not None:
            # sets are drawn without repetition: where all are drawn, no other draws are left
            kept = (1 - len(mine) / comb(len(settings["drawn_from"]), number)) ** 0.5
            middle = float(errors.mean())
            draws_low, draws_high = middle - kept * (middle - draws_low), middle + kept * (draws_high - middle)
            if kept == 0:
                draws_low = draws_high = None
        low, half, high = np.quantile(errors, [0.25, 0.5, 0.75])
        summary.append(
            {
                "network": mine[0]["network"],
                "deleted": number,
                "draws": len(mine),
                "error": float(errors.mean()),
                "images_low": images_low,
                "images_high": images_high,
                "draws_low": draws_low,
                "draws_high": draws_high,
                "median": float(half),
                "quartile_low": float(low),
                "quartile_high": float(high),
                "lowest": float(errors.min()),
                "highest": float(errors.max()),
                "error_recalibrated": float(np.mean(again)) if again else None,
                "both_low": both[0],
                "both_high": both[1],
            }
        )
    return SUMMARY.result(summary, **settings)


def plot(result: Result) -> Figure:
    """Error against the number of deleted units: mean, quartiles, range of the draws (Veit et al. 2016, Fig. 5a)."""
    import pandas as pd  # noqa: PLC0415
    import seaborn as sns  # noqa: PLC0415
    from matplotlib.ticker import MaxNLocator  # noqa: PLC0415

    from resnet_probe.figures import label, legend_above, network_colours, new_figure, style  # noqa: PLC0415

    networks = list(dict.fromkeys(row["network"] for row in result.rows))
    looks = network_colours(networks, result.settings.get("colours"))
    with style():
        figure, axes = new_figure("column", aspect=0.68)
        for network in networks:
            rows = pd.DataFrame(result.of(network))
            drawn = {"data": rows, "x": "deleted", "color": looks[network]["color"], "legend": False, "ax": axes}
            line = {"marker": looks[network]["marker"], "markersize": 3, "markeredgewidth": 0, "linewidth": 1}
            for share, alpha, what, mean in ((100, 0.12, "range", {"linewidth": 0}), (50, 0.3, "quartiles", line)):
                band = {"alpha": alpha, "linewidth": 0, "label": what if network == networks[0] else None}
                name = f"{label(network)}, mean" if mean is line else None
                sns.lineplot(**drawn, **mean, y="error", errorbar=("pi", share), err_kws=band, label=name)
            if rows["error_recalibrated"].notna().all():
                sns.lineplot(
                    **drawn, y="error_recalibrated", label="BN statistics re-estimated", errorbar=None,
                    linestyle="--", linewidth=1, marker="o", markersize=3,
                    markerfacecolor="white", markeredgecolor=looks[network]["color"],
                )  # fmt: skip
        if classes := result.about(networks[0]).get("classes"):
            chance = 100 * (1 - 1 / classes)
            axes.axhline(chance, color="0.6", linewidth=0.6, linestyle=":", zorder=0, label="chance")
        axes.set_ylim(bottom=0)
        axes.xaxis.set_major_locator(MaxNLocator("auto", integer=True))
        axes.set_xlabel("number of deleted units")
        axes.set_ylabel("error (%)")
        legend_above(figure)
    return figure
