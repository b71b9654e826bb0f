"""Fade every block: the loss as its residual branch is scaled from 0 (the lesion) through 1 (intact) to 1.5.

The slope at 1 is dL/d(alpha), minus the first-order prediction of the damage (`iterative`, column `first_order`): how
far the curve between 1 and 0 bends says how wrong that prediction is.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from resnet_probe.analyses.columns import PAIRED, against_intact, measured
from resnet_probe.analyses.lesion import SCALES, Parameters
from resnet_probe.figures.looks import DASHED

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from resnet_probe.analyses.runtime import Runtime
    from resnet_probe.analyses.subject import Subject
    from resnet_probe.tables import Result

NEAR = 0.001  # on either side of 1, for the slope there
FACTORS = (*(number / 8 for number in range(8)), 1 - NEAR, 1.0, 1 + NEAR, *(number / 8 for number in range(9, 13)))


def run(subject: Subject, parameters: Parameters, runtime: Runtime) -> list[Result]:
    """Scale the branch of every residual block, one block at a time.

    Returns:
        Table `lesion_scales`, the factors of one block after those of another. The slope is the central difference
        of the losses at 0.999 and 1.001, in the row of factor 1.
    """
    network = subject.network
    variants = {"": network.steps}
    for unit in network.blocks:
        for factor in FACTORS:
            scaled = network.scale({unit.name: factor}) if factor else network.delete(unit.name)
            if factor != 1:
                variants[_key(unit.name, factor)] = scaled.steps
    scores = runtime.evaluate(subject, variants, "lesion_scales")
    rows: list[dict[str, Any]] = []
    for index, unit in enumerate(network.blocks):
        mine = {factor: scores[_key(unit.name, factor) if factor != 1 else ""] for factor in FACTORS}
        slope = (mine[1 + NEAR].loss - mine[1 - NEAR].loss) / (2 * NEAR)
        for factor, score in mine.items():
            compared = against_intact(scores[""] if factor != 1 else None, score)
            rows.append(
                {
                    "network": subject.name,
                    "block": unit.name,
                    "index": index,
                    "alpha": factor,
                    **measured(score),
                    "changed": score.changed,
                    "slope": slope if factor == 1 else None,
                    **{column.key: compared[column.key] for column in PAIRED},
                }
            )
    return [SCALES.result(rows, **subject.chance())]


def _key(block: str, factor: float) -> str:
    return f"{block} {factor}"


def plot(result: Result) -> Figure:
    """Loss against the factor on a block's branch, a line for each block, coloured by its position."""
    from matplotlib import colormaps  # noqa: PLC0415
    from matplotlib.cm import ScalarMappable  # noqa: PLC0415
    from matplotlib.colors import Normalize  # noqa: PLC0415
    from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator  # noqa: PLC0415

    from resnet_probe.figures import GREY, label, legend_above, new_figure, style  # noqa: PLC0415

    first = result.networks[0]
    rows = result.of(first)
    blocks = list(dict.fromkeys(row["block"] for row in rows))
    with style():
        figure, axes = new_figure("column", aspect=0.68)
        colours = ScalarMappable(Normalize(0, max(len(blocks) - 1, 1)), colormaps["viridis"])
        for number, block in enumerate(blocks):
            mine = [row for row in rows if row["block"] == block]
            axes.plot([row["alpha"] for row in mine], [row["loss"] for row in mine], linewidth=0.8,
                      color=colormaps["viridis"](number / max(len(blocks) - 1, 1)))  # fmt: skip
        intact = next(row["loss"] for row in rows if row["alpha"] == 1)
        axes.axhline(intact, color=GREY, linewidth=0.8, linestyle=DASHED, label=f"{label(first)}, intact")
        axes.set_yscale("log")
        axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axes.yaxis.set_minor_locator(NullLocator())
        axes.set_xlabel("factor on the branch (0: deleted, 1: intact)")
        axes.set_ylabel("loss (nats)")
        figure.colorbar(colours, ax=axes, label="block (index from the input)")
        legend_above(figure)
    return figure
