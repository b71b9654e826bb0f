"""Norms of single paths drawn at random, as Veit et al. measured them.

A path is fixed by the k residual branches it takes: on the way back the gradient passes only through the residual
branch of those k blocks, and only through the shortcut of all others. What is recorded is its Euclidean norm at the
input. One sample is one path and one image; the samples of a length are spread evenly over the images.

All samples of a batch of images go back together. At a block each image's samples divide into those that take the
branch, which are sent through it side by side with the other images', and those that do not, which for an identity
shortcut costs nothing.

Source: Veit, Wilber, Belongie 2016, arXiv 1605.06431, section 5.2 and Fig. 6b: 1,000 samples for each k, on random
training batches. Batch size and batch norm mode are not given there.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from resnet_probe.data import Data
from resnet_probe.float32 import full_float32
from resnet_probe.gradients.budget import Budget, image_bytes
from resnet_probe.gradients.exact import IMAGES, STACK, loss_gradient
from resnet_probe.gradients.statistics import BatchNorm
from resnet_probe.gradients.tape import Link, Part, Tape, longest_path, record
from resnet_probe.unraveled import UnraveledNetwork

SCALE = 2.0**64  # of the loss, exact, so that what comes back along a hundred layers is no denormal number
ROWS = 128  # samples of each image to send back together: more share a forward pass, fewer share the cache


@dataclass(frozen=True)
class PathNorms:
    """Norms of sampled paths.

    Attributes:
        norms: `(K, samples)`, float64: row k is for paths with k residual branches.
        images: `(samples, B)`, int64: the images of a sample: a single one, in training mode the batch.
        images_at_a_time: what the memory budget left of the batch size.
    """

    norms: Tensor
    images: Tensor
    images_at_a_time: int


def draw_paths(blocks: int, lengths: Sequence[int], samples: int, generator: torch.Generator) -> Tensor:
    """Draw paths of given lengths, every path of a length equally likely, with replacement.

    Args:
        blocks: number of residual blocks.
        lengths: numbers of residual branches to take, each 0 to `blocks`.
        samples: paths of each length.
        generator: source of the draws.

    Returns:
        bool `(len(lengths), samples, blocks)`, true where the path takes the branch.

    Raises:
        ValueError: a length that no path has.
    """
    for length in lengths:
        if not 0 <= length <= blocks:
            raise ValueError(f"no path takes {length} of {blocks} residual branches; lengths are 0 to {blocks}")
    rank = torch.rand((len(lengths), samples, blocks), generator=generator).argsort(-1).argsort(-1)
    return rank < torch.tensor(list(lengths), dtype=torch.long)[:, None, None]


@full_float32()
def path_norms(
    network: UnraveledNetwork,
    images: Tensor,
    labels: Tensor,
    through: Tensor,
    *,
    batch_norm: BatchNorm = "eval",
    stack: int = STACK,
) -> Tensor:
    """Norm at the input of the gradient that single paths carry.

    Args:
        network: the chain.
        images: `(N, C, H, W)`.
        labels: int64 `(N,)`.
        through: bool `(R, N, blocks)`, which branches each of the R paths of each image takes; `(R, 1, blocks)` for
            paths that all images share.
        batch_norm: "eval"; or "train", where images depend on each other, so that they must share their paths.
        stack: images' worth of vectors to send back in one call.

    Returns:
        float64 `(R, N)`.

    Raises:
        LookupError: an unknown batch norm mode.
        ValueError: `through` does not fit the network, or paths differ by image in training mode, or as
            `class_gradients`.
        RuntimeError: a norm is not finite.
    """
    tape = record(network, images, batch_norm=batch_norm, stack=stack)
    shapes = [(len(images), tape.blocks)] + ([(1, tape.blocks)] if through.dim() == 3 else [])
    if through.dim() != 3 or tuple(through.shape[1:]) not in shapes:
        raise ValueError(f"paths of shape {tuple(through.shape)} for {len(images)} images and {tape.blocks} blocks")
    if batch_norm == "train" and through.shape[1] != 1:
        raise ValueError("with training-mode batch norm the images of a batch depend on each other: share the paths")
    vectors = (SCALE * loss_gradient(tape.output, labels)).expand(len(through), -1, -1).clone()
    block = tape.blocks
    for link in reversed(tape.links):
        if link.is_block:
            block -= 1
            vectors = _divide(tape, link, vectors, through[:, :, block])
        elif link.parts["whole"] is not None:
            vectors = _assign(tape, link, "whole", vectors, list(range(len(vectors))))
    norms = torch.linalg.vector_norm(vectors.flatten(2), dim=2, dtype=torch.float64)
    if not bool(norms.isfinite().all()):
        raise RuntimeError("the gradient is not finite; look for NaN or infinity in the weights or the images")
    return norms / SCALE


def sample_norms(
    network: UnraveledNetwork,
    data: Data,
    *,
    samples: int = 1000,
    seed: int = 0,
    batch_size: int | None = None,
    batch_norm: BatchNorm = "eval",
    device: str | torch.device = "cpu",
    budget: Budget | None = None,
    stack: int = STACK,
    progress: Callable[[int, int], None] | None = None,
) -> PathNorms:
    """Sample norms of single paths of every length, spread evenly over a data set.

    In training mode a sample is one path and one batch, and its norm is the mean over the batch's images.

    Args:
        network: the chain, with its weights on `device`.
        data: labelled images.
        samples: for each length, 0 to the number of blocks.
        seed: of the draws. They do not depend on how images are batched (in evaluation mode).
        batch_size, batch_norm, device, budget, stack: as `class_norms`.
        progress: called with the samples done and their number.

    Raises:
        ValueError: fewer than one sample, and as `class_norms`.
    """
    if samples < 1:
        raise ValueError(f"{samples} samples per length; give at least 1")
    together = batch_norm == "train"
    lengths = range(longest_path(network) + 1)
    generator = torch.Generator().manual_seed(seed)
    size = min(batch_size or (64 if together else IMAGES), len(data))
    rows = min(ROWS, len(lengths) * (samples if together else math.ceil(samples / len(data))))
    each = image_bytes(network, vectors=rows)
    size = (budget or Budget()).images(each, wanted=size, whole_batch=together)
    kind = next((p.dtype for unit in network.units for p in unit.module().parameters()), torch.float32)
    found: list[Tensor] = []
    owners: list[Tensor] = []
    done = 0
    for places, quota in _spread(len(data), samples, size, whole_batch=together):
        part = data.subset(places)
        sharing = 1 if together else len(part)
        drawn = torch.stack(
            [draw_paths(len(lengths) - 1, lengths, quota, generator).flatten(0, 1) for _ in range(sharing)], 1
        )
        ((images, labels),) = part.batches(len(part), device=device)
        norms = torch.cat(
            [
                path_norms(network, images.to(kind), labels, some, batch_norm=batch_norm, stack=stack)
                for some in drawn.to(device).split(rows)
            ]
        )
        norms = norms.view(len(lengths), quota, len(part)).cpu()
        found.append(norms.mean(2) if together else norms.flatten(1))
        owners.append((places if together else places[:, None]).repeat(quota, 1))
        done += found[-1].numel()
        if progress:
            progress(done, samples * len(lengths))
    return PathNorms(torch.cat(found, 1), torch.cat(owners), size)


def _spread(images: int, samples: int, size: int, *, whole_batch: bool) -> Iterator[tuple[Tensor, int]]:
    """Numbers of images, with the number of samples per length that each of them (or the batch) gets."""
    starts = range(0, images - size + 1, size) if whole_batch else range(images)
    full, rest = divmod(samples, len(starts))
    more = {len(starts) * number // rest for number in range(rest)} if rest else set()
    for quota, places in ((full + 1, sorted(more)), (full, [p for p in range(len(starts)) if p not in more])):
        if not quota:
            continue
        if whole_batch:
            for place in places:
                yield torch.arange(starts[place], starts[place] + size), quota
        else:
            for first in range(0, len(places), size):
                yield torch.tensor(places[first : first + size]), quota


def _divide(tape: Tape, link: Link, vectors: Tensor, taken: Tensor) -> Tensor:
    """Send each path's vector at a block's output back through the branch where it is `taken`, else the shortcut.

    Args:
        tape: the recorded pass.
        link: a block of it.
        vectors: `(R, N * w, ...)` at the block's output; they may be overwritten.
        taken: bool `(R, N)` or `(R, 1)`.
    """
    if taken.shape[1] == 1:
        rows = [taken[:, 0].nonzero().flatten().tolist(), (~taken[:, 0]).nonzero().flatten().tolist()]
        target = _assign(tape, link, "branch", vectors, rows[0])
        return _assign(tape, link, "shortcut", vectors, rows[1], target=target)
    target = _assign_packed(tape, link, "branch", vectors, taken)
    return _assign_packed(tape, link, "shortcut", vectors, ~taken, target=target)


def _assign(
    tape: Tape, link: Link, part: Part, vectors: Tensor, rows: list[int], *, target: Tensor | None = None
) -> Tensor:
    """Pull back whole rows and put them into `target`, by default over `vectors` where the shape allows."""
    target = _target(link, vectors) if target is None else target
    if link.parts[part] is None:
        if target is not vectors:
            target[rows] = vectors[rows]
        return target
    some = max(1, tape.stack // tape.images)
    for start in range(0, len(rows), some):
        here = rows[start : start + some]
        for row, pulled in zip(here, tape.pull(link, part, [vectors[row] for row in here]), strict=True):
            target[row] = pulled
    return target


def _assign_packed(
    tape: Tape, link: Link, part: Part, vectors: Tensor, chosen: Tensor, *, target: Tensor | None = None
) -> Tensor:
    """As `_assign`, for the (row, image) pairs that are `chosen`: the s-th chosen row of every image go together."""
    target = _target(link, vectors) if target is None else target
    if link.parts[part] is None and target is vectors:
        return target
    number = tape.images
    before, after = (value.view(len(value), number, -1, *value.shape[2:]) for value in (vectors, target))
    order = chosen.int().argsort(dim=0, descending=True, stable=True)
    counts = chosen.sum(0)
    columns = torch.arange(number, device=chosen.device)
    some = max(1, tape.stack // number)
    for start in range(0, int(counts.max()), some):
        slots = order[start : start + some]
        # beyond its own number of chosen rows an image sends another row along, and what comes back is dropped
        packed = [before[slot, columns].flatten(0, 1) for slot in slots]
        for place, pulled in enumerate(tape.pull(link, part, packed), start=start):
            used = counts > place
            after[order[place][used], columns[used]] = pulled.view(number, -1, *pulled.shape[1:])[used]
    return target


def _target(link: Link, vectors: Tensor) -> Tensor:
    """Where to put the vectors at the entry: over those at the output, unless the shape differs."""
    if vectors.shape[1:] == link.entry.shape and (link.parts.get("shortcut") is None):
        return vectors
    return vectors.new_empty((len(vectors), *link.entry.shape))
