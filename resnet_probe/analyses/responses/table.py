"""Measure the responses of a network, in one pass over the images."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from resnet_probe.analyses.responses.points import MeasuredLayer, measured_layers
from resnet_probe.tables import Result

if TYPE_CHECKING:
    from resnet_probe.data import Data
    from resnet_probe.probes import Summary
    from resnet_probe.unraveled import UnraveledNetwork

__all__ = ["CHANNEL_COLUMNS", "COLUMNS", "MODES", "Responses", "run", "together"]

COLUMNS = ("network", "layer", "index", "rank", "mean", "std", "values", "point", "part", "stage")
CHANNEL_COLUMNS = ("network", "layer", "index", "channel", "mean", "std", "values")
MODES = ("eval", "train")


@dataclass(frozen=True)
class Responses:
    """The table of layers, and that of their channels if it was asked for."""

    layers: Result
    channels: Result | None


def run(
    network: UnraveledNetwork,
    data: Data,
    *,
    name: str,
    layers: str = "conv3x3",
    mode: str = "eval",
    channels: bool = False,
    batch_size: int = 64,
    device: str = "cpu",
    seed: int = 0,
    progress: Callable[[int, int], None] | None = None,
) -> Responses:
    """Mean and population standard deviation of each layer's response, over all images, positions and channels.

    The values do not depend on the batch size or on the order of the images, except in mode `train`.

    Source: He et al. 2015, Fig. 7. The paper does not say which images, which mode of batch norm and over which axes;
    the defaults here are held-out images, evaluation mode and all axes together.

    Args:
        network: the unraveled network.
        data: images.
        name: name of the network in the table.
        layers: `conv3x3`, `conv` or `all`.
        mode: of batch norm: `eval` (running statistics) or `train` (those of each batch, whose images are then drawn
            at random with `seed`; running statistics are not updated).
        channels: also tabulate each channel.
        batch_size: images per pass.
        device: where the network's weights are.
        seed: of the order of the images in mode `train`.
        progress: called with the images done and their number.

    Returns:
        Table `responses`, one row per layer: `index` counts layers in the order of the data flow and `rank` by falling
        standard deviation, both from 0; `values` is how many numbers went into it; `point` says where the layer was
        measured; `part` is `trunk`, `branch` or `shortcut`. Table `responses_channels`, one row per channel.

    Raises:
        ValueError: no such layers or mode, or no images.
    """
    import torch  # noqa: PLC0415 - torch is needed to run, not to plot

    from resnet_probe.probes import ChannelMoments, Moments, combine_moments, record, tapped  # noqa: PLC0415

    if mode not in MODES:
        raise ValueError(f"unknown mode {mode!r}: give one of {', '.join(MODES)}")
    if not len(data):
        raise ValueError(f"{data.name} has no images, so nothing responds to them; give some")
    if mode == "train":
        data = data.subset(torch.randperm(len(data), generator=torch.Generator().manual_seed(seed)))
    measured, reason = measured_layers(network, layers)
    model = tapped(network.anatomy.traced, [layer.node for layer in measured], batch_statistics=mode == "train")
    taps = [f"_taps.{number}" for number in range(len(measured))]
    with torch.inference_mode(), ExitStack() as attached:
        if channels:
            by_dim = {dim: [t for t, m in zip(taps, measured, strict=True) if m.channel_dim == dim] for dim in (1, -1)}
            recordings: list[Any] = [
                record(model, chosen, ChannelMoments(dim)) for dim, chosen in by_dim.items() if chosen
            ]
        else:
            recordings = [record(model, taps, Moments())]
        for recording in recordings:
            attached.enter_context(recording)
        done = 0
        for images, _ in data.batches(batch_size, device=device):
            model(images)
            done += len(images)
            if progress:
                progress(done, len(data))
    states = {point.name: state for recording in recordings for point, state in recording.states().items()}
    if channels:
        found = [Moments().finish(combine_moments(states[tap])) for tap in taps]
    else:
        found = [Moments().finish(states[tap]) for tap in taps]
    settings = {"layers": layers, "mode": mode, "images": len(data), "measured": {name: reason}}
    if mode == "train":
        settings["batch_size"] = batch_size
    table = Result("responses", COLUMNS, tuple(_rows(name, measured, found, network)), settings)
    if not channels:
        return Responses(table, None)
    rows = [
        {"network": name, "layer": layer.name, "index": index, "channel": channel, **_cells(Moments().finish(state))}
        for index, (tap, layer) in enumerate(zip(taps, measured, strict=True))
        for channel, state in enumerate(states[tap])
    ]
    return Responses(table, Result("responses_channels", CHANNEL_COLUMNS, tuple(rows), settings))


def together(results: Sequence[Result]) -> Result:
    """One table of several networks' tables.

    Raises:
        ValueError: two networks have the same name, or none is given.
    """
    names = [name for result in results for name in dict.fromkeys(row["network"] for row in result.rows)]
    if len(set(names)) < len(names) or not names:
        twice = sorted({name for name in names if names.count(name) > 1})
        raise ValueError(f"networks in one table need different names; {', '.join(twice) or 'none'} given")
    settings = {**results[0].settings, "measured": {}}
    for result in results:
        settings["measured"] |= result.settings["measured"]
    return Result(results[0].name, results[0].columns, tuple(row for r in results for row in r.rows), settings)


def _rows(
    name: str, measured: Sequence[MeasuredLayer], found: Sequence[Summary], network: UnraveledNetwork
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
            "stage": stages[layer.node],
        }


def _cells(summary: Summary) -> dict[str, Any]:
    return {"mean": summary.mean, "std": summary.std, "values": summary.values}
