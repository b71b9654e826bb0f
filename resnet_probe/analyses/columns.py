"""Columns that tables have in common."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from resnet_probe.analyses.declaration import Column

if TYPE_CHECKING:
    from resnet_probe.evaluate import Score

NETWORK = Column("network", str, "the checkpoint's file stem, or the name of the architecture")
BLOCK = Column("block", str, "path of the block or layer in the network")
INDEX = Column("index", int, "position among the units that can be deleted, from the input, from 0")
STAGE = Column("stage", int, "stage of the network, from 1")
RESIZES = Column("resizes", bool, "whether it changes channels or size")
IMAGES = Column("images", int, "images that were evaluated")
WRONG = Column("wrong", int, "images that were classified wrongly; empty in other tasks")
ERROR = Column("error", float, "share of wrong predictions; in other tasks their own error", "%")
LOSS = Column("loss", float, "mean cross-entropy; in other tasks their own loss", "nats")
CHANGED = Column("changed", int, "predictions that differ from the intact network's")
ERROR_LOW = Column(
    "error_low",
    float,
    "lower end of the error's 95 % Wilson interval over images, in other tasks of a bootstrap's",
    "%",
    "low",
    method="wilson",
)
ERROR_HIGH = Column("error_high", float, "upper end of it", "%", "high")


def interval(name: str, of: str, unit: str = "", *, method: str = "") -> tuple[Column, Column]:
    """The ends of an interval, `<name>_low` and `<name>_high`: `of` says of what and over what it is."""
    low, high = (f"{name}_{end}" if name else end for end in ("low", "high"))
    return Column(low, float, f"lower end of {of}", unit, method=method), Column(high, float, "upper end of it", unit)


def paired_with(other: str) -> tuple[Column, ...]:
    """What `statistics.paired` says of a row and another on the same images; `other` is a genitive."""
    return (
        *_newly(other),
        Column("increase", float, f"of the error over {other}", "points"),
        *interval("increase", "its 95 % score interval over images (Tango 1998)", "points", method="tango"),
        Column("p", float, f"of the exact McNemar test that the error is {other}", method="mcnemar"),
    )


def _newly(other: str) -> tuple[Column, Column]:
    return (
        Column("newly_wrong", int, f"images that are wrong here and were right in {other} predictions"),
        Column("newly_right", int, f"images that are right here and were wrong in {other} predictions"),
    )


NEWLY = _newly("the intact network's")
PAIRED = paired_with("the intact network's")
DIFFERENCE = (
    Column("difference", float, "of the error from the intact network's, on the same images", "points"),
    *interval("difference", "its 95 % interval over images (Tango 1998)", "points", method="tango"),
)
ERROR_RECALIBRATED = Column(
    "error_recalibrated", float, "error with re-estimated batch-norm statistics", "%", "error, BN re-estimated"
)

INTACT_ITSELF: dict[str, None] = dict.fromkeys(column.key for column in PAIRED)  # what they say of the intact network


def measured(score: Score) -> dict[str, Any]:
    """The cells of `IMAGES`, `WRONG`, `ERROR` and `LOSS`."""
    return {"images": score.images, "wrong": score.wrong, "error": score.error, "loss": score.loss}


def with_interval(score: Score) -> dict[str, Any]:
    """Those, and the ends of the error's interval."""
    low, high = score.interval
    return {**measured(score), "error_low": low, "error_high": high}


def against_intact(intact: Score | None, score: Score, *, sequence: bool = False) -> dict[str, Any]:
    """The cells of `PAIRED` and `DIFFERENCE`, of the intact network and another on the same images.

    Where the number of images was not fixed beforehand (`sequence`), the interval is a confidence sequence's, and what
    needs a fixed number is empty. In the row of the intact network, which has no other (`intact` is None), all are.
    """
    if intact is None:
        return {**INTACT_ITSELF, **dict.fromkeys(column.key for column in DIFFERENCE)}
    return score.against(intact, sequence=sequence)
