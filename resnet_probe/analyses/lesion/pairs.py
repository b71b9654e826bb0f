"""Delete every pair of units: do blocks depend on each other?

If blocks acted independently, the error of a pair would be what the two single deletions add up to. The interaction
E(i,j) - E(i) - E(j) + E() is what is left: above zero the two cover for each other, below zero they share one injury,
or the error has reached its ceiling: it cannot add up past guessing. The loss has no such ceiling.
"""

from __future__ import annotations

from itertools import combinations
from statistics import NormalDist
from typing import TYPE_CHECKING, Any

from resnet_probe.analyses.columns import DIFFERENCE, NEWLY, against_intact, measured
from resnet_probe.analyses.lesion import PAIRS, Parameters
from resnet_probe.analyses.lesion.facts import DISCOVERY
from resnet_probe.statistics import false_discovery

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from resnet_probe.analyses.runtime import Runtime
    from resnet_probe.analyses.subject import Subject
    from resnet_probe.evaluate import Score
    from resnet_probe.tables import Result

__all__ = ["plot", "run"]


def run(subject: Subject, parameters: Parameters, runtime: Runtime) -> list[Result]:
    """Delete every pair of units.

    Returns:
        Table `lesion_pairs`, one row per pair in the order of the network; interval and test of the interaction are the
        normal approximation of the mean per-image interaction, and the tests of all pairs together are held at a false
        discovery rate (Benjamini and Hochberg 1995). The settings hold the saving: steps that were run, and
        steps of a loop over the variants.
    """
    from resnet_probe.evaluate import saving  # noqa: PLC0415 - torch is needed to run, not to plot

    network = subject.network
    names = [unit.name for unit in network.surgical]
    chosen = [(), *((single,) for single in names), *combinations(names, 2)]
    variants = {" ".join(group): network.delete(*group).steps for group in chosen}
    scores = runtime.evaluate(subject, variants, "lesion_pairs")
    classes = subject.chance().get("classes")
    chance = 100 * (1 - 1 / classes) if classes else 100.0
    rows: list[dict[str, Any]] = []
    for a, b in combinations(names, 2):
        score = scores[f"{a} {b}"]
        middle, error = _interaction(score, scores[a], scores[b], scores[""])
        margin = None if error is None else 1.96 * error
        compared = against_intact(scores[""], score)
        additive = scores[a].error + scores[b].error - scores[""].error
        rows.append(
            {
                "network": subject.name,
                "block_a": a,
                "block_b": b,
                **measured(score),
                "interaction": middle,
                "interaction_low": None if margin is None else middle - margin,
                "interaction_high": None if margin is None else middle + margin,
                "p": None if error is None else _p_of_zero(middle, error),
                "q": None,
                "additive": additive,
                "past_chance": additive > chance,
                "interaction_loss": score.loss - scores[a].loss - scores[b].loss + scores[""].loss,
                **{column.key: compared[column.key] for column in (*NEWLY, *DIFFERENCE)},
            }
        )
    if score.images > 1:
        for row, q in zip(rows, false_discovery([row["p"] for row in rows]), strict=True):
            row["q"] = q
    shared, looped = saving(list(variants.values()), network.is_identity)
    settings = {
        "steps_run": shared,
        "steps_of_a_loop": looped,
        "intact_error": scores[""].error,
        "single_errors": {single: scores[single].error for single in names},
    }
    return [PAIRS.result(rows, **settings)]


def _interaction(pair: Score, a: Score, b: Score, intact: Score) -> tuple[float, float | None]:
    """The interaction in points, and its standard error over images; of resampled tasks that of the resamples."""
    import numpy as np  # noqa: PLC0415

    four = pair, a, b, intact
    if not pair.flagged:
        both, one, other, none = (score.resampled["error", ""] for score in four)
        drawn = both - one - other + none
        drawn = drawn[~np.isnan(drawn)]
        error = float(drawn.std(ddof=1)) if len(drawn) > 1 else None
        return pair.error - a.error - b.error + intact.error, error
    both, one, other, none = (score.flags.astype(np.int8) for score in four)
    per_image = 100.0 * (both - one - other + none)
    error = float(per_image.std(ddof=1)) / len(per_image) ** 0.5 if len(per_image) > 1 else None
    return float(per_image.mean()), error


def _p_of_zero(mean: float, error: float) -> float:
    """Two-sided p of a normal mean of zero; without any spread there is nothing to doubt."""
    return 2 * NormalDist().cdf(-abs(mean) / error) if error else float(mean == 0)


def plot(result: Result) -> Figure:
    """Heat map of the interactions; red pairs hurt more together than apart, blue ones less.

    A dot marks an interaction that is told from zero, all pairs together at a false discovery rate of 5 %; a cross one
    whose two deletions would add up past guessing, so that it has to be below zero.
    """
    import pandas as pd  # noqa: PLC0415
    import seaborn as sns  # noqa: PLC0415
    from matplotlib.patheffects import withStroke  # noqa: PLC0415

    from resnet_probe.figures import label, legend_above, new_figure, style  # noqa: PLC0415

    first = result.rows[0]["network"]
    rows = pd.DataFrame(row for row in result.rows if row["network"] == first)
    names = list(dict.fromkeys([*rows["block_a"], *rows["block_b"]]))
    values = rows.pivot(index="block_b", columns="block_a", values="interaction")
    values = values.reindex(names[1:], columns=names[:-1])  # the first has nobody before it, the last nobody after
    # one extreme pair must not wash out the others
    limit = float(rows["interaction"].abs().quantile(0.98)) or 1.0
    with style():
        figure, axes = new_figure("column", aspect=0.86)
        legend = {"label": "interaction (points; > 0: worse together)", "extend": "both"}
        step = max(1, len(names) // 14)
        sns.heatmap(
            values, cmap="RdBu_r", vmin=-limit, vmax=limit, cbar_kws=legend, xticklabels=step, yticklabels=step, ax=axes
        )
        place = {name: number + 0.5 for number, name in enumerate(names)}
        if "q" in rows:
            found = rows[rows["q"] <= DISCOVERY]
            for ceiling, marker, size, text in (
                (False, "o", 1.8, f"differs from 0 (q at most {DISCOVERY:g})"),
                (True, "x", 3, "differs from 0, sum is past chance"),
            ):
                these = found[found["past_chance"].astype(bool) == ceiling]
                x, y = [place[name] for name in these["block_a"]], [place[name] - 1 for name in these["block_b"]]
                halo = [withStroke(linewidth=1.6, foreground="white")]
                axes.plot(x, y, linestyle="", marker=marker, markersize=size, color="black", label=text,
                          path_effects=halo)  # fmt: skip
            legend_above(figure)
        axes.tick_params(labelsize=5.5)
        axes.set(xlabel="", ylabel="")
        axes.set_title(label(first), fontsize=7)
    return figure
