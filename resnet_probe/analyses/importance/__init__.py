"""Importance: what each block is worth, alone and together with others, over the sets of blocks that are kept.

table.py      `run`: all sets of few blocks, chains of sets of many -> importance.csv, importance_subsets.csv,
              importance_pairs.csv
figures.py    `plot`, `plot_subsets`, `plot_pairs`
facts.py      what the tables say

The value of a set is minus the mean loss (nats), or the accuracy (percent), of the network with these blocks kept, so
that a block that helps has a positive value.

Source: Shapley 1953; Banzhaf 1965; of parts of networks: Ghorbani and Zou 2020, "Neuron Shapley" (arXiv 2002.09815).
"""

from __future__ import annotations

from dataclasses import dataclass

from resnet_probe.analyses import columns as c
from resnet_probe.analyses.declaration import Analysis, Claim, Column, Needs, Plot, StudyStep, Table, option
from resnet_probe.lazy import lazily

__all__ = ["ANALYSIS", "IMPORTANCE", "MOST_EXACT", "PAIRS", "SUBSETS", "UNITS", "Parameters"]

MOST_EXACT = 12  # blocks of which all subsets are run
UNITS = {"loss": "nats", "accuracy": "points"}  # measure -> unit of a value


@dataclass(frozen=True)
class Parameters:
    """How many orders are drawn where there are too many blocks for all subsets."""

    draws: int = option(
        50, f"Random orders, each with its reverse, where there are more than {MOST_EXACT} blocks.", least=2
    )


MEASURE = Column("measure", str, "`loss` (value of a set: minus the mean loss) or `accuracy`")

IMPORTANCE = Table(
    "importance",
    "Importance of blocks",
    (
        *(c.NETWORK, c.BLOCK, c.INDEX, MEASURE),
        Column("shapley", float, "Shapley value: what the block adds, mean over the orders in which blocks can come"),
        *c.interval(
            "shapley", "its 95 % interval over images, and over draws where these are samples", method="shapley"
        ),
        Column("banzhaf", float, "Banzhaf value: what the block adds, mean over the sets of others"),
        Column("exact", bool, "whether all subsets were run"),
        Column("samples", int, "subsets that were run; where these are samples, orders that were drawn"),
        *(c.STAGE, c.RESIZES, c.IMAGES),
        *c.interval("images", "the interval over images alone: these draws, other images"),
        *c.interval("draws", "the interval over draws alone: these images, other draws"),
        *c.interval("banzhaf", "the Banzhaf value's interval", method="shapley"),
        Column("lesion", float, "what deleting the block alone takes from the intact network"),
        *c.interval("lesion", "its 95 % interval over images", method="shapley"),
    ),
    question="What is each block worth, with whichever others there are?",
    source="Shapley 1953; Banzhaf 1965",
    plots=(Plot("importance", "resnet_probe.analyses.importance.figures:plot"),),
    facts="resnet_probe.analyses.importance.facts:blocks",
    headline="most valuable block",
    claims=(
        Claim(
            24, "Single lesions rank blocks as Shapley values do",
            "layers of large Shapley value are those whose removal hurts",
            "Zhang et al. 2024 (arXiv 2409.14381), of language models", "resnet_probe.claims.pruning:shapley",
            methods=("rank",),
        ),
    ),
    printed=("block", "measure", "shapley", "shapley_low", "shapley_high", "banzhaf", "lesion"),
    blocks=True,
)  # fmt: skip

SUBSETS = Table(
    "importance_subsets",
    "All subsets of blocks",
    (
        c.NETWORK,
        Column("kept", int, "how many of the blocks are kept"),
        Column("blocks", str, "the kept blocks, separated by spaces"),
        *(c.IMAGES, c.WRONG, c.ERROR, c.LOSS, c.ERROR_LOW, c.ERROR_HIGH),
    ),
    question="Which sets of blocks are enough?",
    plots=(Plot("importance_subsets", "resnet_probe.analyses.importance.figures:plot_subsets"),),
    facts="resnet_probe.analyses.importance.facts:subsets",
    parent="importance",
    blocks=True,
    listed=False,
)

PAIRS = Table(
    "importance_pairs",
    "Interaction of pairs",
    (
        c.NETWORK,
        Column("block_a", str, "the first of the two"),
        Column("block_b", str, "the second"),
        MEASURE,
        Column("interaction", float, "Shapley interaction index: above zero the two are worth more together"),
        *c.interval("interaction", "its 95 % interval over images", method="shapley"),
        Column("banzhaf", float, "Banzhaf interaction index"),
    ),
    question="Which blocks need, and which replace each other?",
    source="Grabisch and Roubens 1999",
    plots=(Plot("importance_pairs", "resnet_probe.analyses.importance.figures:plot_pairs"),),
    facts="resnet_probe.analyses.importance.facts:pairs",
    parent="importance",
    blocks=True,
)


ANALYSIS = Analysis(
    "importance",
    help="Shapley and Banzhaf values of blocks, exact for few, sampled for many.",
    description=f"""Measure what each block is worth: its Shapley and Banzhaf value over the sets of blocks kept.

    Of up to {MOST_EXACT} blocks all subsets are run, in one shared pass; then the values are exact, and the
    interaction of every pair and the table of all subsets are written too. Of more blocks random orders are drawn.
    Writes importance.csv, importance.json and the figure. Finished work is kept in importance.journal: an interrupted
    run goes on where it stopped, --fresh starts over.""",
    parameters=Parameters,
    needs=Needs(sweep=True, blocks=True, tasks=True),
    run="resnet_probe.analyses.importance.table:run",
    check="resnet_probe.analyses.importance.table:check",
    tables=(IMPORTANCE, SUBSETS, PAIRS),
    study=(
        StudyStep(
            "Importance of blocks of {network}",
            "importance",
            lambda amount, census: {"draws": max(2, amount.draws // 2)} if census.blocks > 1 else None,
            few=True,
        ),
    ),
)

__getattr__, __dir__ = lazily(__name__, figures=("plot", "plot_pairs", "plot_subsets"), table=("run",))
