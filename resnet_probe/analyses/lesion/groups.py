"""Which block does which class need? Single deletions, looked at class by class.

No network is run again: a deletion's wrong flags say of each image whether it is right, and the label of which class it
is. A network of 16 blocks has 160 cells on ten classes, each with a tenth of the images, so some would look large by
chance: all cells of a network are held at a false discovery rate.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from resnet_probe.analyses.lesion import BY, INTACT
from resnet_probe.analyses.lesion.facts import DISCOVERY
from resnet_probe.statistics import false_discovery, paired

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from resnet_probe.tables import Result

__all__ = ["by_class", "plot"]

UNCLEAR = "0.82"  # colour of a cell that is not told from zero


def by_class(name: str, flags: Mapping[str, Any], labels: Any, classes: Sequence[str]) -> Result:
    """The error of every deletion on every class, against the intact network's on the same images.

    Args:
        name: of the network.
        flags: whether each image is wrong, bool `(images,)`, of the intact network (`INTACT`) and of every deletion.
        labels: class of each image, int `(images,)`.
        classes: name of each class; those without images have no rows.

    Returns:
        Table `lesion_by`, the intact network's rows first. Intervals are Tango's, tests McNemar's, both as in `lesion`
        and conditional on the class; `q` holds all cells of deletions at a false discovery rate (Benjamini and Hochberg
        1995).
    """
    import numpy as np  # noqa: PLC0415 - not to declare, only to run

    numbers = np.asarray(labels)
    members = {number: np.flatnonzero(numbers == number) for number in np.unique(numbers).tolist()}
    rows: list[dict[str, Any]] = []
    for index, (block, wrong) in enumerate(flags.items(), -1):
        for number, images in members.items():
            here = wrong[images]
            row = {
                "network": name,
                "block": block,
                "index": None if block == INTACT else index,
                "group": classes[number],
                "images": len(images),
                "wrong": int(here.sum()),
                "error": 100 * float(here.mean()),
            }
            if block != INTACT:
                found = paired(flags[INTACT][images], here)
                row |= asdict(found)
                low, high = found.increase_low, found.increase_high
                row |= {"difference": found.increase, "difference_low": low, "difference_high": high}
            rows.append({key: row.get(key) for key in BY.keys})
    cells = rows[len(members) :]
    for row, q in zip(cells, false_discovery([row["p"] for row in cells]), strict=True):
        row["q"] = q
    return BY.result(rows)


def plot(result: Result) -> Figure:
    """Heat map of what a deletion adds to the error of each class, in percentage points, block by block.

    A grey cell is not told from zero, all cells together at a false discovery rate of 5 %.
    """
    import numpy as np  # noqa: PLC0415
    import pandas as pd  # noqa: PLC0415
    import seaborn as sns  # noqa: PLC0415

    from resnet_probe.figures import label, legend_above, new_figure, style  # noqa: PLC0415

    first = result.rows[0]["network"]
    rows = [row for row in result.of(first) if row["block"] != INTACT]
    blocks = list(dict.fromkeys(row["block"] for row in rows))
    groups = [row["group"] for row in rows if row["block"] == blocks[0]]
    values = np.array([row["difference"] for row in rows]).reshape(len(blocks), -1)
    unclear = np.array([row["q"] > DISCOVERY for row in rows]).reshape(values.shape)
    # one extreme cell must not wash out the others
    limit = float(np.quantile(abs(values), 0.98)) or 1.0
    wide = len(groups) > 25
    with style():
        figure, axes = new_figure("page" if wide else "column", height=min(180, 30 + 4 * len(blocks)))
        sns.heatmap(
            pd.DataFrame(values, blocks, groups), mask=unclear, cmap="RdBu_r", vmin=-limit, vmax=limit,
            cbar_kws={"label": "added error (points)", "extend": "both"}, ax=axes,
            xticklabels=1 + len(groups) // (60 if wide else 28), yticklabels=1 + len(blocks) // 60,
        )  # fmt: skip
        axes.set_facecolor(UNCLEAR)
        axes.plot([], [], linestyle="", marker="s", color=UNCLEAR, label=f"not told from 0 (q above {DISCOVERY:g})")
        legend_above(figure)
        axes.tick_params(labelsize=5.5)
        axes.set(xlabel="", ylabel="deleted")
        axes.set_title(label(first), fontsize=7)
    return figure
