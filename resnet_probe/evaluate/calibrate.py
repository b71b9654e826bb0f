"""How many images to run at a time: as many as the machine likes, and no more than the memory allows.

On a CPU the best batch is the one whose maps stay in the cache; on a GPU it is larger. A short calibration finds it.
"""

from __future__ import annotations

import math
import time
from dataclasses import dataclass

import torch
from torch import Tensor

from resnet_probe.evaluate.engine import run_tree
from resnet_probe.evaluate.fast import FastUnits
from resnet_probe.evaluate.tree import Tree, grow
from resnet_probe.unraveled import UnraveledNetwork

__all__ = ["ChunkPlan", "cache_chunk", "calibrate", "default_memory", "is_out_of_memory", "memory_bound", "state_bytes"]

CHUNKS = {"cpu": (8, 16, 32, 64, 128), "cuda": (64, 256, 1024), "mps": (64, 256)}
CACHE = 2 * 2**20  # bytes of one value between two units
REPEATS = 3
PAST_THE_BEST = 0.85  # of the best rate: larger chunks are not tried any more
GOOD_ENOUGH = 0.97  # of the best rate: the smaller chunk wins then, for its memory
OVERHEAD = 3  # values inside a unit (input, intermediate, output) per value between units


@dataclass(frozen=True)
class ChunkPlan:
    """How the images are cut.

    Attributes:
        chunk: images of one pass.
        stack: images' worth of states that are run together.
    """

    chunk: int
    stack: int


def default_memory(device: torch.device) -> int:
    """Bytes to use by default: half of what is free on CUDA; elsewhere a quarter, and no more than 1 GB."""
    if device.type == "cuda":
        free, _ = torch.cuda.mem_get_info(device)
        return int(free // 2)
    return min(_free_memory() // 4, 10**9)


def state_bytes(network: UnraveledNetwork, dtype: torch.dtype) -> int:
    """Largest size of a value between two units, for one image."""
    elements = max(math.prod(unit.plan.out_shape) for unit in network.units)
    return max(elements, math.prod(network.input_shape)) * torch.empty(0, dtype=dtype).element_size()


def cache_chunk(network: UnraveledNetwork, dtype: torch.dtype) -> int:
    """Images per pass whose maps stay in the cache of a usual CPU: 32 for a CIFAR ResNet in fp32, within 8 to 128."""
    return max(8, min(128, CACHE // state_bytes(network, dtype)))


def memory_bound(network: UnraveledNetwork, tree: Tree, dtype: torch.dtype, memory: int) -> int:
    """The most images per pass for which all values alive at one time fit in `memory` bytes.

    Raises:
        ValueError: not even one image fits.
    """
    # the smallest of `ways` parts is run first and has at most that share of the variants; the others wait
    ways = tree.ways
    waiting = 2 + (ways - 1) * math.ceil(math.log(len(tree.finals) + 1, ways))
    per_image = state_bytes(network, dtype) * (waiting + OVERHEAD)
    most = memory // per_image
    if most < 1:
        raise ValueError(
            f"a memory budget of {memory / 1e6:.3g} MB does not hold one image of this network "
            f"({per_image / 1e6:.3g} MB with {len(tree.finals)} variants); give --memory more"
        )
    return int(most)


def calibrate(units: FastUnits, images: Tensor, *, count: int, at_most: int, device: torch.device) -> ChunkPlan:
    """Time the intact network on batches of several sizes and take the smallest that is about as fast as the best.

    Args:
        units: the network's fast units.
        images: some images to time with; they are repeated for larger batches.
        count: images of the data set. If they are fewer than the best batch, states of several variants fill it up.
        at_most: images that the memory allows.
        device: where the units are.
    """
    sizes = [size for size in CHUNKS.get(device.type, CHUNKS["cpu"]) if size <= at_most] or [at_most]
    tree = grow([units.network.steps], units.network.is_identity)
    rates = {}
    for size in sizes:
        try:
            batch = images.repeat(math.ceil(size / len(images)), *[1] * (images.dim() - 1))[:size]
            rates[size] = size / min(_seconds(tree, units, batch, device) for _ in range(REPEATS))
        except RuntimeError as error:
            if not is_out_of_memory(error):
                raise
            break
        if rates[size] < PAST_THE_BEST * max(rates.values()):
            break
    if not rates:  # the sweep halves its chunks until they fit
        return ChunkPlan(min(sizes[0], count), sizes[0])
    best = max(rates.values())
    stack = min(size for size, rate in rates.items() if rate >= GOOD_ENOUGH * best)
    return ChunkPlan(min(stack, count), stack)


def is_out_of_memory(error: RuntimeError) -> bool:
    """Whether an error says that memory ran out; on a CPU torch has no type of its own for it."""
    return isinstance(error, torch.OutOfMemoryError) or "can't allocate memory" in str(error)


def _seconds(tree: Tree, units: FastUnits, images: Tensor, device: torch.device) -> float:
    start = time.perf_counter()
    (output,) = run_tree(tree, units, images, stack=len(images))
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    output.sum().item()
    return time.perf_counter() - start


def _free_memory() -> int:
    """Bytes that the operating system could give, as far as it says."""
    try:
        with open("/proc/meminfo", encoding="ascii") as file:  # noqa: PTH123 - no file of ours
            fields = dict(line.split(":") for line in file)
        return int(fields["MemAvailable"].split()[0]) * 1024
    except (OSError, KeyError, ValueError):
        return 4 * 10**9
