"""Pruning in depth: which blocks can go, in which order, and what that costs on images that did not choose.

sets.py        sets of kept blocks on the images that choose, each measured once
scores.py      a score of every block, image by image
searches.py    greedy, beam and exhaustive search, runs of consecutive blocks
stability.py   how much an order changes with the images that choose
costs.py       parameters and multiply-adds of what is left
times.py       how long it takes
table.py       `run` -> prune.csv, prune_stability.csv
runs.py        runs of consecutive blocks -> prune_runs.csv
heal.py        cut networks, their statistics re-estimated, then fine-tuned; and kept
figures.py     `plot`, `plot_orders`
facts.py       what the tables say

Source: one score: Men et al. 2024, ShortGPT (arXiv 2403.03853); Gromov et al. 2024 (arXiv 2403.17887). Greedy search:
Song et al. 2024, SLEB (arXiv 2402.09025); Zhong et al. 2024, BlockPruner (arXiv 2406.10594).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from resnet_probe.analyses import columns as c
from resnet_probe.analyses.declaration import (
    Amount,
    Analysis,
    Census,
    Claim,
    Column,
    Needs,
    Plot,
    StudyStep,
    Table,
    option,
)
from resnet_probe.lazy import lazily

__all__ = [
    "ANALYSIS",
    "BRANCHES",
    "INTACT",
    "MOST_EXHAUSTIVE",
    "ORDERS",
    "PRUNE",
    "RUNS",
    "STABILITY",
    "UPDATES",
    "Parameters",
]

INTACT = "(intact)"
CHOOSE = 1000  # images that choose
MOST_EXHAUSTIVE = 12  # blocks of which all subsets are run
# Name -> what it is, in words for figures.
ORDERS = {
    "greedy": "greedy: best next block",
    "beam": "beam search",
    "exhaustive": "best subset",
    "runs": "best run of consecutive blocks",
    "shapley": "Shapley value, error",
    "shapley_loss": "Shapley value, loss",
    "lesion": "single lesion, error",
    "lesion_loss": "single lesion, loss",
    "influence": "block influence",
    "angular": "angular distance",
    "ratio": "|F| / |h|",
    "first_order": "first-order damage",
    "weights": "weight norm",
    "last": "last block first",
    "random": "random",
}
UPDATES = ("ratio", "first_order", "influence", "angular")  # orders by what a block adds to its input
BRANCHES = ("weights", *UPDATES)  # orders for which a branch has to stand alone
USUAL = tuple(name for name in ORDERS if name not in ("beam", "exhaustive", "runs"))


def _orders(text: str) -> tuple[str, ...]:
    names = tuple(dict.fromkeys(name.strip() for name in text.split(",") if name.strip()))
    unknown = [name for name in names if name not in ORDERS]
    if unknown or not names:
        raise ValueError(f"no order {(unknown or [text])[0]!r}; give some of {','.join(ORDERS)}")
    return names


@dataclass(frozen=True)
class Parameters:
    """In which orders blocks go, and which images choose."""

    orders: tuple[str, ...] = option(
        USUAL, f"Orders to compare: some of {', '.join(ORDERS)}.", metavar="NAME,NAME,...", parse=_orders,
        write=",".join, shown="all but beam, exhaustive and runs",
    )  # fmt: skip
    beam_width: int = option(4, "Sets that the order beam keeps of each size.", least=2)
    draws: int = option(
        10, "Random orders; and as many for Shapley values of many blocks, with their reverses.", least=2
    )
    resizing: bool = option(False, "Take blocks that change the shape too.")
    choose_split: str = option("train", "Images that choose.")
    choose_limit: int = option(CHOOSE, "How many of them.", least=2, metavar="N")
    report_split: str | None = option(None, "Images that the tables report on.", shown="--split")
    heal: int | None = option(
        None, "Train the networks cut by the first order to 3/4, 1/2 and 1/4 of the blocks for so many steps.",
        least=1, metavar="STEPS",
    )  # fmt: skip
    save: int | None = option(None, "Keep the network with K blocks removed by the first order.", least=1, metavar="K")
    time: bool = option(False, "Time the cut networks: an image alone, and in the fastest batch.")
    same_images: bool = option(False, "Let the images that choose report too; their errors are too low.")


PRUNE = Table(
    "prune",
    "Pruning blocks",
    (
        c.NETWORK,
        Column("order", str, "how the blocks were chosen: `greedy`, `shapley`, `lesion`, ...; `(intact)` for none"),
        Column("removed", int, "how many blocks are removed"),
        Column("blocks", str, "the removed blocks, separated by spaces, in the order in which they go"),
        *(c.IMAGES, c.WRONG, c.ERROR, c.LOSS),
        Column("parameters", int, "that are left"),
        Column("flops", int, "multiply-adds for one image that are left"),
        *c.DIFFERENCE,
        Column("choose_images", int, "images that chose the blocks"),
        Column("draw", int, "number of the random order, from 0"),
        *(c.ERROR_LOW, c.ERROR_HIGH),
        *c.NEWLY,
        Column("p", float, "of the exact McNemar test that the error is the intact network's", method="mcnemar"),
        Column(
            "healing", str, "empty, `statistics` (batch-norm statistics re-estimated) or `trained` (and fine-tuned)"
        ),
        Column("over_greedy", float, "error over that of the greedy order with as many blocks removed", "points"),
        *c.interval("over_greedy", "its 95 % score interval", "points", method="tango"),
        Column("chosen_error", float, "error on the images that chose, where it was measured", "%"),
        Column("chosen_loss", float, "loss on them", "nats"),
        Column("time_1", float, "that an image takes alone; with --time", "ms"),
        Column("time_best", float, "that an image takes in batches of `best_batch` images (settings)", "ms"),
    ),
    question="Which blocks can go, and at what cost?",
    source="Men et al. 2024; Song et al. 2024",
    plots=(
        Plot("prune", "resnet_probe.analyses.prune.figures:plot"),
        Plot("prune_orders", "resnet_probe.analyses.prune.figures:plot_orders"),
    ),
    facts="resnet_probe.analyses.prune.facts:frontier",
    headline="images",
    claims=(
        Claim(
            25, "The best next block, measured anew, beats one ranking", "removed one after another by a greedy search",
            "Song et al. 2024, SLEB (arXiv 2402.09025), of language models", "resnet_probe.claims.pruning:greedy",
            methods=("tango",),
        ),
        Claim(
            26, "Fine-tuning recovers what cutting blocks lost", "a small amount of fine-tuning heals the damage",
            "Gromov et al. 2024 (arXiv 2403.17887), of language models", "resnet_probe.claims.pruning:healing",
            needs="prune --heal", methods=("tango",),
        ),
    ),
    blocks=True,
    listed=False,
)  # fmt: skip

STABILITY = Table(
    "prune_stability",
    "How much the orders depend on the images",
    (
        c.NETWORK,
        Column("order", str, "how the blocks were chosen"),
        Column("images", int, "images that chose"),
        Column(
            "compared",
            str,
            "orders of two disjoint `halves`, or of bootstrap `resamples` with that of all",
        ),
        Column("repeats", int, "random splits, or samples"),
        Column("kendall_tau", float, "Kendall's tau of the two orders, mean", heading="Kendall's tau"),
        Column("tau_low", float, "2.5 % quantile over the repeats"),
        Column("tau_high", float, "97.5 % quantile"),
        Column("first", int, "how many of the first blocks are compared"),
        Column("overlap", float, "share of them that both orders have, mean"),
        Column("overlap_low", float, "2.5 % quantile over the repeats"),
        Column("overlap_high", float, "97.5 % quantile"),
    ),
    question="How much does an order change with the images that choose?",
    facts="resnet_probe.analyses.prune.facts:stability",
    parent="prune",
    blocks=True,
    printed=("order", "compared", "kendall_tau", "tau_low", "tau_high", "overlap", "overlap_low", "overlap_high"),
)

RUNS = Table(
    "prune_runs",
    "Runs of consecutive blocks",
    (
        c.NETWORK,
        Column("length", int, "how many consecutive blocks are removed; 0 in the intact network's row"),
        Column("start", int, "place of the first of them among the blocks that can go, from 0"),
        Column("blocks", str, "the removed blocks, separated by spaces"),
        *(c.IMAGES, c.WRONG, c.ERROR, c.LOSS, *c.DIFFERENCE),
    ),
    question="Are late blocks in a row missed less than early ones?",
    source="Gromov et al. 2024",
    command="prune --orders runs",
    facts="resnet_probe.analyses.prune.facts:runs",
    methods=("halves",),
    claims=(
        Claim(
            27, "Late consecutive blocks are the most redundant", "deeper layers in a row can go with little loss",
            "Gromov et al. 2024 (arXiv 2403.17887), of language models", "resnet_probe.claims.pruning:late",
            methods=("halves",),
        ),
    ),
    parent="prune",
    blocks=True,
    listed=False,
)  # fmt: skip

STUDIED = ("lesion_loss", "last")  # orders of a study


def _studied(amount: Amount, census: Census) -> Mapping[str, Any] | None:
    """Cheap orders, and the greedy search where there is time for it; without training images nothing can choose."""
    if census.keeping < 2 or not census.training:
        return None
    if not amount.searches:
        return {"orders": STUDIED, "choose_limit": amount.images}
    return {"orders": ("greedy", *STUDIED, "influence"), "choose_limit": min(CHOOSE, amount.limit or CHOOSE)}


ANALYSIS = Analysis(
    "prune",
    help="Which blocks can go: orders compared, on images that did not choose.",
    description="""Remove blocks one after another, in several orders, and measure the error of what is left.

    The images of --choose-split choose, those of --report-split (or --split) are reported on. Writes prune.csv with the
    frontier of every order, prune_stability.csv, settings and figures; with the order runs
    prune_runs.csv; with --heal and --save networks too. Finished
    work is kept in files prune*.journal: an interrupted run goes on where it stopped, --fresh starts over.""",
    parameters=Parameters,
    needs=Needs(sweep=True, blocks=True, tasks=True),
    run="resnet_probe.analyses.prune.table:run",
    check="resnet_probe.analyses.prune.table:check",
    tables=(PRUNE, STABILITY, RUNS),
    study=(StudyStep("Blocks of {network} that can go", "prune", _studied),),
)

__getattr__, __dir__ = lazily(__name__, figures=("plot", "plot_orders"), table=("run",))
