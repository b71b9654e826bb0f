"""Costs, times and memory of networks, beside their lesions, responses and paths."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from resnet_probe.analyses.compare import Parameters
from resnet_probe.analyses.compare.table import SMALL_BATCH, Measured, compared
from resnet_probe.analyses.compare.zoo import run_zoo

if TYPE_CHECKING:
    from resnet_probe.analyses.runtime import Runtime
    from resnet_probe.analyses.subject import Subject
    from resnet_probe.tables import Result

DEFAULT_BATCH = 64


def run(subjects: Sequence[Subject] | None, parameters: Parameters, runtime: Runtime) -> list[Result]:
    """One row per network; or, without any, the networks of the papers.

    Args:
        subjects: networks that see images of the same data set; None with `zoo`.
        runtime: with the tables `lesion` and `paths` of the same networks.

    Raises:
        ValueError: a network that cannot train on batches of this size.
    """
    if subjects is None:
        runtime.say("counting the networks of the papers takes about a minute")
        with runtime.progress("networks of the papers") as report:
            return [run_zoo(progress=report)]
    if runtime.workers.rank > 0:
        return []
    import torch  # noqa: PLC0415 - torch is needed to run, not to plot

    measured = [_measured(subject, parameters, runtime) for subject in subjects]
    result = compared(measured, runtime.tables["lesion"], runtime.tables["paths"])
    return [result.with_settings({"threads": torch.get_num_threads()})]


def _measured(subject: Subject, parameters: Parameters, runtime: Runtime) -> Measured:
    """Costs of a network, and its times and memory unless they are not wanted."""
    from resnet_probe.analyses.compare.counts import costs  # noqa: PLC0415
    from resnet_probe.analyses.compare.memory import peak_memory  # noqa: PLC0415
    from resnet_probe.evaluate.timing import time_steps  # noqa: PLC0415

    classes = len(subject.data.classes)
    alone = replace(runtime, folder=None)  # one pass, which needs no journal
    (intact,) = alone.evaluate(subject, {"": subject.network.steps}, "images").values()
    known = Measured(subject.name, costs(subject.network), classes, subject.trained, intact.flags)
    if parameters.no_timing:
        return known
    model = subject.checkpoint.model if subject.checkpoint else subject.network.to_module()
    shape, size = subject.data.input_shape, runtime.batch_size or DEFAULT_BATCH
    how: dict[str, Any] = {"classes": classes, "device": runtime.device, "seed": runtime.seed}
    runtime.say(f"timing {subject.name}: {parameters.timing_batches} batches of {size} and of {SMALL_BATCH} images")
    timings = {}
    for images in dict.fromkeys((size, SMALL_BATCH)):
        with runtime.progress(f"times of {subject.name}, batches of {images}") as report:
            timings[images] = time_steps(
                model, shape, batch_size=images, batches=parameters.timing_batches, progress=report, **how
            )
    return replace(
        known, timings=(timings[size], timings[SMALL_BATCH]), batches=parameters.timing_batches, batch_size=size,
        peak_memory=peak_memory(model, shape, batch_size=size, **how),
    )  # fmt: skip
