"""Measure the responses of a network, in one pass over the images."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

from resnet_probe.analyses.responses import CHANNELS, MODES, RESPONSES, Parameters
from resnet_probe.analyses.responses.points import MeasuredLayer, measured_layers

if TYPE_CHECKING:
    from resnet_probe.analyses.runtime import Runtime
    from resnet_probe.analyses.subject import Subject
    from resnet_probe.probes import ImageSummary, Summary
    from resnet_probe.tables import Result
    from resnet_probe.unraveled import UnraveledNetwork

BATCH = 64


def run(subject: Subject, parameters: Parameters = Parameters(), runtime: Runtime | None = None) -> list[Result]:
    """Mean and population standard deviation of each layer's response, over all images, positions and channels.

    The values do not depend on the batch size or on the order of the images, except in mode `train`, whose images are
    drawn at random with the seed; running statistics are not updated.

    Source: He et al. 2015, Fig. 7. The paper does not say which images, which mode of batch norm and over which axes;
    the defaults here are held-out images, evaluation mode and all axes together.

    Returns:
        Table `responses`, one row per layer; with `channels` also `responses_channels`, one row per channel.

    Raises:
        ValueError: no such layers or mode, or no images.
    """
    import torch  # noqa: PLC0415 - torch is needed to run, not to plot

    from resnet_probe.analyses.runtime import Runtime  # noqa: PLC0415
    from resnet_probe.analyses.subject import require  # noqa: PLC0415
    from resnet_probe.probes import ChannelMoments, ImageMoments, Moments, record, tapped  # noqa: PLC0415

    require(subject, parameters, Parameters)
    runtime = runtime or Runtime()
    network, name = subject.network, subject.name
    layers, mode, channels = parameters.layers, parameters.mode, parameters.channels
    batch_size = runtime.batch_size or BATCH
    if mode not in MODES:
        raise ValueError(f"unknown mode {mode!r}: give one of {', '.join(MODES)}")
    if not len(subject.data):
        raise ValueError(f"{subject.data.name} has no images, so nothing responds to them; give some")
    if mode == "train":
        subject = subject.shuffled(runtime.seed)
    measured, reason = measured_layers(network, layers)
    model = tapped(network.anatomy.traced, [layer.operation for layer in measured], batch_statistics=mode == "train")
    taps = [f"_taps.{number}" for number in range(len(measured))]
    with torch.inference_mode(), ExitStack() as attached, runtime.progress(f"responses of {name}") as report:
        by_dim = {dim: [t for t, m in zip(taps, measured, strict=True) if m.channel_dim == dim] for dim in (1, -1)}
        layerwise = record(model, taps, ImageMoments())
        channelwise: list[Any] = [
            record(model, of, ChannelMoments(dim)) for dim, of in by_dim.items() if channels and of
        ]
        for recording in (layerwise, *channelwise):
            attached.enter_context(recording)
        done = 0
        for images in subject.inputs(batch_size, runtime.device):
            model(images)
            done += len(images)
            report(done, len(subject.data))
    found = [layerwise[tap] for tap in taps]
    settings = {"layers": layers, "mode": mode, "images": len(subject.data), "measured": reason}
    if mode == "train":
        settings["batch_size"] = batch_size
    # batch statistics tie images together, and windows of an image are no images
    known = [mode == "eval" and one.images == len(subject.data) and not math.isnan(one.std_error) for one in found]
    errors = [one.std_error if each else None for one, each in zip(found, known, strict=True)]
    table = RESPONSES.result(_rows(name, measured, found, errors, network), **settings)
    if not channels:
        return [table]
    states = {point.name: state for recording in channelwise for point, state in recording.states().items()}
    rows = [
        {"network": name, "layer": layer.name, "index": index, "channel": channel, **_cells(Moments().finish(state))}
        for index, (tap, layer) in enumerate(zip(taps, measured, strict=True))
        for channel, state in enumerate(states[tap])
    ]
    return [table, CHANNELS.result(rows, **settings)]


def _rows(
    name: str,
    measured: Sequence[MeasuredLayer],
    found: Sequence[ImageSummary],
    errors: Sequence[float | None],
    network: UnraveledNetwork,
) -> Iterator[dict[str, Any]]:
    falling = sorted(range(len(found)), key=lambda i: -found[i].std)
    rank = {index: place for place, index in enumerate(falling)}
    stages = {node: unit.plan.stage for unit in network.units for node in unit.plan.nodes}
    for index, (layer, summary) in enumerate(zip(measured, found, strict=True)):
        yield {
            "network": name,
            "layer": layer.name,
            "index": index,
            "rank": rank[index],
            **_cells(summary),
            "point": layer.point,
            "part": layer.part,
            "stage": stages[layer.operation.node],
            "std_error": errors[index],
        }


def _cells(summary: Summary | ImageSummary) -> dict[str, Any]:
    return {"mean": summary.mean, "std": summary.std, "values": summary.values}
