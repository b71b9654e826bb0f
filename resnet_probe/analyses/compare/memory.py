"""How much memory a training step needs at its peak.

One forward and backward pass in training mode. What counts is the same everywhere: parameters and buffers, the batch,
what the forward pass keeps for the backward pass, and gradients.

- On CUDA it is what the allocator says (`torch.cuda.max_memory_allocated`), less what was there before.
- Elsewhere it is the largest sum of bytes of tensors that are alive at the same time (`LiveBytes`). Memory that a
  kernel takes for itself while it runs, and what the allocator rounds up or keeps, is not in it.
"""

from __future__ import annotations

import weakref
from collections.abc import Iterable
from copy import deepcopy
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from resnet_probe.evaluate.timing import example, generators, step


class LiveBytes(TorchDispatchMode):
    """Inside this context, the bytes of tensors that are alive, and their peak.

        with LiveBytes(model.parameters()) as memory:
            model(x).sum().backward()
        memory.peak

    A storage counts once, however many tensors look at it, until the last of them is gone.

    Args:
        tensors: those that are there from the beginning. Others that are made outside never count.
    """

    def __init__(self, tensors: Iterable[Tensor] = ()) -> None:
        super().__init__()
        self.live = self.peak = 0
        self._alive: set[int] = set()
        for tensor in tensors:
            self._see(tensor)

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        known = {leaf.untyped_storage()._cdata for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)}
        for leaf in tree_leaves(out):
            if isinstance(leaf, Tensor) and leaf.untyped_storage()._cdata not in known:
                self._see(leaf)
        return out

    def _see(self, tensor: Tensor) -> None:
        storage = tensor.untyped_storage()
        key, size = storage._cdata, storage.nbytes()
        if key in self._alive:
            return
        self._alive.add(key)
        self.live += size
        self.peak = max(self.peak, self.live)
        # torch keeps the Python object of a storage as long as the storage itself
        weakref.finalize(storage, self._gone, key, size).atexit = False

    def _gone(self, key: int, size: int) -> None:
        self._alive.discard(key)
        self.live -= size


def peak_memory(
    model: nn.Module, shape: tuple[int, ...], *, batch_size: int, classes: int, device: str = "cpu", seed: int = 0
) -> int:
    """Bytes at the peak of one training step (forward, loss, backward; no optimiser); the model stays as it is.

    Args:
        shape: `(C, H, W)` of one image.
        classes: number of labels to draw from.

    Raises:
        ValueError: the network cannot train on batches of this size.
    """
    cuda = device.startswith("cuda")
    with torch.random.fork_rng(devices=generators(device)):
        torch.manual_seed(seed)
        before = torch.cuda.memory_allocated(device) if cuda else 0
        copy = deepcopy(model).to(device).train()
        copy.zero_grad(set_to_none=True)
        images, labels = example(shape, batch_size, classes, device)
        if cuda:
            torch.cuda.reset_peak_memory_stats(device)
            step(copy, images, labels)
            torch.cuda.synchronize(device)
            return int(torch.cuda.max_memory_allocated(device)) - before
        with LiveBytes([*copy.parameters(), *copy.buffers(), images, labels]) as memory:
            step(copy, images, labels)
        return memory.peak
