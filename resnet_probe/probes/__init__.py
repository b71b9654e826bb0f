"""Probes: statistics of activations, streamed from forward hooks.

    with record(model, "*.bn2", Moments()) as rec:
        for images, _ in data.batches(64):
            model(images)
    rec["layer1.0.bn2"].std

recorder.py    attach, count calls, fold, detach: `record`
reducers.py    what becomes of an activation: `Moments`, `ImageMoments`, `ChannelMoments`, `Extremes`, ...
selection.py   which modules: a name, a glob, a list, a class or a predicate
blocks.py      what residual blocks add to their input, image by image
taps.py        points of a traced graph that no module's output shows
"""

from .recorder import Point, Recording, StopForward, record
from .reducers import (
    Aligned,
    Alignment,
    ChannelMoments,
    Counts,
    Extremes,
    Histogram,
    ImageMoments,
    ImageSummary,
    Moments,
    Range,
    Reducer,
    Summary,
    combine_moments,
    moments,
)
from .selection import Where, select
from .taps import tapped

__all__ = [
    "Aligned",
    "Alignment",
    "ChannelMoments",
    "Counts",
    "Extremes",
    "Histogram",
    "ImageMoments",
    "ImageSummary",
    "Moments",
    "Point",
    "Range",
    "Recording",
    "Reducer",
    "StopForward",
    "Summary",
    "Where",
    "combine_moments",
    "moments",
    "record",
    "select",
    "tapped",
]
