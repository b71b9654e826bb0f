"""What gradients by path length cost, in units of an ordinary input-gradient pass over the same images.

    python benchmarks/gradients.py --runs 5
    python benchmarks/gradients.py --runs 5 --ckpt resnet56.th

- exact: `class_gradients` (all n + 1 classes, and the check against autograd) over one batch, divided by one forward
  pass and one `autograd.grad` to the input, with frozen weights, over the same batch. The bound is 1.5 (n/2 + 2).
- sampled: seconds per sample (one path of one image) of `path_norms` at 100 samples for each length, against one
  `autograd.grad` per sample: an image is run forward, each block through the branch and shortcut with the part that
  the path does not take detached, then once back. That way is timed on a few samples drawn from the same set.

The two ways of each line are run in turn, so that a busy moment of the machine hits both; given are the median of the
ratios, and the smallest and the largest.
"""

import argparse
import os
import platform
import statistics
import time

import torch
from torch.nn import functional as F

from resnet_probe import checkpoint
from resnet_probe.gradients import class_gradients, draw_paths, path_norms
from resnet_probe.gradients.exact import whole
from resnet_probe.unraveled import unravel

SAMPLES = 100


def seconds(function, *arguments) -> float:
    start = time.perf_counter()
    function(*arguments)
    return time.perf_counter() - start


def input_gradient(module, images, labels):
    leaf = images.clone().requires_grad_()
    return torch.autograd.grad(F.cross_entropy(module(leaf), labels, reduction="sum"), leaf)[0]


def one_path(network, image, label, taken):
    """Norm of one path's gradient, as a reader of the paper would write it down."""
    leaf = image.clone().requires_grad_()
    value, block = leaf, 0
    for unit in network.units:
        if unit not in network.blocks:
            value = unit.module()(value)
            continue
        around = value if unit.has_identity_shortcut else unit.module("shortcut")(value)
        through = unit.module("branch")(value)
        value = around.detach() + through if taken[block] else around + through.detach()
        block += 1
    return torch.autograd.grad(F.cross_entropy(value, label), leaf)[0].norm()


def report(name: str, ratios: list[float], unit: str) -> None:
    middle = statistics.median(ratios)
    print(f"{name:44} median {middle:6.2f}  ({min(ratios):.2f} to {max(ratios):.2f}, n = {len(ratios)}) {unit}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--images", type=int, default=16, help="images in the batch")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--ckpt", help="checkpoint; by default an untrained resnet56")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    loaded = checkpoint.load(options.ckpt) if options.ckpt else checkpoint.untrained("resnet56")
    network = unravel(loaded.model, (3, 32, 32))
    module = whole(network)
    for value in network.anatomy.traced.module.parameters():
        value.requires_grad_(False)
    generator = torch.Generator().manual_seed(0)
    images = torch.randn((options.images, 3, 32, 32), generator=generator)
    labels = torch.randint(10, (options.images,), generator=generator)
    blocks = len(network.blocks)
    bound = 1.5 * (blocks / 2 + 2)
    print(
        f"{loaded.name}: {blocks} blocks; {options.images} images, {options.threads} thread(s) of {os.cpu_count()} "
        f"cores, torch {torch.__version__}, {platform.machine()}, load {os.getloadavg()[0]:.1f}\n"
    )
    ratios = []
    for run in range(options.runs + 1):
        single = seconds(input_gradient, module, images, labels)
        split = seconds(lambda: class_gradients(network, images, labels, reference=module))
        if run:  # the first fills the caches
            ratios.append(split / single)
    report("exact / input-gradient pass", ratios, f"bound {bound:.2f}")

    paths = draw_paths(blocks, range(blocks + 1), SAMPLES, generator)
    each = SAMPLES // 10  # samples of each length for each of ten images
    ten, tens = images[:10], labels[:10]
    through = paths.unflatten(1, (10, each)).transpose(1, 2).flatten(0, 1)  # (lengths * each, 10, blocks)
    every = paths.flatten(0, 1)
    few = torch.randperm(paths.shape[0] * SAMPLES, generator=generator)[:40].tolist()
    ratios, rates = [], []
    for run in range(options.runs + 1):
        alone = seconds(lambda: [one_path(network, ten[[i % 10]], tens[[i % 10]], every[i]) for i in few])
        together = seconds(lambda: path_norms(network, ten, tens, through))
        per_sample = together / (through.shape[0] * through.shape[1])
        if run:
            ratios.append(alone / len(few) / per_sample)
            rates.append(1 / per_sample)
    report("sampled: one autograd.grad each / together", ratios, "at least 5 wanted")
    print(f"{'':44} {statistics.median(rates):.0f} samples per second together")


if __name__ == "__main__":
    main()
