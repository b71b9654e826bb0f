"""The table of gradients by path length: exact class gradients and sampled paths, side by side."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from resnet_probe.analyses.paths import GRADIENTS
from resnet_probe.analyses.paths.effective import PAPER, describe, effective_shares
from resnet_probe.statistics import ratio_of_means

if TYPE_CHECKING:
    from torch import Tensor

    from resnet_probe.data import Data
    from resnet_probe.gradients import BatchNorm, Budget
    from resnet_probe.tables import Result
    from resnet_probe.unraveled import UnraveledNetwork


def run_gradients(
    network: UnraveledNetwork,
    data: Data,
    *,
    name: str,
    samples: int = 1000,
    seed: int = 0,
    batch_size: int | None = None,
    batch_norm: BatchNorm = "eval",
    device: str = "cpu",
    budget: Budget | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Result:
    """Measure the gradient that paths of each length carry to the input.

    Args:
        samples: sampled paths of each length; 0 for the exact classes alone.
        batch_size: images at a time; by default what is quick, in training mode 64.
        batch_norm: "eval"; or "train", where every batch is normalised with its own statistics.
        budget: memory that may be used, 2 GiB by default.

    Returns:
        Table `gradients`, one row per number of residual branches, 0 to n. The settings say how closely the classes add
        up to autograd's gradient, and what `effective.describe` finds; "paper" holds the published counterparts.

    Raises:
        ValueError: fewer than 0 samples, or as `gradients.class_norms` and `gradients.sample_norms`.
        RuntimeError: the classes do not add up to autograd's gradient, or are not finite.
    """
    if samples < 0:
        raise ValueError(f"{samples} samples per length; give 0 for none, or more")
    from resnet_probe.gradients import (  # noqa: PLC0415 - torch, needed to run only
        class_norms,
        longest_path,
        sample_norms,
    )

    blocks = longest_path(network)
    steps = len(data) + samples * (blocks + 1)  # an image's classes cost several samples, but any unit will do
    report = progress or (lambda _done, _total: None)
    options: dict[str, Any] = {
        "batch_size": batch_size,
        "batch_norm": batch_norm,
        "device": device,
        "budget": budget,
    }
    exact = class_norms(network, data, **options, progress=lambda done, _: report(done, steps))
    norms = exact.norms.cpu()
    assert len(norms) == blocks + 1
    counts = [math.comb(blocks, length) for length in range(blocks + 1)]
    class_norm, class_std = norms.mean(1).tolist(), norms.std(1, correction=0).tolist()
    shares = exact.shares.tolist()
    means: list[float | None] = [None] * len(counts)
    deviations: list[float | None] = [None] * len(counts)
    effective: list[float | None] = [None] * len(counts)
    ratios: list[tuple[float | None, float | None]] = [(None, None)] * len(counts)
    drawn = 0
    if samples:
        sampled = sample_norms(
            network, data, samples=samples, seed=seed, **options,
            progress=lambda done, _: report(len(data) + done, steps),
        )  # fmt: skip
        drawn = sampled.norms.shape[1]
        found = sampled.norms.mean(1).tolist()
        means = found
        deviations = sampled.norms.std(1).tolist() if drawn > 1 else deviations
        together = norms[:, sampled.images].mean(2)  # of the images that were sampled, as often as they were
        ratios = [
            _cancellation(*one, sampled.images[:, 0]) for one in zip(together, sampled.norms, counts, strict=True)
        ]
        effective = list(effective_shares(counts, found))
    rows = []
    for length, count in enumerate(counts):
        rows.append(
            {
                "network": name,
                "length": length,
                "count": count,
                "class_norm": class_norm[length],
                "class_share": shares[length],
                "path_norm": means[length],
                "path_norm_std": deviations[length],
                "samples": drawn,
                "class_norm_std": class_std[length],
                "class_mean_norm": _divide(class_norm[length], count),
                "cancellation_ratio": ratios[length][0],
                "effective_share": effective[length],
                "images": norms.shape[1],
                "cancellation_error": ratios[length][1],
            }
        )
    about = {
        **describe(rows),
        "identity_error": exact.identity_error,
        "images": norms.shape[1],
        "images_at_a_time": exact.images_at_a_time,
        "batch_norm": batch_norm,
        "samples": drawn,
    }
    return GRADIENTS.result(rows, **about, paper=PAPER)


def _cancellation(all_paths: Tensor, single: Tensor, count: int, images: Tensor) -> tuple[float | None, float | None]:
    """Norm of the mean over paths against the mean norm of a path, both of the same images, and its standard error."""
    scale = float(all_paths.mean())
    if not scale or not float(single.mean()):
        return None, None
    ratio, error = ratio_of_means(all_paths / scale, single, images)  # a count may be too large for a float
    factor = _divide(scale, count)
    return ratio * factor, error if error is None else error * factor


def _divide(norm: float, count: int) -> float:
    """Norm over count, for counts too large for a float as well."""
    return norm / count if count < 2**1000 else math.exp(math.log(norm) - math.log(count)) if norm > 0 else 0.0
