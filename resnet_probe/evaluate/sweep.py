"""Evaluate all variants over all images: cut into shards, run each shard once, keep what is finished."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import astuple, dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from resnet_probe.data import Data
from resnet_probe.evaluate.calibrate import ChunkPlan
from resnet_probe.evaluate.executors import CompiledExecutor, Executor
from resnet_probe.evaluate.journal import Journal, Row
from resnet_probe.evaluate.workers import SOLO, Workers
from resnet_probe.float32 import full_float32
from resnet_probe.tasks import CEILING, CLASSIFICATION, Measured, Score, Task
from resnet_probe.unraveled import Step, UnraveledNetwork

__all__ = ["Sweep", "evaluate", "require_same", "run_alone", "scores_of"]

SHARD_STEPS = 60_000  # steps of one image that a shard should cost; a few seconds on two CPU cores
CALIBRATION_IMAGES = 128
LOOK = 250  # images from one look at the scores to the next
LEAST_SHARDS = 8  # if the images are that many chunks
KEPT = ("flag", "value", "record")
SCALE = 2**24  # numbers are summed as integers, so that the order of shards cannot change the last digit


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


@full_float32()
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
    task: Task = CLASSIFICATION,
    measure: Callable[[Any, Any], Mapping[str, Tensor]] | None = None,
    enough: Callable[[Mapping[str, Score]], bool] | None = None,
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
        task: what outputs and targets become.
        measure: a function of one's own instead: from outputs and targets of a batch to named measures of each example,
            as `tasks.Measured` takes it.
        enough: asked after every 250 images, in the order of the data, whether the scores so far are enough; then no
            more images are used. The answer must depend on the scores alone. In one process only.

    Returns:
        Per variant its score, in every process.

    Raises:
        ValueError: no variants, unknown precision, memory for not even one image, a class count that does not fit the
            data, or `enough` in several processes.
        OSError: the journal cannot be written.
    """
    if not variants:
        raise ValueError("no variants to evaluate; give at least the intact network's steps")
    if enough and workers.count > 1:
        raise ValueError(
            "images are added one part after the other in one process; leave out --devices and --num-nodes"
        )
    device = torch.device(device)
    data = _resident(data, device)
    if measure is not None:
        task = Measured(measure)
    how: dict[str, Any] = {"precision": sweep.precision, "fold": sweep.fold, "run": task.run}
    executor = (CompiledExecutor if sweep.compiled else Executor)(network, list(variants.values()), device, **how)
    with torch.inference_mode():
        images = _fit(executor, data, task)
        if journal:
            require_same(journal, task, variants)
        if workers.rank == 0:
            given = {"chunk": sweep.batch_size, "memory": sweep.memory, "most": task.most}
            budget = _kept(journal, lambda: executor.plan(images, len(data), **given))
        budget = workers.agree(budget if workers.rank == 0 else None)
        if workers.rank > 0:
            _require(journal, budget)
        executor.budget = budget
        shards = _cut(len(data), LOOK) if enough else _shards(len(data), budget, len(executor.tree.edges))
        finished = workers.known(journal)
        total = len(data) * len(variants)
        done = sum(len(range(*shards[i])) for i in finished) * len(variants)
        report = progress or (lambda done, total: None)
        report(done, total)
        rows = list(journal.rows()) if journal and enough else []
        todo = [i for i in range(len(shards)) if enough or i not in finished]
        for number in todo[workers.rank :: workers.count]:
            if number not in finished:
                start, end = shards[number]
                made = run_shard(executor, task, data.subset(slice(start, end)), number)
                if journal:
                    journal.commit(made)
                if enough or not journal:
                    rows += made
                done += (end - start) * len(variants) * workers.count
                report(min(done, total), total)
            if enough and enough(found := scores_of(list(variants), [r for r in rows if r.shard <= number], task)):
                return found
    return scores_of(list(variants), workers.gather(rows, journal), task)


def _resident(data: Data, device: torch.device) -> Data:
    """The data with its pixels on the device, where that is a GPU and they take at most a quarter of what is free."""
    if device.type != "cuda" or not isinstance(data.images, Tensor):
        return data
    free, _ = torch.cuda.mem_get_info(device)
    return data.to(device) if data.images.nbytes <= free // 4 else data


def _fit(executor: Executor, data: Data, task: Task) -> Any:
    """Some images to calibrate with, after a check that the network fits the data."""
    count = task.most or CALIBRATION_IMAGES
    images, targets = next(iter(task.batches(data.subset(slice(0, count)), count, executor.device)))
    output = executor.intact(images[:1], targets[:1])
    if isinstance(task, Measured):
        task.learn(output, targets[:1])
    task.check(output, data.classes, data.name)
    if task.name != CLASSIFICATION.name:
        try:
            task.measure(output, targets[:1], output)
        except RuntimeError as error:
            raise ValueError(
                f"outputs of the network and targets of {data.name} do not go together: {str(error).splitlines()[0]}"
            ) from error
    return images


def require_same(journal: Journal, task: Task, variants: Mapping[str, Sequence[Step]]) -> None:
    """A journal holds the measures of one task on one list of variants.

    Raises:
        JournalError: it holds others.
    """
    journal.require("task", [task.name, dict(task.columns), task.identity])
    digest = hashlib.sha256()
    for chain in variants.values():
        steps = (f"{step.unit} {step.mode} {step.scale!r}{step.factors or ''}," for step in chain)
        digest.update("".join(steps).encode() + b"\n")
    journal.require("list of variants", digest.hexdigest())


def _kept(journal: Journal | None, decide: Callable[[], ChunkPlan]) -> ChunkPlan:
    """The budget that earlier results in the journal were made with, or a new one."""
    if journal is None:
        return decide()
    known = journal.recall("budget")
    return ChunkPlan(*journal.remember("budget", [*known] if known else [*astuple(decide())]))


def _require(journal: Journal | None, budget: ChunkPlan) -> None:
    """Results of another process's journal count only if their shards were cut alike."""
    if journal and journal.remember("budget", [*astuple(budget)]) != [*astuple(budget)]:
        journal.forget()
        journal.remember("budget", [*astuple(budget)])


def _shards(images: int, budget: ChunkPlan, edges: int) -> list[tuple[int, int]]:
    """Ranges of images, each a few chunks long; enough of them for several processes, whether there are any or not."""
    chunks = min(SHARD_STEPS / max(edges, 1), images / LEAST_SHARDS) / budget.chunk
    size = max(1, round(chunks)) * budget.chunk
    return _cut(images, size)


def _cut(images: int, size: int) -> list[tuple[int, int]]:
    return [(start, min(start + size, images)) for start in range(0, images, size)]


def run_shard(executor: Executor, task: Task, data: Data, number: int) -> list[Row]:
    """All variants on one shard of the data."""
    parts = [
        [task.measure(output, y, outputs[0]) for output in outputs]
        for images, targets in task.batches(data, executor.budget.chunk, executor.device)
        for outputs, y in executor.run(images, targets)
    ]
    return _rows(parts, task, number)


def run_alone(
    model: nn.Module, data: Data, number: int, *, batch_size: int, device: torch.device, task: Task = CLASSIFICATION
) -> Row:
    """One network on all the data, as the row of variant `number`; nothing counts as changed."""
    with torch.inference_mode(), full_float32():
        outputs = ((task.run(model, x, y), y) for x, y in task.batches(data, batch_size, device))
        parts = [[task.measure(output, y, output)] for output, y in outputs]
    return replace(_rows(parts, task, 0)[0], variant=number)


def _rows(parts: Sequence[Sequence[Mapping[str, Tensor]]], task: Task, number: int) -> list[Row]:
    """The measures of a shard, chunk after chunk and variant after variant, as rows; the device is asked once."""
    columns = {
        name: torch.stack([torch.cat([part[v][name] for part in parts]) for v in range(len(parts[0]))])
        for name, kind in task.columns.items()
        if kind != "record"
    }
    sums: dict[str, list[int]] = {}
    kept: list[list[bytes]] = [[] for _ in parts[0]]
    for name, kind in task.columns.items():
        if kind == "record":
            for v, mine in enumerate(kept):
                arrays = [np.asarray(each, dtype="<f4").ravel() for part in parts for each in part[v][name]]
                sizes = np.array([each.size for each in arrays], dtype="<u4")
                mine += [sizes.tobytes(), *(each.tobytes() for each in arrays)]
            continue
        values = columns[name]
        if kind in ("flag", "count"):
            sums[name] = values.sum(1).tolist()
        if kind == "sum":
            values = torch.nan_to_num(values, nan=CEILING, posinf=CEILING).clamp(max=CEILING)
            sums[name] = (values * SCALE).round().to(torch.int64).sum(1).tolist()
        if kind in ("flag", "value"):
            array = values.cpu().numpy()
            array = np.packbits(array, axis=1) if kind == "flag" else array.astype("<f8")
            for mine, row in zip(kept, array, strict=True):
                mine.append(row.tobytes())
    examples = sum(len(part[0][next(iter(task.columns))]) for part in parts)
    return [
        Row(number, v, examples, {name: totals[v] for name, totals in sums.items()}, b"".join(kept[v]))
        for v in range(len(parts[0]))
    ]


def scores_of(names: Sequence[str], rows: Sequence[Row], task: Task = CLASSIFICATION) -> dict[str, Score]:
    """Per variant the sum of its rows; `names` in the order of the variants' numbers."""
    by_variant: list[list[Row]] = [[] for _ in names]
    for row in sorted(rows, key=lambda row: row.shard):
        by_variant[row.variant].append(row)
    scores = {}
    for name, mine in zip(names, by_variant, strict=True):
        kept = _unpacked(mine, task)
        sums: dict[str, float] = {}
        for column, kind in task.columns.items():
            if kind == "value":
                sums[column] = math.fsum(kept[column])
            elif kind != "record":
                total = sum(row.sums[column] for row in mine)
                sums[column] = total / SCALE if kind == "sum" else total
        scores[name] = Score(sum(row.examples for row in mine), sums, kept, task)
    return scores


def _unpacked(rows: Sequence[Row], task: Task) -> dict[str, np.ndarray | list[np.ndarray]]:
    """Per column what each example has, shard after shard."""
    found: dict[str, list[np.ndarray]] = {c: [] for c, kind in task.columns.items() if kind in KEPT}
    for row in rows:
        start = 0
        for column, parts in found.items():
            if task.columns[column] == "flag":
                end = start + (row.examples + 7) // 8
                bits = np.unpackbits(np.frombuffer(row.kept[start:end], np.uint8), count=row.examples)
                parts.append(bits.astype(bool))
            elif task.columns[column] == "record":
                end = start + 4 * row.examples
                sizes = np.frombuffer(row.kept[start:end], "<u4")
                start, end = end, end + 4 * int(sizes.sum())
                parts.extend(np.split(np.frombuffer(row.kept[start:end], "<f4"), np.cumsum(sizes)[:-1]))
            else:
                end = start + 8 * row.examples
                parts.append(np.frombuffer(row.kept[start:end], "<f8"))
            start = end
    return {
        column: parts if task.columns[column] == "record" else np.concatenate(parts) if parts else np.empty(0)
        for column, parts in found.items()
    }
