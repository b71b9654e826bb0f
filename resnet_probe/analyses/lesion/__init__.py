"""Lesion study: delete residual blocks at test time and measure what that does to the error.

single.py    every block, one at a time -> lesion.csv
measures.py  what tasks other than classification measure beside the error -> lesion_measures.csv
groups.py    the same, class by class -> lesion_by.csv
several.py   random sets of blocks -> lesion_multi.csv, lesion_multi_summary.csv
pairs.py     every pair, and how the two depend on each other -> lesion_pairs.csv
scales.py    every block faded -> lesion_scales.csv
facts.py     what the tables say

Source: Veit et al. 2016, sections 4.1 and 4.2, Figs. 3 and 5a. Pairs, fading and re-estimated statistics are ours.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from resnet_probe.analyses import columns as c
from resnet_probe.analyses.declaration import (
    Amount,
    Analysis,
    Census,
    Claim,
    Column,
    Needs,
    Plot,
    Spread,
    StudyStep,
    Table,
    option,
)
from resnet_probe.analyses.parsing import numbers, written_numbers
from resnet_probe.lazy import lazily

if TYPE_CHECKING:
    from resnet_probe.analyses.runtime import Runtime
    from resnet_probe.analyses.subject import Subject
    from resnet_probe.tables import Result

__all__ = ["ANALYSIS", "BY", "INTACT", "LESION", "MEASURES", "MULTI", "PAIRS", "SCALES", "SUMMARY", "Parameters", "run"]

VEIT = "Veit et al. 2016 (arXiv 1605.06431)"
RULES = "resnet_probe.claims.lesions"
INTACT = "(intact)"  # the block of the row of the intact network


@dataclass(frozen=True)
class Parameters:
    """What is deleted, and whether it is measured again with other statistics."""

    multi: range | None = option(
        None, "Delete K random units at a time, as 1:20.", metavar="K:K", parse=numbers, write=written_numbers
    )
    draws: int = option(100, "Random sets for each K of --multi.", least=1, needs=("multi",))
    pairs: bool = option(False, "Delete every pair of units, and measure how they interact.")
    scales: bool = option(False, "Scale the branch of each block, from 0 (deleted) through 1 (intact) to 1.5.")
    resizing: bool = option(False, "With --multi, draw units that change the shape too.", needs=("multi",))
    until: float | None = option(
        None,
        "Add images until every difference is known within so many percentage points, then stop.",
        metavar="POINTS",
    )
    by: str | None = option(
        None, "Also the error of every group of images: which block does which class need?", choices=("class",)
    )
    recalibrate: bool = option(False, "Measure again with batch-norm statistics re-estimated.")
    recalibrate_split: str = option("train", "Images for --recalibrate.", needs=("recalibrate",))
    recalibrate_limit: int = option(2000, "How many of them.", least=1, metavar="N", needs=("recalibrate",))

    def __post_init__(self) -> None:
        given = [name for name in ("multi", "pairs", "scales") if getattr(self, name)]
        if len(given) > 1:
            raise ValueError(f"--{' and --'.join(given)} given; give one of them, or none for single deletions")
        if self.recalibrate and (self.pairs or self.scales):
            raise ValueError(f"--recalibrate goes with single deletions and --multi, not with --{given[0]}")
        if self.by and given:
            raise ValueError(f"--by goes with single deletions, not with --{given[0]}; leave out one of them")
        if self.until is not None:
            if not 0 < self.until < 100:
                raise ValueError(f"--until {self.until:g}: give percentage points above 0 and below 100, such as 0.5")
            if other := next((name for name in (*given, "by", "recalibrate") if getattr(self, name)), None):
                raise ValueError(
                    "--until goes with single deletions, the only ones whose intervals allow to look while images are "
                    f"added; leave out --{other}"
                )


LESION = Table(
    "lesion",
    "Deleting one unit",
    (
        *(c.NETWORK, c.BLOCK, c.INDEX, c.STAGE, c.RESIZES, c.IMAGES, c.WRONG, c.ERROR, c.LOSS, c.CHANGED),
        Column("kind", str, "`block` or `layer`"),
        Column("shortcut", str, "what remains of a deleted block: `identity`, `zero-pad`, `conv1x1`, ..."),
        *(c.ERROR_LOW, c.ERROR_HIGH, c.ERROR_RECALIBRATED, *c.PAIRED, c.DIFFERENCE[0]),
        replace(c.DIFFERENCE[1], meaning=f"{c.DIFFERENCE[1].meaning}; with --until, of a confidence sequence"),
        c.DIFFERENCE[2],
    ),
    question="What happens to the error when one unit is deleted?",
    source="Veit et al. 2016, Fig. 3",
    spread=Spread(("block", "index"), ("error", "increase", "loss")),
    plots=(Plot("lesion", "resnet_probe.analyses.lesion.single:plot"),),
    facts="resnet_probe.analyses.lesion.facts:single",
    methods=("sequence",),
    paper=("network", "block", "stage", "error", "increase", "p", "loss", "error_recalibrated"),
    headline="median lesion",
    claims=(
        Claim(
            2, "Test error of a CIFAR ResNet", "by depth", "He et al. 2015 (arXiv 1512.03385), Table 6",
            "resnet_probe.claims.sizes:errors",
            methods=("wilson",),
        ),
        Claim(
            6, "Deleting any one layer of a VGG brings the error to chance", "about 90 %", f"{VEIT}, Fig. 3",
            f"{RULES}:lesions", needs="lesion of a VGG",
            methods=("wilson", "bonferroni"),
        ),
        Claim(
            7, "Deleting one residual block changes almost nothing; blocks that resize matter more",
            "almost no change; more for blocks that downsample", f"{VEIT}, section 4.1 and Fig. 3", f"{RULES}:lesions",
            needs="lesion of a residual network",
            methods=("tango", "groups", "bonferroni"),
        ),
        Claim(
            22, "Blocks in the middle matter less than the first and the last", "middle layers are robust to deletion",
            "Lad et al. 2024 (arXiv 2406.19384), of language models", f"{RULES}:middle",
            needs="lesion of a residual network",
            methods=("groups",),
        ),
    ),
)  # fmt: skip

MEASURES = Table(
    "lesion_measures",
    "What else the task measures",
    (
        *(c.NETWORK, c.BLOCK, c.INDEX, c.IMAGES),
        Column("measure", str, "`error`, `loss`, and those of the task, such as `map`, `map50` or `iou`"),
        Column("class", str, "the class that it is of; empty for all together"),
        Column("value", float, "the measure, in `unit`"),
        Column("unit", str, "`%`, `nats`, `tokens`, or empty"),
        *c.interval("", "the measure's 95 % interval over images", method="resamples"),
        Column("difference", float, "from the intact network, on the same images"),
        *c.interval("difference", "its 95 % interval over images", method="resamples"),
    ),
    parent="lesion",
    facts="resnet_probe.analyses.lesion.facts:measures",
)

BY = Table(
    "lesion_by",
    "Deleting one unit, class by class",
    (
        *(c.NETWORK, c.BLOCK, c.INDEX),
        Column("group", str, "name of the class"),
        replace(c.IMAGES, meaning="images of the class"),
        replace(c.WRONG, meaning="of them, those that were classified wrongly"),
        c.ERROR,
        *(*c.NEWLY, *c.DIFFERENCE),
        c.PAIRED[-1],
        Column(
            "q",
            float,
            "the same with the false discovery rate over all cells (deletion and class) of the network controlled",
            method="discovery",
        ),
    ),
    question="Which block does which class need?",
    command="lesion --by class",
    plots=(Plot("lesion_by", "resnet_probe.analyses.lesion.groups:plot"),),
    facts="resnet_probe.analyses.lesion.facts:groups",
    headline="cells above zero",
    parent="lesion",
)

MULTI = Table(
    "lesion_multi",
    "Deleting several blocks",
    (
        c.NETWORK,
        Column("deleted", int, "how many units are deleted"),
        Column("draw", int, "number of the set among those of that size, from 0"),
        Column("blocks", str, "the deleted units, separated by spaces"),
        *(c.IMAGES, c.WRONG, c.ERROR, c.LOSS, c.CHANGED, c.ERROR_RECALIBRATED, *c.PAIRED, *c.DIFFERENCE),
    ),
    question="How does the error rise with the number of deleted blocks?",
    source="Veit et al. 2016, Fig. 5a",
    command="lesion --multi 1:20",
    plots=(Plot("lesion_multi", "resnet_probe.analyses.lesion.several:plot"),),
    facts="resnet_probe.analyses.lesion.facts:several",
    methods=("rank",),
    headline="rank correlation",
    claims=(
        Claim(
            8, "The error rises smoothly with the number of deleted blocks", "mean error rises step by step",
            f"{VEIT}, section 4.2 and Fig. 5a", f"{RULES}:several",
            methods=("rank",),
        ),
    ),
    blocks=True,
)  # fmt: skip

SUMMARY = Table(
    "lesion_multi_summary",
    "Means and intervals",
    (
        c.NETWORK,
        Column("deleted", int, "how many units are deleted"),
        Column("draws", int, "sets of that size"),
        Column("error", float, "mean over the sets", "%"),
        *c.interval("images", "the mean's 95 % interval over images (same draws, other images)", "%", method="images"),
        *c.interval("draws", "the mean's 95 % interval over draws (same images, other draws)", "%", method="draws"),
        Column("median", float, "over the sets", "%"),
        Column("quartile_low", float, "lower quartile over the sets", "%"),
        Column("quartile_high", float, "upper quartile", "%"),
        Column("lowest", float, "lowest error of a set", "%"),
        Column("highest", float, "highest error of a set", "%"),
        c.ERROR_RECALIBRATED,
        *c.interval("both", "the mean's 95 % interval over draws and images at once", "%", method="both"),
    ),
    parent="lesion_multi",
    facts="resnet_probe.analyses.lesion.facts:means",
)

PAIRS = Table(
    "lesion_pairs",
    "Deleting pairs",
    (
        c.NETWORK,
        Column("block_a", str, "the first of the two"),
        Column("block_b", str, "the second"),
        *(c.IMAGES, c.WRONG, c.ERROR, c.LOSS),
        Column("interaction", float, "error of the pair less what two single deletions add up to", "points"),
        *c.interval("interaction", "its 95 % interval over images", "points", method="interaction"),
        Column(
            "p",
            float,
            "of the test that the interaction is zero (normal approximation over images)",
            method="interaction",
        ),
        Column(
            "q",
            float,
            "the same with the false discovery rate over all pairs of the network controlled",
            method="discovery",
        ),
        Column("additive", float, "error that two independent deletions would give", "%"),
        Column("past_chance", bool, "whether that exceeds the error of guessing, so that the error cannot add up"),
        Column("interaction_loss", float, "loss of the pair less what two single deletions add up to", "nats"),
        *(*c.NEWLY, *c.DIFFERENCE),
    ),
    question="Do blocks depend on each other?",
    command="lesion --pairs",
    plots=(Plot("lesion_pairs", "resnet_probe.analyses.lesion.pairs:plot"),),
    facts="resnet_probe.analyses.lesion.facts:pairs",
    headline="pairs above zero",
    blocks=True,
)

SCALES = Table(
    "lesion_scales",
    "Fading one block",
    (
        *(c.NETWORK, c.BLOCK, c.INDEX),
        Column("alpha", float, "factor on the residual branch: 0 deletes the block, 1 leaves it as it is"),
        *(c.IMAGES, c.WRONG, c.ERROR, c.LOSS, c.CHANGED),
        Column("slope", float, "dL/d(alpha) at 1: minus the first-order damage", "nats"),
        *c.PAIRED,
    ),
    question="How does the loss change as one block fades?",
    command="lesion --scales",
    plots=(Plot("lesion_scales", "resnet_probe.analyses.lesion.scales:plot"),),
    facts="resnet_probe.analyses.lesion.facts:scales",
    headline="steepest block",
    blocks=True,
    listed=False,
)

MOST_DELETED = 20  # Veit et al. 2016, Fig. 5a


def _one_at_a_time(amount: Amount, census: Census) -> Mapping[str, Any] | None:
    return None if census.compared else {}  # a comparison deletes every unit of all its networks


def _several(amount: Amount, census: Census) -> Mapping[str, Any] | None:
    if census.keeping < 2:
        return None
    return {"multi": range(1, min(MOST_DELETED, census.keeping) + 1), "draws": amount.draws}


def run(subject: Subject, parameters: Parameters = Parameters(), runtime: Runtime | None = None) -> list[Result]:
    """Delete every unit of a network one at a time, or random sets of units, or every pair; or fade every block.

    Args:
        subject: network and labelled images.
        parameters: what is deleted.
        runtime: where and how to compute; by default on the CPU, with nothing kept.

    Raises:
        ValueError: nothing can be deleted, or not that many units.
    """
    # torch is needed to run, not to declare
    from resnet_probe.analyses.lesion import pairs, scales, several, single  # noqa: PLC0415
    from resnet_probe.analyses.runtime import Runtime  # noqa: PLC0415
    from resnet_probe.analyses.subject import require  # noqa: PLC0415

    require(subject, parameters, Parameters)
    check(subject, parameters)
    chosen = ((parameters.pairs, pairs), (parameters.scales, scales), (parameters.multi, several), (True, single))
    how = next(module for wanted, module in chosen if wanted)
    return how.run(subject, parameters, runtime or Runtime())


def check(subject: Subject, parameters: Parameters) -> None:
    """Whether the network has what is to be deleted.

    Raises:
        ValueError: it has not.
    """
    if parameters.until is not None and not subject.task.flagged:
        raise ValueError(f"--until is for classification, not {subject.task.name}; give a --limit instead")
    if parameters.by:
        from resnet_probe.data.dataset import are_classes  # noqa: PLC0415

        if not subject.task.flagged or not are_classes(subject.data.labels):
            raise ValueError(f"--by class given, and images of {subject.data.name} have no class each; leave it out")
    units = len(subject.network.surgical)
    if not units:
        raise ValueError(
            f"{subject.name} has no residual blocks and no layer that an identity could replace; "
            "`resnet-probe inspect` shows what it is made of"
        )
    if parameters.scales and not subject.network.blocks:
        raise ValueError(f"{subject.name} has no residual blocks, so there is no branch to scale")
    if parameters.pairs and units < 2:
        raise ValueError(f"{subject.name} has {units} units that can be deleted; pairs need two")
    if parameters.multi:
        from resnet_probe.analyses.lesion.several import check_sizes, deletable  # noqa: PLC0415

        check_sizes(parameters.multi, len(deletable(subject.network, parameters)))


ANALYSIS = Analysis(
    "lesion",
    help="Delete each block and measure the error.",
    description="""Delete each residual block at test time and measure the error (Veit et al. 2016, Fig. 3).

    With --by class also the error of each class, with --multi random sets of blocks (Fig. 5a), with --pairs every pair,
    with --scales each block faded. In a network without residual blocks each convolution is deleted instead, and an
    identity takes its place: first channels kept or zero channels added, strided where the layer is. Writes tables,
    settings and figures. Finished work is kept in a file NAME.journal in the folder: an interrupted run goes on where
    it stopped, --fresh starts over.""",
    parameters=Parameters,
    needs=Needs(sweep=True, tasks=True),
    run="resnet_probe.analyses.lesion:run",
    check="resnet_probe.analyses.lesion:check",
    tables=(LESION, BY, MEASURES, MULTI, SUMMARY, PAIRS, SCALES),
    study=(
        StudyStep("Single deletions in {network}", "lesion", _one_at_a_time),
        StudyStep("Several deletions in {network}", "lesion_multi", _several),
    ),
)

__getattr__, __dir__ = lazily(__name__, single=("plot",))
