"""What makes a network the same network: its weights and its code."""

from __future__ import annotations

import hashlib

from torch import nn

from resnet_probe.unraveled import UnraveledNetwork

__all__ = ["fingerprint", "has_statistics"]


def fingerprint(network: UnraveledNetwork) -> str:
    """SHA-256 over the traced code and all tensors of the network, and of the model that it is a part of.

    Equal on every machine.
    """
    module = network.anatomy.traced.module
    digest = hashlib.sha256(module.code.encode())
    around = network.place[0].state_dict() if network.place else {}
    for name, tensor in [*module.state_dict().items(), *around.items()]:
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.detach().cpu().contiguous().view(-1).numpy().tobytes())
    return digest.hexdigest()


def has_statistics(model: nn.Module) -> bool:
    """Whether a batch norm in the model keeps running statistics."""
    norms = (m for m in model.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm))
    return any(norm.track_running_stats for norm in norms)
