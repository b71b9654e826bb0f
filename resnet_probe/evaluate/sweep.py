"""Evaluate all variants over all images: cut into shards, run each shard once, keep what is finished."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import astuple, dataclass, field, replace

import numpy as np
import torch
from torch import Tensor, nn

from resnet_probe.data import Data
from resnet_probe.evaluate.calibrate import (
    Budget,
    cache_chunk,
    calibrate,
    default_memory,
    is_out_of_memory,
    memory_bound,
)
from resnet_probe.evaluate.engine import Outcome, run_tree, score
from resnet_probe.evaluate.fast import FastUnits
from resnet_probe.evaluate.journal import Journal, Row
from resnet_probe.evaluate.tree import Tree, grow
from resnet_probe.evaluate.workers import SOLO, Workers
from resnet_probe.unraveled import Step, UnraveledNetwork

__all__ = ["Score", "Sweep", "evaluate", "run_alone", "scores_of"]

SHARD_STEPS = 60_000  # steps of one image that a shard should cost; a few seconds on two CPU cores
CALIBRATION_IMAGES = 128
LEAST_SHARDS = 8  # if the images are that many chunks
LOSS_SCALE = 2**24  # losses are summed as integers, so that the order of shards cannot change the last digit
LOSS_CEILING = 1e5  # nats; a network that overflows has no more than this per image


@dataclass(frozen=True)
class Score:
    """A variant's result over a data set.

    Attributes:
        images: how many images were evaluated.
        wrong: how many of them were classified wrongly.
        changed: how many predictions differ from the first variant's.
        loss: mean cross-entropy, in nats.
        flags: bool `(images,)`, whether each image was classified wrongly, in the order of the data.
    """

    images: int
    wrong: int
    changed: int
    loss: float
    flags: np.ndarray = field(repr=False, compare=False)

    @property
    def error(self) -> float:
        """Share of wrong predictions, in percent."""
        return 100.0 * self.wrong / self.images


@dataclass(frozen=True)
class Sweep:
    """What a sweep is run with; the same values give the same table, to the last digit.

    Attributes:
        precision: `fp32`, `bf16` or `fp16`.
        batch_size: images per pass; None finds out what is fastest.
        memory: bytes that activations may take; None is a quarter of what is free, at most 1 GB on a CPU.
        fold: fold batch norm into convolutions.
        compiled: pass the units through `torch.compile`.
    """

    precision: str = "fp32"
    batch_size: int | None = None
    memory: int | None = None
    fold: bool = True
    compiled: bool = False


def evaluate(
    network: UnraveledNetwork,
    variants: Mapping[str, Sequence[Step]],
    data: Data,
    *,
    sweep: Sweep = Sweep(),
    device: str | torch.device = "cpu",
    journal: Journal | None = None,
    workers: Workers = SOLO,
    progress: Callable[[int, int], None] | None = None,
) -> dict[str, Score]:
    """Evaluate variants of `network` over `data`; what they share is computed once.

    Args:
        network: the unraveled network; its model must be on `device`.
        variants: per name the steps of a chain over the network's units; `changed` refers to the first one.
        data: labelled images.
        sweep: precision, batch size and memory.
        device: where to compute.
        journal: where finished shards are kept and found; without one, nothing is.
        workers: processes that share the work.
        progress: called with (variants x images) done and their total.

    Returns:
        Per variant its score, in every process.

    Raises:
        ValueError: no variants, unknown precision, memory for not even one image, or a class count that does not fit
            the data.
        OSError: the journal cannot be written.
    """
    if not variants:
        raise ValueError("no variants to evaluate; give at least the intact network's steps")
    device = torch.device(device)
    data = _resident(data, device)
    tree = grow(list(variants.values()), network.is_identity)
    units = FastUnits(network, precision=sweep.precision, fold=sweep.fold, compiled=sweep.compiled)
    with torch.inference_mode():
        at_most = memory_bound(network, tree, units.dtype, sweep.memory or default_memory(device))
        images = _first_images(network, units, data, device)
        if workers.rank == 0:
            budget = _kept(journal, lambda: _budget(units, images, sweep, at_most, len(data)))
        budget = workers.agree(budget if workers.rank == 0 else None)
        if workers.rank > 0:
            _require(journal, budget)
        job = _Job(tree, units, budget, device)
        shards = _shards(len(data), budget, len(tree.edges))
        finished = workers.known(journal)
        total = len(data) * len(variants)
        done = sum(len(range(*shards[i])) for i in finished) * len(variants)
        if progress:
            progress(done, total)
        rows = []
        todo = [i for i in range(len(shards)) if i not in finished]
        for number in todo[workers.rank :: workers.count]:
            start, end = shards[number]
            made = job.run_shard(data.subset(slice(start, end)), number)
            if journal:
                journal.commit(made)
            else:
                rows += made
            done += (end - start) * len(variants) * workers.count
            if progress:
                progress(min(done, total), total)
    return scores_of(list(variants), workers.gather(rows, journal))


def _resident(data: Data, device: torch.device) -> Data:
    """The data with its pixels on the device, where that is a GPU and they take at most a quarter of what is free."""
    if device.type != "cuda" or not isinstance(data.images, Tensor):
        return data
    free, _ = torch.cuda.mem_get_info(device)
    return data.to(device) if data.images.nbytes <= free // 4 else data


def _first_images(network: UnraveledNetwork, units: FastUnits, data: Data, device: torch.device) -> Tensor:
    """Some images to calibrate with, after a check that the network's classes are those of the data."""
    images, _ = next(data.subset(slice(0, CALIBRATION_IMAGES)).batches(CALIBRATION_IMAGES, device=device))
    classes = run_tree(grow([network.steps], network.is_identity), units, images[:1], stack=1)[0].shape[-1]
    if classes != len(data.classes):
        raise ValueError(
            f"the network has {classes} classes and {data.name} has {len(data.classes)}; "
            "give a network and data with the same classes"
        )
    return images


def _budget(units: FastUnits, images: Tensor, sweep: Sweep, at_most: int, count: int) -> Budget:
    """Images per pass: as told, or what fits the cache (CPU), or as calibrated; never more than the memory allows.

    On a CPU nothing is timed, so that a run that is repeated ends in the same table to the last digit.
    """
    chunk = sweep.batch_size
    if chunk is None and images.device.type == "cpu":
        chunk = cache_chunk(units.network, units.dtype)
    if chunk is not None:
        chunk = min(chunk, at_most)
        return Budget(chunk, chunk)
    return calibrate(units, images, count=count, at_most=at_most, device=images.device)


def _kept(journal: Journal | None, decide: Callable[[], Budget]) -> Budget:
    """The budget that earlier results in the journal were made with, or a new one."""
    if journal is None:
        return decide()
    known = journal.recall("budget")
    return Budget(*journal.remember("budget", [*known] if known else [*astuple(decide())]))


def _require(journal: Journal | None, budget: Budget) -> None:
    """Results of another process's journal count only if their shards were cut alike."""
    if journal and journal.remember("budget", [*astuple(budget)]) != [*astuple(budget)]:
        journal.forget()
        journal.remember("budget", [*astuple(budget)])


def _shards(images: int, budget: Budget, edges: int) -> list[tuple[int, int]]:
    """Ranges of images, each a few chunks long; enough of them for several processes, whether there are any or not."""
    chunks = min(SHARD_STEPS / max(edges, 1), images / LEAST_SHARDS) / budget.chunk
    size = max(1, round(chunks)) * budget.chunk
    return [(start, min(start + size, images)) for start in range(0, images, size)]


@dataclass
class _Job:
    """A tree with all that is needed to run it; the budget shrinks when the memory turns out to be less."""

    tree: Tree
    units: FastUnits
    budget: Budget
    device: torch.device

    def run_shard(self, data: Data, number: int) -> list[Row]:
        """All variants on one shard of the data."""
        return _rows(list(self._outcomes(data)), number)

    def _outcomes(self, data: Data) -> Iterator[Outcome]:
        """Chunk by chunk; one that does not fit the memory after all is halved, and so are those that follow."""
        for images, labels in data.batches(self.budget.chunk, device=self.device):
            parts = [(images, labels)]
            while parts:
                x, y = parts.pop()
                if len(x) > self.budget.stack:
                    half = len(x) // 2
                    parts += [(x[half:], y[half:]), (x[:half], y[:half])]
                    continue
                try:
                    outcome = score(run_tree(self.tree, self.units, x, stack=self.budget.stack), y)
                except RuntimeError as error:
                    if self.budget.stack == 1 or not is_out_of_memory(error):
                        raise
                    outcome = None
                if outcome is not None:
                    yield outcome
                    continue
                # here the error and the values that its traceback holds are gone
                if self.device.type == "cuda":
                    torch.cuda.empty_cache()
                self.budget = replace(self.budget, stack=self.budget.stack // 2)
                parts.append((x, y))


def run_alone(model: nn.Module, data: Data, number: int, *, batch_size: int, device: torch.device) -> Row:
    """One network on all the data, as the row of variant `number`; `changed` is not known and 0."""
    with torch.inference_mode():
        outcomes = [score([model(x)], y) for x, y in data.batches(batch_size, device=device)]
    return replace(_rows(outcomes, 0)[0], variant=number)


def _rows(outcomes: Sequence[Outcome], number: int) -> list[Row]:
    """The outcomes of a shard, chunk after chunk, as rows; the device is asked once."""
    wrong = torch.cat([o.wrong for o in outcomes], dim=1)
    changed = torch.cat([o.changed for o in outcomes], dim=1).sum(1)
    loss = torch.cat([o.loss for o in outcomes], dim=1)
    loss = torch.nan_to_num(loss, nan=LOSS_CEILING, posinf=LOSS_CEILING).clamp(max=LOSS_CEILING)
    loss = (loss * LOSS_SCALE).round().to(torch.int64).sum(1)
    flags = np.packbits(wrong.cpu().numpy(), axis=1)
    values = zip(wrong.sum(1).tolist(), changed.tolist(), loss.tolist(), strict=True)
    images = wrong.shape[1]
    return [Row(number, i, images, w, c, total, flags[i].tobytes()) for i, (w, c, total) in enumerate(values)]


def scores_of(names: Sequence[str], rows: Sequence[Row]) -> dict[str, Score]:
    """Per variant the sum of its rows; `names` in the order of the variants' numbers."""
    by_variant: list[list[Row]] = [[] for _ in names]
    for row in sorted(rows, key=lambda row: row.shard):
        by_variant[row.variant].append(row)
    scores = {}
    for name, parts in zip(names, by_variant, strict=True):
        images = sum(row.images for row in parts)
        bits = [np.unpackbits(np.frombuffer(row.flags, np.uint8), count=row.images).astype(bool) for row in parts]
        total = sum(row.loss for row in parts)
        scores[name] = Score(
            images,
            sum(row.wrong for row in parts),
            sum(row.changed for row in parts),
            total / LOSS_SCALE / images if images else math.nan,
            np.concatenate(bits),
        )
    return scores
