"""What makes a network the same network: its weights and its code."""

from __future__ import annotations

import hashlib
from typing import Any

from torch import Tensor, nn

from resnet_probe.unraveled import UnraveledNetwork

__all__ = ["fingerprint", "has_statistics"]


def fingerprint(network: UnraveledNetwork) -> str:
    """SHA-256 over the traced code and all tensors of the network; equal on every machine.

    Of the model that it is a part of also over the tensors and the settings of its modules, such as thresholds.
    """
    module = network.anatomy.traced.module
    digest = hashlib.sha256(module.code.encode())
    around: dict[str, Tensor] = {}
    if network.place:
        around = network.place[0].state_dict()
        digest.update(repr(_settings(network.place[0])).encode())
    for name, tensor in [*module.state_dict().items(), *around.items()]:
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.detach().cpu().contiguous().view(-1).numpy().tobytes())
    return digest.hexdigest()


def has_statistics(model: nn.Module) -> bool:
    """Whether a batch norm in the model keeps running statistics."""
    norms = (m for m in model.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm))
    return any(norm.track_running_stats for norm in norms)


def _settings(model: nn.Module) -> list[tuple[str, str, Any]]:
    """Of each module of a model its attributes that are plain values; lists are often filled when it is first run."""
    return [
        (path, name, value)
        for path, module in model.named_modules()
        for name, value in sorted(vars(module).items())
        if name != "training" and not name.startswith("_") and _is_plain(value)
    ]


def _is_plain(value: Any) -> bool:
    if isinstance(value, tuple):
        return all(map(_is_plain, value))
    return isinstance(value, int | float | str)
