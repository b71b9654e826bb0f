"""The views that are asked for, and the networks as they run fastest."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from resnet_probe.analyses.accuracy import Parameters
from resnet_probe.analyses.accuracy.table import tabulate
from resnet_probe.analyses.accuracy.views import View, multi_scale, scales_for, single, ten_crop

if TYPE_CHECKING:
    from torch import nn

    from resnet_probe.analyses.runtime import Runtime
    from resnet_probe.analyses.subject import Subject
    from resnet_probe.data import Data
    from resnet_probe.tables import Result

BATCH = 64


def run(
    subjects: Sequence[Subject], parameters: Parameters = Parameters(), runtime: Runtime | None = None
) -> list[Result]:
    """Errors of networks, and of all of them together, in one pass over the images.

    Returns:
        Tables `evaluate`, one row per network and view; `evaluate_classes`, one per class; `evaluate_reliability`, one
        per bin of confidence.

    Raises:
        ValueError: other images, an ensemble of one, crops larger than the images, or as `tabulate`.
    """
    from resnet_probe.analyses.runtime import Runtime  # noqa: PLC0415 - torch is needed to run, not to plot

    runtime = runtime or Runtime()
    if parameters.ensemble and len(subjects) < 2:
        raise ValueError(f"--ensemble of {len(subjects)} checkpoints; give --ckpt twice or more")
    first = subjects[0]
    data = first.data
    for other in subjects[1:]:
        if other.data.fingerprint != data.fingerprint:
            raise ValueError(
                f"{other.name} is measured on other images than {first.name} (their data or input sizes differ); "
                "evaluate them one by one"
            )
    if len(data.input_shape) != 3 and (parameters.crop or parameters.ten_crop or parameters.scales is not None):
        raise ValueError(
            f"{data.name} has inputs of shape {data.input_shape}, and crops and scales are of images (C, H, W); leave "
            "out --crop, --ten-crop and --scales"
        )
    shown = _around(first) if parameters.ten_crop else data
    views = _views(data, shown, parameters)
    shape = _input_shape(data, shown, parameters) if parameters.scales is None else None
    names = ", ".join(subject.name for subject in subjects)
    with runtime.progress(f"evaluate {names}") as report:
        measured = tabulate(
            {subject.name: _runnable(subject, runtime.device, shape) for subject in subjects},
            shown,
            normalizations={subject.name: subject.data.normalization for subject in subjects},
            views=views, ensemble=parameters.ensemble, average=parameters.average,
            batch_size=runtime.batch_size or BATCH, device=runtime.device, progress=report,
        )  # fmt: skip
    return [
        table.with_settings({"networks": {subject.name: dict(subject.provenance()) for subject in subjects}})
        for table in (measured.table, measured.classes, measured.reliability)
    ]


def _around(subject: Subject) -> Data:
    """The larger squares that a folder's images were cut from, where they were cut; else the same images."""
    data = subject.data
    if not data.folder:
        return data
    larger = subject.images(whole=True)
    return larger if larger.input_shape != data.input_shape else data


def _input_shape(data: Data, shown: Data, parameters: Parameters) -> tuple[int, ...] | None:
    """Shape of every input of the views, or None where crops and whole images differ in it."""
    if len(data.input_shape) != 3:
        return data.input_shape
    channels, height, width = data.input_shape
    if parameters.crop or shown.input_shape != data.input_shape:
        side = parameters.crop or min(height, width)
        return channels, side, side
    return None if parameters.ten_crop and height != width else (channels, height, width)


def _runnable(subject: Subject, device: str, shape: tuple[int, ...] | None) -> nn.Module:
    """The network, with batch norm folded and channels last where it can be traced and all inputs have one shape.

    Sizes that a model computes for itself may be constants after tracing, so inputs of several shapes (None) are given
    to the model itself.
    """
    from resnet_probe.evaluate import FastUnits  # noqa: PLC0415

    if subject.checkpoint is None:
        return FastUnits(subject.network)(*subject.network.steps)
    model = subject.checkpoint.model.to(device)
    if shape is None:
        return model
    try:
        network = subject.unraveled(shape)
        return FastUnits(network)(*network.steps)
    except (RuntimeError, ValueError):  # code that cannot be traced can still be run
        return model


def _views(data: Data, shown: Data, parameters: Parameters) -> list[View]:
    """The views asked for; `shown` is what they are taken from, `data` is of the networks' own input size."""
    if len(data.input_shape) != 3:
        return [single(None)]
    crop, own, side = parameters.crop, min(data.input_shape[1:]), min(shown.input_shape[1:])
    chosen: int = crop or own
    # zeros around images that are no larger than the crop, in the proportion of 4 pixels to 32, as in training
    padding = max(1, chosen // 8) if chosen == side else 0
    if chosen > side:
        raise ValueError(f"--crop {chosen} of images of {side} pixels; give at most {side}")
    views: list[Any] = [single(chosen if crop or side > own else None)]
    if parameters.ten_crop:
        views.append(ten_crop(chosen, padding=padding))
    if parameters.scales is not None:
        views.append(multi_scale(parameters.scales or scales_for(own)))
    return views
