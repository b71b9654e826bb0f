"""A detector's backbone taken apart in its place: all single deletions in one shared pass against a loop by hand.

    python benchmarks/parts.py --images 20 --n 3

The loop puts each edited backbone into the model and runs the whole model, image by image, as one would by hand. Both
measure the same detections and losses; times are side by side, in turns.
"""

from __future__ import annotations

import argparse
import statistics
import time

import numpy as np
import torch

from resnet_probe import unravel
from resnet_probe.anatomy import reaching
from resnet_probe.data import load_data
from resnet_probe.evaluate import evaluate
from resnet_probe.evaluate.executors import Executor
from resnet_probe.models import resolve
from resnet_probe.tasks import Detection

CPU = torch.device("cpu")


def main() -> None:
    """Print the times, their ratios, and the largest difference between the two ways."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--images", type=int, default=20)
    parser.add_argument("--n", type=int, default=3)
    arguments = parser.parse_args()
    torch.manual_seed(0)
    model = resolve("fasterrcnn_resnet18_fpn", num_classes=11).eval()
    data, task = load_data("canvases", task="detection", limit=arguments.images), Detection()
    (inputs, _), *_ = task.batches(data, 1, CPU)
    net = unravel(model, inputs, at="backbone.body", output=_last(model, inputs))
    variants = {"": net.steps} | {block.name: net.delete(block.name).steps for block in net.blocks}

    times: dict[str, list[float]] = {"shared": [], "loop": [], "backbone, shared": [], "backbone, loop": []}
    for _ in range(arguments.n):
        scores, seconds = _timed(lambda: evaluate(net, variants, data, task=task))
        times["shared"].append(seconds)
        by_hand, seconds = _timed(lambda: _loop(net, variants, data, task))
        times["loop"].append(seconds)
        seconds_of = _backbone(net, variants, data, task)
        times["backbone, shared"].append(seconds_of[0])
        times["backbone, loop"].append(seconds_of[1])
    apart = max(
        float(np.abs(scores[name].kept[loss] - by_hand[name][loss]).max())
        for name in variants
        for loss in by_hand[name]
    )
    print(f"{len(variants)} versions, {len(data)} images, n = {arguments.n}; losses differ by at most {apart:.2g}")
    for what, values in times.items():
        print(f"{what:18} {min(values):7.2f} {statistics.median(values):7.2f} {max(values):7.2f} s")
    for a, b in (("loop", "shared"), ("backbone, loop", "backbone, shared")):
        ratios = [x / y for x, y in zip(times[a], times[b], strict=True)]
        print(f"{a} / {b}: {min(ratios):.2f} to {max(ratios):.2f}, median {statistics.median(ratios):.2f}")


def _last(model, inputs) -> str:
    return list(unravel(model, inputs, at="backbone.body").anatomy.traced.named_outputs)[-1]


def _timed(function):
    start = time.perf_counter()
    found = function()
    return found, time.perf_counter() - start


def _loop(net, variants, data, task) -> dict[str, dict[str, np.ndarray]]:
    """The losses of every version."""
    found = {}
    with torch.inference_mode():
        for name, steps in variants.items():
            rows = []
            with net.with_steps(steps).install() as edited:
                for inputs, targets in task.batches(data, 1, CPU):
                    outputs = task.run(edited, inputs, targets)
                    rows.append(task.measure(outputs, targets, outputs))
            losses = [loss for loss in rows[0] if loss.startswith("loss")]
            found[name] = {loss: np.array([float(row[loss][0]) for row in rows]) for loss in losses}
    return found


def _backbone(net, variants, data, task) -> tuple[float, float]:
    """Seconds of all versions of the backbone alone, shared and one after the other."""
    given = [reaching(*net.place, inputs) for inputs, _ in task.batches(data, 1, CPU)]
    modules = [net.with_steps(steps).to_module() for steps in variants.values()]
    executor = Executor(net, list(variants.values()), CPU)
    executor.budget = executor.plan(given[0], len(given), most=1)
    place, net.place = net.place, None
    with torch.inference_mode():
        _, shared = _timed(lambda: [list(executor.run(x, None)) for x in given])
        _, loop = _timed(lambda: [module(x) for x in given for module in modules])
    net.place = place
    return shared, loop


if __name__ == "__main__":
    main()
