"""What recording costs: every 3x3 layer, beside a plain pass, hooks that keep everything, and TorchLens.

    python benchmarks/probes.py --ckpt resnet56.th

Runs are interleaved in one process, in an order drawn anew each round, so that a busy moment of the machine hits all
alike; the table gives the median time of a batch and the median over rounds, with quartiles, of the ratio to the plain
pass of the same round, for wall time and for the process's CPU time. Memory is what the process holds at its peak
beyond the plain pass, in a process of its own for each method and number of batches.
"""

import argparse
import json
import os
import platform
import random
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch
from torch import Tensor, nn

from resnet_probe.checkpoint import load, untrained
from resnet_probe.probes import ChannelMoments, Moments, record, select

Method = Callable[[list[Tensor]], object]


def points(model: nn.Module) -> list[str]:
    """The norms after 3x3 convolutions of a CIFAR ResNet."""
    return list(select(model, ["bn1", "layer*.bn1", "layer*.bn2"]))


def plain(model: nn.Module, batches: list[Tensor]) -> None:
    for x in batches:
        model(x)


def streamed(model: nn.Module, reducer: object, batches: list[Tensor]) -> float:
    with record(model, points(model), reducer) as rec:
        for x in batches:
            model(x)
    return sum(getattr(value, "std", 0.0) for value in rec.values())


def var_mean(model: nn.Module, batches: list[Tensor]) -> float:
    """Hooks with the obvious call: `torch.var_mean` of each activation."""
    seen: dict[str, list[Tensor]] = {}

    def keep(name: str, module: nn.Module, given: object, output: Tensor) -> None:
        seen.setdefault(name, []).append(torch.stack(torch.var_mean(output, correction=0)))

    handles = [model.get_submodule(n).register_forward_hook(partial(keep, n)) for n in points(model)]
    plain(model, batches)
    for handle in handles:
        handle.remove()
    return sum(float(torch.stack(parts)[:, 0].mean().sqrt()) for parts in seen.values())


def kept(model: nn.Module, batches: list[Tensor]) -> float:
    """Hooks that keep every activation until the end."""
    seen: dict[str, list[Tensor]] = {}

    def keep(name: str, module: nn.Module, given: object, output: Tensor) -> None:
        seen.setdefault(name, []).append(output.clone())  # an in-place ReLU follows

    handles = [model.get_submodule(n).register_forward_hook(partial(keep, n)) for n in points(model)]
    plain(model, batches)
    for handle in handles:
        handle.remove()
    return sum(float(torch.cat(parts).std(correction=0)) for parts in seen.values())


def torchlens(model: nn.Module, batches: list[Tensor]) -> float:
    """TorchLens hands out the activations of one pass; their deviations are taken after it."""
    import torchlens as tl

    total = 0.0
    for x in batches:
        total += sum(float(out.std(correction=0)) for out in tl.extract(model, x, layers=points(model)).values())
    return total / len(batches)


def methods(model: nn.Module) -> dict[str, Method]:
    found: dict[str, Method] = {
        "plain pass": partial(plain, model),
        "record, Moments": partial(streamed, model, Moments()),
        "record, ChannelMoments": partial(streamed, model, ChannelMoments()),
        "hooks, torch.var_mean": partial(var_mean, model),
        "hooks that keep all": partial(kept, model),
    }
    return found


def peer(model: nn.Module) -> dict[str, Method]:
    """TorchLens and a plain pass beside it; apart from the others, since it patches torch's functions for good."""
    try:
        import torchlens as tl
    except ImportError:
        print("\ntorchlens is not installed: left out")
        return {}
    return {"plain pass": partial(plain, model), f"torchlens {tl.__version__}": partial(torchlens, model)}


def network(path: Path | None) -> nn.Module:
    return (load(path) if path else untrained("resnet56")).model


def times(compared: dict[str, Method], batch: int, batches: int, rounds: int) -> None:
    x = [torch.randn(batch, 3, 32, 32) for _ in range(batches)]
    taken: dict[str, list[tuple[float, float]]] = {name: [] for name in compared}
    for number in range(rounds + 1):
        order = list(compared.items())
        random.shuffle(order)
        for name, method in order:
            start = time.perf_counter(), time.process_time()
            method(x)
            if number:
                taken[name].append((time.perf_counter() - start[0], time.process_time() - start[1]))
    print(f"\n{rounds} rounds of {batches} batches of {batch}: milliseconds per batch, and ratio to the plain pass")
    print(f"{'':28}{'wall':>8}{'ratio':>8}{'quartiles':>16}{'CPU':>9}{'ratio':>8}{'quartiles':>16}")
    for name, found in taken.items():
        line = f"{name:28}"
        for clock in range(2):
            ratios = [a[clock] / b[clock] for a, b in zip(found, taken["plain pass"], strict=True)]
            low, median, high = statistics.quantiles(ratios, n=4)
            middle = 1e3 * statistics.median(pair[clock] for pair in found) / batches
            line += f"{middle:8.1f}{median:8.3f}{f'{low:.3f} - {high:.3f}':>17}"
        print(line)


def peak(path: Path | None, batch: int, batches: int, method: str) -> None:
    """Print how far the peak of this process rises above that of a plain pass, in MB."""
    model = network(path)
    with torch.inference_mode():
        x = [torch.randn(batch, 3, 32, 32)] * batches  # the data themselves are no part of the question
        plain(model, x[:1])
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        (methods(model) | peer(model))[method](x)
    print(json.dumps((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024))


def memory(path: Path | None, batch: int, counts: tuple[int, ...]) -> None:
    print(f"\npeak memory beyond a plain pass, MB, batches of {batch}")
    print(f"{'batches':28}" + "".join(f"{count:>9}" for count in counts))
    model = network(path)
    for name in methods(model) | peer(model):
        found = []
        for count in counts:
            words = [sys.executable, __file__, "--peak", name, "--batches", str(count), "--batch", str(batch)]
            done = subprocess.run(
                [*words, *(["--ckpt", str(path)] if path else [])], capture_output=True, text=True, check=True
            )
            found.append(json.loads(done.stdout.splitlines()[-1]))
        print(f"{name:28}" + "".join(f"{value:9.0f}" for value in found))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--ckpt", type=Path, help="a ResNet-56; random weights by default")
    parser.add_argument("--batch", type=int, default=64, help="images per batch")
    parser.add_argument("--batches", type=int, default=4, help="batches per run")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--peak", help=argparse.SUPPRESS)
    given = parser.parse_args()
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "1")))
    torch.manual_seed(0)
    if given.peak:
        peak(given.ckpt, given.batch, given.batches, given.peak)
        return
    model = network(given.ckpt)
    print(f"torch {torch.__version__}, {platform.machine()}, {torch.get_num_threads()} thread, {os.cpu_count()} cores")
    print(f"{len(points(model))} points of {given.ckpt.name if given.ckpt else 'an untrained ResNet-56'}, fp32")
    with torch.inference_mode():
        times(methods(model), given.batch, given.batches, given.rounds)
        if compared := peer(model):
            times(compared, given.batch, 1, 5)
    memory(given.ckpt, given.batch, (1, 4, 16))


if __name__ == "__main__":
    main()
