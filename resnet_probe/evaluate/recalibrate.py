"""Lesions with re-estimated batch-norm statistics: lost structure told apart from a shifted distribution.

After a deletion the running means and variances of the layers behind it belong to inputs that no longer occur. Here
each edited network sees training images once more, with cumulative averages, before it is measured.

The images come in a random order: class folders arrive sorted, and batches of one class would miss the variance between
classes.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from math import ceil

import torch
from torch import nn

from resnet_probe.data import Data
from resnet_probe.evaluate.journal import Journal
from resnet_probe.evaluate.sweep import Sweep, require_same, run_alone, scores_of
from resnet_probe.float32 import full_float32
from resnet_probe.tasks import CLASSIFICATION, Score
from resnet_probe.unraveled import Step, UnraveledNetwork

__all__ = ["evaluate_recalibrated", "recalibrate"]


@full_float32()
def recalibrate(
    model: nn.Module, train: Data, *, batch_size: int = 128, seed: int = 0, device: str | torch.device = "cpu"
) -> None:
    """Replace the running statistics of all batch norms in `model` by averages over `train`, in place.

    Only the batch norms are in training mode meanwhile; dropout and the like stay as in evaluation. Each layer sees
    what the layers before it make of a batch with that batch's statistics, as in training; with one batch of all images
    these are the exact moments, one layer after the other, and with random batches an estimate of them. Equal to
    `torch.optim.swa_utils.update_bn` over the same batches for networks without such layers.

    Args:
        model: network with batch norms, in evaluation mode.
        train: images to estimate from; labels are not used.
        batch_size: the most images at a time; batches are made as equal in size as possible, because they count alike.
        seed: of the random order of the images.
        device: where the model is.

    Raises:
        ValueError: the network has no batch norm with running statistics.
    """
    norms = [m for m in model.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm) and m.track_running_stats]
    if not norms:
        raise ValueError("the network has no batch norm whose statistics could be re-estimated")
    order = torch.randperm(len(train), generator=torch.Generator().manual_seed(seed))
    alike = ceil(len(train) / ceil(len(train) / batch_size))
    with torch.no_grad(), _cumulative(norms):
        for images, _ in train.subset(order).batches(alike, device=device):
            model(images)


def evaluate_recalibrated(
    network: UnraveledNetwork,
    variants: Mapping[str, Sequence[Step]],
    data: Data,
    train: Data,
    *,
    sweep: Sweep,
    seed: int = 0,
    device: str | torch.device = "cpu",
    journal: Journal | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> dict[str, Score]:
    """As `evaluate`, but every variant's batch-norm statistics are re-estimated on `train` first.

    Each variant has statistics of its own, so nothing can be shared: this costs a pass over `train` and one over
    `data` for each.
    """
    if journal:
        require_same(journal, CLASSIFICATION, variants)
    rows = {row.variant: row for row in journal.rows()} if journal else {}
    batch_size = sweep.batch_size or 64
    for number, steps in enumerate(variants.values()):
        if number not in rows:
            model = copy.deepcopy(network.with_steps(steps).to_module())
            recalibrate(model, train, seed=seed, device=device)
            rows[number] = run_alone(model, data, number, batch_size=batch_size, device=torch.device(device))
            if journal:
                journal.commit([rows[number]])
        if progress:
            progress(number + 1, len(variants))
    return scores_of(list(variants), list(rows.values()))


@contextmanager
def _cumulative(norms: Sequence[nn.modules.batchnorm._BatchNorm]) -> Iterator[None]:
    """Training mode with statistics reset and averaged over all batches; mode and momentum as before afterwards."""
    before = [(norm.training, norm.momentum) for norm in norms]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # type: ignore[assignment]  # torch's sign for a cumulative average
        norm.train()
    try:
        yield
    finally:
        for norm, (training, momentum) in zip(norms, before, strict=True):
            norm.train(training)
            norm.momentum = momentum
