"""What all subsets of blocks cost: the engine beside a plain loop over the subsets.

    python benchmarks/importance.py --shared ../shared --limit 1000

All 512 subsets of the nine blocks of ResNet-20. The loop replaces the `forward` of deleted blocks by their shortcut and
runs the images in batches of 250. Loop and engine take turns in one process; ratios are taken within a round.
Preparation (unraveling, folding) counts. A loop over all subsets takes minutes, so `--every N` runs every N-th subset
of it and multiplies; the engine always runs all.
"""

import argparse
import os
import statistics
import time
from itertools import compress, product
from pathlib import Path

import torch
from lesion_engine import plain_loop, sweep

from resnet_probe.checkpoint import load
from resnet_probe.data import load_data
from resnet_probe.evaluate import branches_in, saving
from resnet_probe.unraveled import unravel


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--shared", type=Path, required=True, help="folder with checkpoints/ and data/cifar10")
    parser.add_argument("--limit", type=int, default=1000, help="images")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument(
        "--every", type=int, default=1, help="subsets that the loop leaves out between two that it runs"
    )
    parser.add_argument("--threads", type=int, default=1)
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    model = load(given.shared / "checkpoints" / "resnet20-12fca82f.th").model.eval()
    data = load_data(str(given.shared / "data" / "cifar10"), split="test", limit=given.limit, normalize="imagenet")
    network = unravel(model, data.input_shape)
    names = [block.name for block in network.blocks]
    sets = [tuple(compress(names, chosen)) for chosen in product((False, True), repeat=len(names))]
    chains = [network.delete(*gone).steps for gone in sets]
    runs, looped = saving(chains, network.is_identity, branches_in(network))
    print(f"{len(sets)} subsets: {runs} block runs, a loop {looped}, {looped / runs:.2f} times as many")
    ratios = []
    for number in range(given.rounds):
        start = time.perf_counter()
        loop = plain_loop(model, sets[:: given.every], data)
        middle = time.perf_counter()
        engine = sweep(unravel(model, data.input_shape), sets, data)
        end = time.perf_counter()
        differ = sum(a != b for name, flags in loop.items() for a, b in zip(flags, engine[name], strict=True))
        of_loop = (middle - start) * len(sets) / len(loop)
        ratios.append(of_loop / (end - middle))
        print(f"round {number}: loop {of_loop:.1f} s, engine {end - middle:.1f} s, ratio {ratios[-1]:.2f}, load "
              f"{os.getloadavg()[0]:.1f}, {differ} predictions differ in being right")  # fmt: skip
    print(f"ratio: median {statistics.median(ratios):.2f}, {min(ratios):.2f} to {max(ratios):.2f}, n = {len(ratios)}")


if __name__ == "__main__":
    main()
