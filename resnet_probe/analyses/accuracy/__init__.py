"""Errors of networks: top-1 and top-5, loss, calibration, per class; over several views, and of ensembles.

measure.py   `run`: the views that are asked for, and the networks as they run fastest
views.py     `single`, `ten_crop`, `multi_scale`: how each image is looked at
scoring.py   averages of scores, and the measures made of them
table.py     `tabulate`: one pass over the images -> evaluate.csv, evaluate_classes.csv, evaluate_reliability.csv
figure.py    `plot`, `plot_classes`, `plot_reliability`
facts.py     what the tables say

Source: He et al. 2015, section 3.4 and its last tables; Guo et al. 2017 (arXiv 1706.04599) for calibration.
"""

from __future__ import annotations

from dataclasses import dataclass

from resnet_probe.analyses import columns as c
from resnet_probe.analyses.declaration import Analysis, Column, Needs, Plot, Table, option
from resnet_probe.lazy import lazily

AVERAGES = ("softmax", "logits")


def sizes(text: str) -> tuple[int, ...]:
    """Sides in pixels; `auto` is an empty tuple: they are chosen when the network is known."""
    if text == "auto":
        return ()
    parts = [part.strip() for part in text.split(",")]
    if not all(part.isdecimal() and int(part) > 0 for part in parts):
        raise ValueError(f"{text!r} given; give auto, or sides in pixels with commas, as 224,256,384,480,640")
    return tuple(dict.fromkeys(int(part) for part in parts))


def _written(value: tuple[int, ...]) -> str:
    return ",".join(map(str, value)) or "auto"


@dataclass(frozen=True)
class Parameters:
    """How each image is looked at, and what is averaged."""

    ten_crop: bool = option(False, "Also average ten crops: corners, centre, and the same mirrored.")
    scales: tuple[int, ...] | None = option(
        None,
        "Also average several sizes: shorter sides in pixels, as 224,256,384,480,640; auto: around the network's own.",
        metavar="auto|LIST", parse=sizes, write=_written,
    )  # fmt: skip
    ensemble: bool = option(False, "Also average all checkpoints.", least_ckpts=2)
    crop: int | None = option(
        None, "Side of the crops.", least=1, metavar="N", shown="the network's input size", needs=("ten_crop", "scales")
    )
    average: str = option(
        "softmax", "What is averaged over views and checkpoints.", choices=AVERAGES,
        needs=("ten_crop", "scales", "ensemble"),
    )  # fmt: skip


VIEW = Column("view", str, "`single`, `ten-crop` or `multi-scale`")
WILSON = "its 95 % Wilson interval over images"

EVALUATE = Table(
    "evaluate",
    "Errors and calibration",
    (
        *(c.NETWORK, c.IMAGES),
        Column("top1_error", float, "share of images whose class is not the first prediction", "%", "top-1 error"),
        Column("top5_error", float, "share whose class is none of the first five", "%", "top-5 error"),
        c.LOSS,
        Column("calibration_error", float, "expected calibration error, 15 bins (Guo et al. 2017)", "%"),
        VIEW,
        Column("inputs", int, "of each image"),
        c.WRONG,
        *c.interval("top1", WILSON, "%", method="wilson"),
        *c.interval("top5", WILSON, "%", method="wilson"),
        Column("confidence", float, "mean probability of the predicted class"),
        Column("against", str, "the row that it is compared with on the same images: the first, `network, view`"),
        *c.paired_with("that row's"),
    ),
    question="How good is it, how sure is it, alone or with others?",
    source="He et al. 2015; Guo et al. 2017",
    plots=(Plot("evaluate", "resnet_probe.analyses.accuracy.figure:plot"),),
    facts="resnet_probe.analyses.accuracy.facts:errors",
)

CLASSES = Table(
    "evaluate_classes",
    "Errors by class",
    (
        *(c.NETWORK, VIEW),
        Column("class", str, "name of the class"),
        Column("index", int, "number of the class, from 0"),
        *(c.IMAGES, c.WRONG, c.ERROR, c.ERROR_LOW, c.ERROR_HIGH),
        Column("mostly_taken_for", str, "the commonest wrong prediction"),
    ),
    plots=(Plot("evaluate_classes", "resnet_probe.analyses.accuracy.figure:plot_classes"),),
    facts="resnet_probe.analyses.accuracy.facts:classes",
    parent="evaluate",
)

RELIABILITY = Table(
    "evaluate_reliability",
    "Calibration",
    (
        *(c.NETWORK, VIEW),
        Column("bin", int, "number of the bin of confidence, from 0"),
        Column("low", float, "confidence from"),
        Column("high", float, "confidence to"),
        c.IMAGES,
        Column("confidence", float, "mean over the images of the bin"),
        Column("accuracy", float, "share of them that is right"),
        *c.interval("accuracy", WILSON, method="wilson"),
    ),
    plots=(Plot("evaluate_reliability", "resnet_probe.analyses.accuracy.figure:plot_reliability"),),
    parent="evaluate",
)

ANALYSIS = Analysis(
    "evaluate",
    help="Measure errors and calibration of checkpoints.",
    description="""Measure top-1 and top-5 error, loss, calibration and the error of each class.

    Several checkpoints are run in one pass over the images. Writes evaluate.csv, evaluate_classes.csv and
    evaluate_reliability.csv, with settings and figures.""",
    parameters=Parameters,
    needs=Needs(together=True, batches=True),
    run="resnet_probe.analyses.accuracy.measure:run",
    tables=(EVALUATE, CLASSES, RELIABILITY),
)

__getattr__, __dir__ = lazily(
    __name__,
    figure=("plot", "plot_classes", "plot_reliability"),
    measure=("run",),
    table=("ENSEMBLE", "tabulate"),
    views=("multi_scale", "scales_for", "single", "ten_crop"),
)
