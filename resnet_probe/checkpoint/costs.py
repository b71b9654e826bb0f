"""What a file of our own format may ask for by its description: a network, or inputs, that would fill the memory."""

from __future__ import annotations

import math
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call

from resnet_probe.checkpoint.weights import CheckpointError, Weights
from resnet_probe.limits import MOST_OUTPUT, most_bytes
from resnet_probe.models import resolve


def require_affordable(path: Path, model: nn.Module, shape: tuple[int, ...]) -> None:
    """Refuse a file that says its network is for images so large that one layer's output would fill the memory."""
    if not all(isinstance(size, int) and size > 0 for size in shape) or len(shape) not in (1, 3):
        raise CheckpointError(f"{path} says its network is for inputs of {_short(shape)}; save it with their shape")
    widest = max((tensor.shape[0] for tensor in model.parameters() if tensor.dim() == 4), default=1)
    if 8 * max(math.prod(shape), widest * math.prod(shape[1:])) <= MOST_OUTPUT:  # of two images, as float32
        return
    outputs = [2 * 4 * math.prod(shape)]

    def note(module: nn.Module, inputs: tuple[Any, ...], output: Any) -> None:
        if isinstance(output, Tensor):
            outputs.append(size_of(output))

    hooks = [module.register_forward_hook(note) for module in model.modules()]
    meta = {name: tensor.to("meta") for name, tensor in model.state_dict().items()}
    try:
        if outputs[0] <= MOST_OUTPUT:
            functional_call(model, meta, (torch.empty(2, *shape, device="meta"),))
    except RuntimeError:  # it does not take such images
        pass
    finally:
        for hook in hooks:
            hook.remove()
    if max(outputs) > MOST_OUTPUT:
        raise CheckpointError(
            f"{path} says its network is for inputs of {_short(shape)}, of which one layer makes {max(outputs):,} "
            f"bytes; above {MOST_OUTPUT:,} a file is not believed: give --size, or save it with the size of its images"
        )


def require_small(path: Path, arch: str, weights: Weights) -> None:
    """Refuse a network much larger than the file that names it."""
    with suppress(RuntimeError, NotImplementedError), torch.device("meta"):
        size = sum(map(size_of, resolve(arch).state_dict().values()))
        if size > most_bytes(sum(map(size_of, weights.tensors.values()))):
            raise CheckpointError(f"{path} names {arch}, which has {size:,} bytes; give the --arch they belong to")


def size_of(tensor: Tensor) -> int:
    """Bytes of its values."""
    return tensor.numel() * tensor.element_size()


def _short(shape: tuple[int, ...]) -> str:
    return str(shape)[:60]
