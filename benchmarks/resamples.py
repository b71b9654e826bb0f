"""How often the bootstrap intervals of tasks other than classification hold the value of very many images.

    python benchmarks/resamples.py

Two worlds. Counts: of a number of tokens that differs from text to text some are missed, and a second network misses
more of them. Boxes: objects of three classes, some images hard, found with boxes that fit more or less. Each sample is
given to `Score`, as a sweep makes it; plain percentiles of the same resamples stand beside the intervals.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch

from resnet_probe.tasks import Detection, Language, Score
from resnet_probe.tasks.detection import matched

CLASSES = ("cat", "dog", "cow")
Draw = Callable[[np.random.Generator, int], list[Score]]


def counts(generator: np.random.Generator, images: int) -> list[Score]:
    """Two networks on the same texts, the second one worse by five points."""
    tokens = generator.integers(5, 60, images)
    share = np.clip(0.2 + tokens / 400 + 0.1 * generator.standard_normal(images), 0.01, 0.9)
    made = []
    for more in (0.0, 0.05):
        missed = generator.binomial(tokens, np.clip(share + more, 0, 1)).astype(float)
        made.append(Score(images, {}, {"missed": missed, "tokens": tokens * 1.0, "total": missed}, Language()))
    return made


def boxes(generator: np.random.Generator, images: int) -> list[Score]:
    """A detector; in two of five images its boxes fit badly."""
    task = Detection()
    task.classes = CLASSES
    found = [_image(generator) for _ in range(images)]
    kept = {"detections": [a for a, _ in found], "objects": [b for _, b in found], "loss": np.ones(images)}
    return [Score(images, {}, kept, task)]


def _image(generator: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    objects, made = generator.integers(1, 6), generator.integers(4, 14)
    corner = generator.integers(0, 60, (objects, 2))
    true: dict[str, np.ndarray] = {
        "boxes": np.hstack([corner, corner + generator.integers(8, 40, (objects, 2))]).astype(float),
        "labels": generator.integers(1, 4, objects), "iscrowd": np.zeros(objects, dtype=int),
    }  # fmt: skip
    near = generator.integers(0, objects, made)
    apart = generator.integers(-4, 5, (made, 4)) * (1.0 if generator.random() < 0.4 else 0.3)
    labels = np.where(generator.random(made) < 0.8, true["labels"][near], generator.integers(1, 4, made))
    found: Mapping[str, Any] = {
        "boxes": true["boxes"][near] + apart,
        "labels": labels,
        "scores": generator.random(made),
    }
    return matched(found, true)


def covered(draw: Draw, images: int, samples: int, truth: np.ndarray, generator: np.random.Generator) -> str:
    """One row: the shares of samples whose intervals hold the error, and the difference of two errors."""
    held, plain, estimates = np.zeros(len(truth)), 0, []
    for _ in range(samples):
        scores = draw(generator, images)
        intervals = [scores[0].interval]
        intervals += [(a["difference_low"], a["difference_high"]) for a in [s.against(scores[0]) for s in scores[1:]]]
        held += [low <= value <= high for (low, high), value in zip(intervals, truth, strict=True)]
        low, high = np.quantile(scores[0].resampled["error", ""], [0.025, 0.975])
        plain += low <= truth[0] <= high
        estimates.append(scores[0].error)
    difference = f"{100 * held[1] / samples:.1f}" if len(truth) > 1 else "-"
    bias = np.mean(estimates) - truth[0]
    shares = f"{100 * held[0] / samples:10.1f} {difference:>11} {100 * plain / samples:18.1f}"
    return f"{images:7} {samples:8} {bias:+13.2f} {shares}"


def main() -> None:
    """Print a table for each world."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--seed", type=int, default=0)
    generator = np.random.default_rng(parser.parse_args().seed)
    torch.set_num_threads(1)
    for name, draw, many, rows in (
        ("counts", counts, 400_000, ((20, 2000), (80, 2000), (320, 2000))),
        ("boxes", boxes, 4000, ((50, 200), (200, 200))),
    ):
        errors = [score.error for score in draw(generator, many)]
        truth = np.array([errors[0], *(error - errors[0] for error in errors[1:])])
        print(f"{name}: error {errors[0]:.2f} % on {many:,} images")
        print(" images  samples  bias (points)  error (%)  difference  plain percentiles")
        for images, samples in rows:
            print(covered(draw, images, samples, truth, generator), flush=True)


if __name__ == "__main__":
    main()
