"""Layer responses: how strongly each layer answers, as the standard deviation of its output.

points.py   which layers, and where each is measured
table.py    `run`: one pass over the images -> responses.csv, responses_channels.csv
figure.py   `plot`: original order and sorted, several networks overlaid
facts.py    what the table says

Source: He et al. 2015, section 4.2 and Fig. 7.
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
    Spread,
    StudyStep,
    Table,
    option,
)
from resnet_probe.lazy import lazily

KINDS = ("conv3x3", "conv", "all")
MODES = ("eval", "train")


@dataclass(frozen=True)
class Parameters:
    """Which layers, with which statistics of batch norm, and whether by channel."""

    layers: str = option(
        "conv3x3",
        "Layers to measure: 3x3 convolutions as in the paper, all convolutions, or linear layers too.",
        choices=KINDS,
    )
    mode: str = option(
        "eval", "Batch norm with running statistics (eval) or with those of each batch (train).", choices=MODES
    )
    channels: bool = option(False, "Also write responses_channels.csv, one row per channel.")


LAYER = Column("layer", str, "path of the layer in the network")
INDEX = Column("index", int, "position of the layer in the order of the data flow, from 0")
MEAN = Column("mean", float, "of the responses")
STD = Column("std", float, "their population standard deviation over images, positions and channels")
VALUES = Column("values", int, "how many numbers went into it")

RESPONSES = Table(
    "responses", "Layer responses",
    (
        *(c.NETWORK, LAYER, INDEX),
        Column("rank", int, "place by falling standard deviation, from 0"),
        *(MEAN, STD, VALUES),
        Column("point", str, "where it is measured: `after batch norm`, `after normalisation` or `layer output`"),
        Column("part", str, "`trunk`, or `branch` or `shortcut` of a residual block"),
        c.STAGE,
        Column("std_error", float, "standard error of `std` over images, in mode `eval`", method="influence"),
    ),
    question="How strongly does each layer respond?", source="He et al. 2015, Fig. 7",
    spread=Spread(("layer", "index"), ("std",)),
    plots=(Plot("responses", "resnet_probe.analyses.responses.figure:plot"),),
    facts="resnet_probe.analyses.responses.facts:facts",
    claims=(
        Claim(
            4, "ResNets respond less than plain networks, deeper ResNets less than shallower ones",
            "smaller standard deviation of the layers' responses",
            "He et al. 2015 (arXiv 1512.03385), section 4.2 and Fig. 7", "resnet_probe.claims.responses:responses",
            needs="responses with a ResNet and a plain network, or with ResNets of two depths",
            methods=("layers",),
        ),
    ),
)  # fmt: skip

CHANNELS = Table(
    "responses_channels",
    "Responses by channel",
    (
        *(c.NETWORK, LAYER, INDEX),
        Column("channel", int, "number of the channel, from 0"),
        *(MEAN, STD, VALUES),
    ),
    parent="responses",
    listed=False,  # thousands of rows; the CSV has them
)


def _wanted(amount: Amount, census: Census) -> Mapping[str, Any] | None:
    return None if census.compared else {} if census.convolutional else {"layers": "all"}


ANALYSIS = Analysis(
    "responses",
    help="Measure how strongly each layer responds.",
    description="""Measure the standard deviation of every layer's response (He et al. 2015, Fig. 7).

    A layer is measured after batch norm, where one follows, and before nonlinearity or addition, over all images,
    positions and channels together. Writes responses.csv, responses.json and the figure.""",
    parameters=Parameters,
    needs=Needs(batches=True, tasks=True),
    run="resnet_probe.analyses.responses.table:run",
    tables=(RESPONSES, CHANNELS),
    study=(StudyStep("Responses of {network}", "responses", _wanted),),
)

__getattr__, __dir__ = lazily(__name__, figure=("plot",), table=("run",))
