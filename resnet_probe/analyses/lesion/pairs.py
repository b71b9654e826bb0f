"""Delete every pair of units: do blocks depend on each other?

If blocks acted independently, the error of a pair would be what the two single deletions add up to. The interaction
E(i,j) - E(i) - E(j) + E() is what is left: above zero the two cover for each other, below zero they share one injury.
"""

from __future__ import annotations

from itertools import combinations
from typing import TYPE_CHECKING

from resnet_probe.analyses.lesion import PAIRS, Parameters

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from resnet_probe.analyses.runtime import Runtime
    from resnet_probe.analyses.subject import Subject
    from resnet_probe.tables import Result

__all__ = ["plot", "run"]


def run(subject: Subject, parameters: Parameters, runtime: Runtime) -> list[Result]:
    """Delete every pair of units.

    Returns:
        Table `lesion_pairs`, one row per pair in the order of the network; the interval of the interaction is the
        normal approximation of the mean per-image interaction. The settings hold the saving: steps that were run, and
        steps of a loop over the variants.

    Raises:
        ValueError: the network has fewer than two units that can be deleted.
    """
    import numpy as np  # noqa: PLC0415

    from resnet_probe.evaluate import grow  # noqa: PLC0415 - torch is needed to run, not to plot

    network = subject.network
    names = [unit.name for unit in network.surgical]
    if len(names) < 2:
        raise ValueError(f"{subject.name} has {len(names)} units that can be deleted; pairs need two")
    chosen = [(), *((single,) for single in names), *combinations(names, 2)]
    variants = {" ".join(group): network.delete(*group).steps for group in chosen}
    scores = runtime.evaluate(subject, variants, "lesion_pairs")
    wrong = {key: score.flags.astype(np.int8) for key, score in scores.items()}
    rows = []
    for a, b in combinations(names, 2):
        score = scores[f"{a} {b}"]
        per_image = 100.0 * (wrong[f"{a} {b}"] - wrong[a] - wrong[b] + wrong[""])
        middle = float(per_image.mean())
        margin = 1.96 * float(per_image.std(ddof=1)) / len(per_image) ** 0.5 if len(per_image) > 1 else None
        rows.append(
            {
                "network": subject.name,
                "block_a": a,
                "block_b": b,
                "images": score.images,
                "wrong": score.wrong,
                "error": score.error,
                "loss": score.loss,
                "interaction": middle,
                "interaction_low": None if margin is None else middle - margin,
                "interaction_high": None if margin is None else middle + margin,
            }
        )
    shared = len(grow(list(variants.values()), network.is_identity).edges)
    looped = sum(len(grow([steps], network.is_identity).edges) for steps in variants.values())
    settings = {
        "steps_run": shared,
        "steps_of_a_loop": looped,
        "intact_error": scores[""].error,
        "single_errors": {single: scores[single].error for single in names},
    }
    return [PAIRS.result(rows, **settings)]


def plot(result: Result) -> Figure:
    """Heat map of the interactions; red pairs hurt more together than apart, blue ones less."""
    import pandas as pd  # noqa: PLC0415
    import seaborn as sns  # noqa: PLC0415

    from resnet_probe.figures import label, new_figure, style  # noqa: PLC0415

    first = result.rows[0]["network"]
    rows = pd.DataFrame(row for row in result.rows if row["network"] == first)
    names = list(dict.fromkeys([*rows["block_a"], *rows["block_b"]]))
    values = rows.pivot(index="block_b", columns="block_a", values="interaction").reindex(names, columns=names)
    # one extreme pair must not wash out the others
    limit = float(rows["interaction"].abs().quantile(0.98)) or 1.0
    with style():
        figure, axes = new_figure("column", aspect=0.86)
        legend = {"label": "interaction (percentage points of error)", "extend": "both"}
        step = max(1, len(names) // 14)
        sns.heatmap(
            values, cmap="RdBu_r", vmin=-limit, vmax=limit, cbar_kws=legend, xticklabels=step, yticklabels=step, ax=axes
        )
        axes.tick_params(labelsize=5.5)
        axes.set(xlabel="", ylabel="")
        axes.set_title(label(first), fontsize=7)
    return figure
