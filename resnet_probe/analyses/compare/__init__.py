"""Networks side by side: what they cost, what they are worth, and how they take the loss of a unit.

measure.py       `run`: costs, times and memory of each network
counts.py        `costs`: parameters, multiply-adds, depth
memory.py        `peak_memory`: bytes at the peak of a training step
table.py         `compared`: one row per network -> compare.csv
figure.py        `plot`: lesions, responses and path lengths overlaid
costs_figure.py  `plot_costs`: error, multiply-adds and times
facts.py         what the table says
published.py     `ZOO`: the papers' networks and the numbers that were printed about them
variants.py      the networks that papers counted, where those in use differ
zoo.py           `run_zoo`: both side by side -> zoo.csv
zoo_figure.py    `plot_zoo`, `plot_zoo_scatter`

Lesions, responses and path lengths are measured by the analyses of these names; here are their tables only.
"""

from __future__ import annotations

from dataclasses import dataclass

from resnet_probe.analyses import columns as c
from resnet_probe.analyses.declaration import Analysis, BuildsOn, Column, Needs, Plot, StudyStep, Table, option
from resnet_probe.lazy import lazily

KINDS = ("conv3x3", "conv", "all")
BATCHES = 20  # that are timed, of each kind


@dataclass(frozen=True)
class Parameters:
    """Which layers respond, and how many batches are timed; or the papers' networks instead."""

    zoo: bool = option(False, "Count the papers' networks instead, beside the printed numbers.")
    layers: str = option("conv3x3", "Layers for responses.", choices=KINDS, needs=("ckpts", "arch"))
    timing_batches: int = option(
        BATCHES, "Batches to time, after 10 that do not count.", least=2, metavar="N", needs=("ckpts", "arch")
    )
    no_timing: bool = option(False, "Measure neither times nor memory.", needs=("ckpts", "arch"))

    def __post_init__(self) -> None:
        if self.no_timing and self.timing_batches != BATCHES:
            raise ValueError("--timing-batches and --no-timing given; give one of them")

    @property
    def alone(self) -> str | None:
        """The networks of the papers, which are counted without loading anything."""
        return "zoo" if self.zoo else None


def _time(key: str, what: str, batch: str = "`batch_size`", words: str = "") -> tuple[Column, ...]:
    return (
        Column(key, float, f"{what} of a batch of {batch} images, mean over batches", "ms", f"{words}{what}"),
        Column(f"{key}_std", float, "standard deviation of that over batches", "ms", f"{words}{what}, std"),
    )


DEPTH = Column("depth", int, "convolutions and linear layers on the longest path")
FORWARD, BOTH = "forward", "forward and backward"
COMPARE = Table(
    "compare",
    "Comparison",
    (
        c.NETWORK,
        Column("parameters", int, "learned values that take part in evaluation; shared ones count once"),
        Column("flops", int, "multiply-adds for one image", heading="multiply-adds"),
        DEPTH,
        c.ERROR,
        Column("worst_lesion", float, "highest error over single deletions", "%"),
        Column("median_lesion", float, "median error over single deletions", "%"),
        *_time("forward_ms", FORWARD),
        *_time("backward_ms", BOTH),
        Column("paths", int, "all paths, exact"),
        Column("mean_path_length", float, "in layers", "layers"),
        Column("mean_path_modules", float, "in residual branches", "residual branches", "mean path length"),
        Column("units", int, "units that can be deleted", heading="units that can be deleted"),
        Column("worst_unit", str, "whose deletion gives the highest error"),
        *(c.ERROR_LOW, c.ERROR_HIGH),
        Column("chance", float, "error of guessing", "%"),
        c.IMAGES,
        Column("trained", bool, "whether the weights come from a checkpoint"),
        Column("batch_size", int, "images in a timed batch"),
        Column("timed_batches", int, "batches that were timed, of each kind"),
        Column("peak_memory_mb", float, "peak of a training step on a batch", "MB", "peak memory"),
        *_time("forward_ms_16", FORWARD, "16", "batches of 16: "),
        *_time("backward_ms_16", BOTH, "16", "batches of 16: "),
        Column("against", str, "the network that the errors are compared with: the first one"),
        *c.paired_with("that network's"),
    ),
    question="How do the networks differ in size, cost and error?",
    plots=(
        Plot("compare", "resnet_probe.analyses.compare.figure:plot", ("lesion", "responses", "paths")),
        Plot("compare_costs", "resnet_probe.analyses.compare.costs_figure:plot_costs"),
    ),
    facts="resnet_probe.analyses.compare.facts:facts",
    headline="error",
    printed=(
        *("network", "parameters", "flops", "depth", "error", "median_lesion", "worst_lesion"),
        *("forward_ms", "backward_ms", "peak_memory_mb"),
    ),
)

ZOO_TABLE = Table(
    "zoo",
    "Networks of the papers",
    (
        c.NETWORK,
        Column("title", str, "name in the paper"),
        Column("input", str, "size of one input"),
        DEPTH,
        Column("parameters", int, "counted here"),
        Column("published_parameters", int, "as printed"),
        Column("parameters_ratio", float, "counted over printed"),
        Column("multiply_adds", int, "counted here, for one input"),
        Column("published_multiply_adds", int, "as printed"),
        Column("multiply_adds_ratio", float, "counted over printed"),
        Column("as_counted_parameters", int, "of the network that the source counted, where that is another one"),
        Column("as_counted_multiply_adds", int, "of that network"),
        Column("as_counted_ratio", float, "its multiply-adds over the printed ones"),
        Column("parameters_source", str, "where the number of parameters is printed"),
        Column("multiply_adds_source", str, "where the number of multiply-adds is printed"),
        Column("note", str, "what the source counted, where that is another network"),
    ),
    question="What do the published networks cost?",
    source="He et al. 2015, Table 1",
    command="compare --zoo",
    plots=(
        Plot("zoo", "resnet_probe.analyses.compare.zoo_figure:plot_zoo"),
        Plot("zoo_scatter", "resnet_probe.analyses.compare.zoo_figure:plot_zoo_scatter"),
    ),
    printed=(
        *("title", "input", "depth", "parameters", "parameters_ratio", "multiply_adds", "multiply_adds_ratio"),
        "as_counted_ratio",
    ),
)


ANALYSIS = Analysis(
    "compare",
    help="Set networks side by side in one table and one figure.",
    description="""Set networks side by side: lesions, responses, paths, costs, times and memory.

    Every unit of every network is deleted as by `lesion`, responses are measured as by `responses` and paths counted
    as by `paths`; compare.csv has one row per network. FLOPs are multiply-adds for one image; `backward_ms` is forward
    plus backward. Times are means over batches of 16 and of --batch-size (64 without it). An interrupted run goes
    on where it stopped, --fresh starts over. With --zoo no data is needed: the networks of the papers are counted and
    compared with the printed numbers, in zoo.csv.""",
    parameters=Parameters,
    needs=Needs(sweep=True, together=True, side_by_side=True),
    run="resnet_probe.analyses.compare.measure:run",
    tables=(COMPARE, ZOO_TABLE),
    builds_on=(BuildsOn("lesion"), BuildsOn("responses", optional=True), BuildsOn("paths", images=False)),
    study=(
        StudyStep(
            "{network} beside the other network",
            "compare",
            lambda amount, census: (
                {"timing_batches": amount.batches or BATCHES, "no_timing": not amount.batches}
                if census.compared
                else None
            ),
        ),
    ),
)

__getattr__, __dir__ = lazily(
    __name__,
    counts=("Costs", "costs"),
    costs_figure=("plot_costs",),
    figure=("plot",),
    measure=("run",),
    table=("Measured", "compared"),
    zoo=("run_zoo",),
    zoo_figure=("plot_zoo", "plot_zoo_scatter"),
)
