"""Heal cut networks on the training images: batch-norm statistics first, then a short training; and keep networks."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path

import torch
from torch import nn

from resnet_probe.analyses.runtime import Runtime
from resnet_probe.analyses.subject import Subject
from resnet_probe.data import Data
from resnet_probe.evaluate import Score, fingerprint, has_statistics, recalibrate
from resnet_probe.evaluate.sweep import run_alone, scores_of
from resnet_probe.surgery import export
from resnet_probe.training import Keeper, Recipe, fit
from resnet_probe.unraveled import Step

STATISTICS = 2000  # images for the statistics, as `lesion --recalibrate`
BATCH = 64


def where(blocks: int) -> list[int]:
    """How many of so many blocks are removed from the networks that are healed: a quarter, half, three quarters."""
    return sorted({max(1, share * blocks // 4) for share in (1, 2, 3)})


def recipe_of(steps: int, seed: int) -> Recipe:
    """Of the training: a tenth of the papers' learning rate, falling to 0 along a cosine, with their augmentation."""
    return Recipe(iterations=steps, learning_rate=0.01, pad=4, flip=True, seed=seed)


def healed(
    subject: Subject, names: Sequence[str], steps: Sequence[Step], train: Data, runtime: Runtime, *, recipe: Recipe
) -> tuple[nn.Module, dict[str, Score]]:
    """A cut network, trained; and its scores with statistics re-estimated and after training.

    Args:
        subject: network with the images that report.
        names: of the blocks that are removed.
        steps: of the chain that is left.
        train: images to train on.
        runtime: where to compute, and the seed; in its folder the training goes on from the state it has reached.
        recipe: of the training.
    """
    device = torch.device(runtime.device)
    model = copy.deepcopy(subject.network.with_steps(steps).to_module()).to(device)
    found = {}
    if has_statistics(model):
        some = torch.randperm(len(train), generator=torch.Generator().manual_seed(runtime.seed))[:STATISTICS]
        recalibrate(model, train.subset(some), seed=runtime.seed, device=device)
        found["statistics"] = _score(model, subject.data, device)
    keeper = None
    if runtime.folder is not None:
        identity = {
            "network": fingerprint(subject.network), "removed": list(names), "recipe": asdict(recipe),
            "images": train.fingerprint, "kind of device": device.type,
        }  # fmt: skip
        keeper = Keeper(states(runtime.folder, subject, len(names)), identity, fresh=runtime.fresh)
    with runtime.progress(f"healing of {subject.name}, {len(names)} blocks removed") as report:
        fit(
            model, train, recipe=recipe, device=device, keeper=keeper,
            progress=lambda now: report(now.step, now.steps),
        )  # fmt: skip
    found["trained"] = _score(model.eval(), subject.data, device)
    return model, found


def states(folder: Path, subject: Subject, removed: int) -> Path:
    """Where the states of a training are kept until all networks are healed."""
    return folder / f"{subject.name}-without-{removed}-healing"


def keep(subject: Subject, names: Sequence[str], folder: Path, trained: tuple[nn.Module, Recipe] | None = None) -> Path:
    """Write the network without these blocks into a folder; where it was healed, with the weights of that model.

    Raises:
        ValueError: the network does not come from a checkpoint.
    """
    source = subject.checkpoint
    if source is None:
        raise ValueError(f"{subject.name} does not come from a checkpoint, so the cut network cannot be kept")
    suffix = ""
    if trained is not None:
        model, recipe = trained
        weights = copy.deepcopy(source.model)
        weights.load_state_dict({name: value.cpu() for name, value in model.state_dict().items()}, strict=False)
        source = replace(source, model=weights, metadata={**source.metadata, "recipe": asdict(recipe)})
        suffix = "-healed"
    network = source.chain or subject.network
    path = folder / f"{subject.name}-without-{len(names)}{suffix}.safetensors"
    return export(source, network, [{"delete": list(names)}], path).weights


def _score(model: nn.Module, data: Data, device: torch.device) -> Score:
    row = run_alone(model, data, 0, batch_size=BATCH, device=device)
    return scores_of(["alone"], [row])["alone"]
