"""The lesion engine against a plain loop, the shortest fair measurement: a few minutes on one core.

    python benchmarks/lesion_quick.py --ckpt resnet56.th --data cifar10 --normalize imagenet --limit 250 --rounds 5

Each round runs, one after another in one process: the plain loop (each block's `forward` replaced by its shortcut, and
the data set run again in batches of 250), then the engine in fp32 and in bf16. Ratios are of processor time within the
round, and include what the engine prepares. For option-A ResNets of `resnet_probe.models`, because the loop is written
by hand.
"""

import argparse
import time
from collections.abc import Callable
from statistics import median

import torch

from resnet_probe import checkpoint
from resnet_probe.data import load_data
from resnet_probe.evaluate import Sweep, evaluate
from resnet_probe.unraveled import unravel

LOOP_BATCH = 250


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--ckpt", required=True)
    parser.add_argument("--data", required=True)
    parser.add_argument("--normalize")
    parser.add_argument("--limit", type=int, default=250)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=1)
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    model = checkpoint.load(given.ckpt).model
    data = load_data(given.data, normalize=given.normalize, limit=given.limit)
    network = unravel(model, data.input_shape)
    variants = {"": network.steps} | {unit.name: network.delete(unit.name).steps for unit in network.blocks}

    def count() -> int:
        with torch.inference_mode():
            return sum(int((model(x).argmax(1) != y).sum()) for x, y in data.batches(LOOP_BATCH))

    def loop() -> dict[str, int]:
        wrong = {"": count()}
        for unit in network.blocks:
            block = model.get_submodule(unit.name)
            forward, shortcut = block.forward, unit.module("shortcut")
            block.forward = lambda x, shortcut=shortcut: torch.relu(shortcut(x))
            wrong[unit.name] = count()
            block.forward = forward
        return wrong

    ratios: dict[str, list[float]] = {"fp32": [], "bf16": []}
    for number in range(1, given.rounds + 1):
        base, wrong = timed(loop)
        for precision, found in ratios.items():
            seconds, scores = timed(
                lambda precision=precision: evaluate(network, variants, data, sweep=Sweep(precision))
            )
            found.append(base / seconds)
            off = sum(abs(scores[name].wrong - wrong[name]) for name in wrong)
            print(f"round {number}: loop {base:.2f} s, {precision} {seconds:.2f} s, counts off by {off}", flush=True)
    for precision, found in ratios.items():
        print(f"{precision}: {median(found):.2f} times faster ({min(found):.2f} to {max(found):.2f}, n = {len(found)})")


def timed(function: Callable):
    start = time.process_time()
    result = function()
    return time.process_time() - start, result


if __name__ == "__main__":
    main()
