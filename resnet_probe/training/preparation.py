"""What comes before and after the training loop: checks, optimiser, pixels on the device, the model as it was."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from resnet_probe.data import Data
from resnet_probe.training.batch_norm import own_batch_norm
from resnet_probe.training.recipe import Recipe, TrainingError


def make_optimizer(recipe: Recipe, model: nn.Module, device: torch.device) -> torch.optim.Optimizer:
    """The recipe's optimiser for all parameters that are not frozen."""
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    fused = {"fused": True} if device.type == "cuda" else {}
    values: dict[str, Any] = {"lr": recipe.learning_rate, "weight_decay": recipe.weight_decay, **fused}
    if recipe.optimizer == "sgd":
        nesterov = recipe.nesterov
        return torch.optim.SGD(parameters, momentum=recipe.momentum, nesterov=nesterov, **values)
    kind = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW}[recipe.optimizer]
    return kind(parameters, **values)


def resident(data: Data, device: torch.device) -> Data:
    """The data with its pixels on the device, where they are in memory and take at most a quarter of what is free."""
    if not isinstance(data.images, Tensor):
        return data
    if device.type == "cuda":
        free, _ = torch.cuda.mem_get_info(device)
        if data.images.nbytes > free // 4:
            return data
    return data.to(device)


@contextmanager
def as_before(model: nn.Module) -> Iterator[None]:
    """Afterwards each module has its mode and class again, weights their layout, and no gradients are left."""
    modes = {module: module.training for module in model.modules()}
    kinds: dict[str, type[nn.Module]] = {
        name: type(module)
        for name, module in model.named_modules()
        if isinstance(module, nn.modules.batchnorm._BatchNorm)
    }
    contiguous = {name for name, parameter in model.named_parameters() if parameter.is_contiguous()}
    model.train()
    try:
        with _tuned():
            yield
    finally:
        model.zero_grad()
        own_batch_norm(model, kinds)
        for name, parameter in model.named_parameters():
            if name in contiguous:
                parameter.data = parameter.data.contiguous()
        for module, mode in modes.items():
            module.training = mode


@contextmanager
def _tuned() -> Iterator[None]:
    """On CUDA the fastest convolution of each shape is looked for; images have one size, so that pays."""
    before = torch.backends.cudnn.benchmark
    torch.backends.cudnn.benchmark = True  # `flags` would set what else the user has chosen too
    try:
        yield
    finally:
        torch.backends.cudnn.benchmark = before


def check(model: nn.Module, train: Data, recipe: Recipe, world: int, *, compiled: bool, sync_batch_norm: bool) -> None:
    """Raise TrainingError for what cannot be trained."""
    if len(train) < 2:
        raise TrainingError(f"{len(train)} images to train on: batch normalisation needs at least 2")
    least = world * recipe.accumulate
    smallest = len(train) // -(-len(train) // recipe.batch_size)
    if smallest < least:
        raise TrainingError(
            f"batches of {smallest} images for {world} processes and {recipe.accumulate} parts: give a batch of at "
            f"least {least}"
        )
    if len(train.input_shape) != 3 and (recipe.pad or recipe.flip or recipe.resized_crop):
        raise TrainingError(
            f"{train.name} has inputs of shape {train.input_shape}, and augmentation moves and mirrors images "
            "(C, H, W): give pad 0, no flip and no resized crop"
        )
    if not any(parameter.requires_grad for parameter in model.parameters()):
        raise TrainingError("the network has no parameters that can be trained")
    if recipe.style != "normal" and (compiled or sync_batch_norm):
        raise TrainingError(
            f"style {recipe.style} runs block by block: leave out {'compilation' if compiled else 'shared batch norm'}"
        )
