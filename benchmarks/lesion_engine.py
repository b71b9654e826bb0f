"""What a lesion sweep costs: the engine, beside the loops that it replaces and the ideal.

    python benchmarks/lesion_engine.py --shared ../shared --limit 1000
    python benchmarks/lesion_engine.py --shared ../shared --depths        # and draw benchmarks/depth.svg

Every method deletes each of ResNet-56's 27 blocks, one at a time, on the same images. Methods are interleaved in one
process, in an order drawn anew each round. Ratios are taken within a round; the tables give their median and range,
in wall-clock and in processor time. Preparation (unraveling, folding, calibrating) counts, compilation does not.

plain loop      the block's `forward` is replaced by its shortcut, and the data set is run again
baukit loop     a hook that replaces the output of the block, as baukit's `TraceDict(edit_output=...)` does
nnsight loop    the same edit in an nnsight trace (skipped where nnsight is not installed)
engine          `resnet_probe.evaluate`
ideal           work of the prefix tree, in FLOPs, at the speed of one plain pass of the folded network
"""

import argparse
import copy
import datetime
import json
import os
import platform
import random
import resource
import statistics
import subprocess
import sys
import time
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from resnet_probe import evaluate as engine
from resnet_probe.analyses.lesion.several import draw_lesions
from resnet_probe.checkpoint import load, untrained
from resnet_probe.data import Data, load_data
from resnet_probe.unraveled import UnraveledNetwork, unravel

Wrong = dict[str, list[bool]]
Times = dict[str, list[tuple[float, float]]]
HERE = Path(__file__).parent


def shortcut(block: nn.Module, x: Tensor) -> Tensor:
    """What is left of a post-activation block of a ResNet."""
    return torch.relu(x if block.downsample is None else block.downsample(x))


def wrong(model: Callable[[Tensor], Tensor], data: Data, batch_size: int) -> list[bool]:
    with torch.inference_mode():
        batches = data.batches(batch_size, device=data.labels.device)
        return torch.cat([model(x).argmax(1) != y for x, y in batches]).tolist()


def plain_loop(model: nn.Module, sets: list[tuple[str, ...]], data: Data, batch_size: int = 250) -> Wrong:
    found = {}
    for names in sets:
        blocks = [model.get_submodule(name) for name in names]
        for block in blocks:
            block.forward = types.MethodType(shortcut, block)
        found[" ".join(names)] = wrong(model, data, batch_size)
        for block in blocks:
            del block.forward
    return found


def baukit_loop(model: nn.Module, sets: list[tuple[str, ...]], data: Data, batch_size: int = 250) -> Wrong:
    def edit_output(block: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor:
        return shortcut(block, inputs[0])

    found = {}
    for names in sets:
        handles = [model.get_submodule(name).register_forward_hook(edit_output) for name in names]
        found[" ".join(names)] = wrong(model, data, batch_size)
        for handle in handles:
            handle.remove()
    return found


def nnsight_loop(
    wrapped: Any, model: nn.Module, sets: list[tuple[str, ...]], data: Data, batch_size: int = 250
) -> Wrong:
    """`wrapped` must have a model of its own, because nnsight replaces the `forward` of every module."""
    found = {}
    for (name,) in sets:
        stage, number = name.split(".")
        block, own = getattr(wrapped, stage)[int(number)], model.get_submodule(name)

        def run(x: Tensor, block: Any = block, own: nn.Module = own) -> Tensor:
            with wrapped.trace(x):
                block.output = shortcut(own, block.input)
                output = wrapped.output.save()
            return output  # noqa: RET504 - an nnsight trace cannot return

        found[name] = wrong(run, data, batch_size)
    return found


def sweep(network: UnraveledNetwork, sets: list[tuple[str, ...]], data: Data, **how: object) -> Wrong:
    variants = {" ".join(names): network.delete(*names).steps for names in sets}
    scores = engine.evaluate(network, variants, data, sweep=engine.Sweep(**how), device=data.labels.device)
    return {name: score.flags.tolist() for name, score in scores.items()}


def flops(network: UnraveledNetwork) -> dict[int, float]:
    """Per unit, multiply-adds of its convolutions and linear layers for one image."""
    from torch.utils.flop_counter import FlopCounterMode

    like = next(network.anatomy.traced.module.parameters())
    costs, x = {}, torch.zeros(1, *network.input_shape, device=like.device)
    for number, step in enumerate(network.steps):
        with torch.inference_mode(), FlopCounterMode(display=False) as counter:
            x = network.run_step(step, x)
        costs[number] = counter.get_total_flops() / 2
    return costs


def share_of_work(network: UnraveledNetwork, sets: list[tuple[str, ...]]) -> float:
    """Work of the prefix tree, as a multiple of one pass of the intact network."""
    costs = flops(network)
    tree = engine.grow([network.delete(*names).steps for names in sets], network.is_identity)
    whole = sum(costs[edge.step.unit] for edge in tree.edges if edge.step.mode == "whole")
    return whole / sum(costs.values())


def plain_pass(network: UnraveledNetwork, data: Data, precision: str, batch_size: int) -> Callable[[], None]:
    """One pass of the folded network as one module, channels-last, without any engine; prepared beforehand."""
    units = engine.FastUnits(network, precision=precision)
    module = units(*network.steps)

    def run() -> None:
        with torch.inference_mode():
            for x, _ in data.batches(batch_size, device=data.labels.device):
                module(units.arrange(x))

    return run


def measure(methods: dict[str, Callable[[], object]], rounds: int, seed: int = 0) -> tuple[Times, dict[str, object]]:
    times: Times = {name: [] for name in methods}
    answers: dict[str, object] = {}
    generator = random.Random(seed)
    for number in range(rounds):
        for name in generator.sample(list(methods), len(methods)):
            wall, processor = time.perf_counter(), time.process_time()
            answers[name] = methods[name]()
            times[name].append((time.perf_counter() - wall, time.process_time() - processor))
        print(f"round {number + 1} of {rounds} done", file=sys.stderr, flush=True)
    return times, answers


def ratios(times: Times, one: str, other: str, clock: int, factor: float = 1.0) -> str:
    found = [factor * a[clock] / b[clock] for a, b in zip(times[one], times[other], strict=True)]
    return f"{statistics.median(found):.2f} ({min(found):.2f} to {max(found):.2f})"


def table(headings: list[str], rows: list[list[str]]) -> None:
    print("| " + " | ".join(headings) + " |")
    print("|" + "---|" * len(headings))
    for row in rows:
        print("| " + " | ".join(row) + " |")
    print()


def nnsight_method(model: nn.Module, sets: list[tuple[str, ...]], data: Data) -> dict[str, Callable[[], object]]:
    try:
        import nnsight
    except ImportError:
        print("nnsight is not installed, so its loop is left out (pip install nnsight)\n")
        return {}
    wrapped = nnsight.NNsight(copy.deepcopy(model))
    return {f"nnsight {nnsight.__version__} loop, batch 250": lambda: nnsight_loop(wrapped, model, sets, data)}


def singles(model: nn.Module, network: UnraveledNetwork, data: Data, options: argparse.Namespace) -> None:
    sets = [(unit.name,) for unit in network.blocks]
    sizes = (16, 64, 250)
    methods: dict[str, Callable[[], object]] = {
        **{f"plain loop, batch {size}": lambda size=size: plain_loop(model, sets, data, size) for size in sizes},
        "baukit loop, batch 250": lambda: baukit_loop(model, sets, data),
        "engine fp32": lambda: sweep(network, sets, data, batch_size=options.batch_size),
        "engine bf16": lambda: sweep(network, sets, data, batch_size=options.batch_size, precision="bf16"),
    }
    if options.short:
        kept = ("plain loop, batch 250", "engine fp32", "engine bf16")
        methods, sizes = {name: methods[name] for name in kept}, (250,)
    else:
        methods |= nnsight_method(model, sets, data)
    compiled_s = None
    if options.compile:
        start = time.perf_counter()
        units = engine.FastUnits(network, compiled=True)
        variants = [network.delete(*names).steps for names in sets]
        tree = engine.grow(variants, network.is_identity)
        size = options.batch_size or 32

        def compiled() -> Wrong:
            flags: list[list[Tensor]] = [[] for _ in sets]
            with torch.inference_mode():
                for x, y in data.batches(size):
                    for number, output in enumerate(engine.run_tree(tree, units, x, stack=size)):
                        flags[number].append(output.argmax(1) != y)
            return {" ".join(names): torch.cat(parts).tolist() for names, parts in zip(sets, flags, strict=True)}

        compiled()
        compiled_s = time.perf_counter() - start
        methods["engine fp32, compiled"] = compiled
    work = share_of_work(network, sets)
    size = options.batch_size or 32
    passes = {f"pass {precision}": plain_pass(network, data, precision, size) for precision in ("fp32", "bf16")}
    times, answers = measure(methods | passes, options.rounds)
    base = "plain loop, batch 250"
    best = min((f"plain loop, batch {s}" for s in sizes), key=lambda n: statistics.median(t[1] for t in times[n]))
    headings = ["method", "seconds", "times faster than the loop (250)", "in processor time", f"than its best ({best})"]
    rows = []
    for name in methods:
        seconds = [wall for wall, _ in times[name]]
        spread = f"{statistics.median(seconds):.2f} ({min(seconds):.2f} to {max(seconds):.2f})"
        rows.append([name, spread, *(ratios(times, base, name, clock) for clock in (0, 1))])
        rows[-1].append(ratios(times, best, name, 1))
    table(headings, rows)
    expected = answers[base]
    for name in methods:
        pairs = [(a, b) for key in expected for a, b in zip(expected[key], answers[name][key], strict=True)]
        differ = sum(a != b for a, b in pairs)
        print(f"- {name}: {differ} of {len(pairs):,} answers (right or wrong) differ from the loop's")
    print(f"\nThe prefix tree holds the work of {work:.2f} passes instead of {len(sets)}.")
    for name, one in (
        ("engine fp32", "pass fp32"),
        ("engine bf16", "pass bf16"),
        ("engine fp32, compiled", "pass fp32"),
    ):
        if name in times:
            over = [ratios(times, name, one, clock, 1 / work) for clock in (0, 1)]
            print(f"{name}: {over[0]} times the ideal, {over[1]} in processor time.")
    if compiled_s is not None:
        print(f"Compiling took {compiled_s:.0f} s.")


def multiples(model: nn.Module, network: UnraveledNetwork, data: Data, options: argparse.Namespace) -> None:
    names = [unit.name for unit in network.blocks if not unit.plan.resizes]
    drawn = draw_lesions(names, range(1, 21), 20, 0)
    sets = [chosen for _, chosen in drawn]
    few = [chosen for number in range(1, 21) for n, chosen in drawn if n == number][::20]
    data = data.subset(slice(0, options.multi_limit))
    scale = len(sets) / len(few)
    methods: dict[str, Callable[[], object]] = {
        "plain loop, batch 250": lambda: plain_loop(model, few, data),
        "engine fp32": lambda: sweep(network, sets, data, batch_size=options.batch_size),
        "engine bf16": lambda: sweep(network, sets, data, batch_size=options.batch_size, precision="bf16"),
    }
    times, answers = measure(methods, options.rounds)
    rows = []
    for name in methods:
        factor = scale if "loop" in name else 1.0
        seconds = statistics.median(wall for wall, _ in times[name]) * factor
        faster = (
            ["1", "1"] if "loop" in name else [ratios(times, "plain loop, batch 250", name, c, scale) for c in (0, 1)]
        )
        rows.append([name, f"{seconds:.1f}", *faster])
    print(
        f"{len(sets)} sets of blocks, {len(data)} images; the loop ran {len(few)} sets, one of each size, scaled up.\n"
    )
    table(["method", "seconds", "times faster", "in processor time"], rows)
    expected, found = answers["plain loop, batch 250"], answers["engine fp32"]
    differ = sum(a != b for key in expected for a, b in zip(expected[key], found[key], strict=True))
    print(f"fp32: {differ} of {len(expected) * len(data):,} answers differ from the loop's.")
    print(f"The prefix tree holds the work of {share_of_work(network, sets):.1f} passes.\n")


def depths(options: argparse.Namespace) -> None:
    """Cost of all single deletions against depth, with random weights; draws the figure beside this file."""
    from resnet_probe.figures import new_figure, save, style

    pixels = torch.randint(0, 256, (options.batch_size or 32, 3, 32, 32), dtype=torch.uint8)
    data = Data("noise", "test", pixels, torch.zeros(len(pixels), dtype=torch.int64), tuple("abcdefghij"), "none")
    cases = {}
    for depth in (20, 32, 44, 56, 110):
        network = unravel(untrained(f"resnet{depth}").model, (3, 32, 32))
        sets = [(), *((unit.name,) for unit in network.blocks)]
        tree = engine.grow([network.delete(*names).steps for names in sets], network.is_identity)
        runs = sum(network.units[e.step.unit].kind == "block" and e.step.mode == "whole" for e in tree.edges)
        units = engine.FastUnits(network)

        def run(tree: engine.Tree = tree, units: engine.FastUnits = units) -> None:
            with torch.inference_mode():
                engine.run_tree(tree, units, next(data.batches(len(data)))[0], stack=len(data))

        cases[depth] = (len(network.blocks), runs, run)
    times, _ = measure({str(depth): case[2] for depth, case in cases.items()}, options.rounds)
    blocks = [case[0] for case in cases.values()]
    per_image = [1000 * statistics.median(t[1] for t in times[str(d)]) / len(data) for d in cases]
    rows = [
        [str(d), str(n), str(runs), f"{n * (n + 1) // 2}", f"{ms:.1f}", f"{1000 * ms / runs:.1f}"]
        for (d, (n, runs, _)), ms in zip(cases.items(), per_image, strict=True)
    ]
    headings = ["depth", "blocks n", "block runs", "n(n + 1)/2", "ms per image (processor time)", "µs per block run"]
    table(headings, rows)
    with style():
        figure, axes = new_figure("column", aspect=0.7)
        axes.loglog(blocks, per_image, marker="o", markersize=3, label="measured")
        line = [per_image[-1] * (n / blocks[-1]) ** 2 for n in blocks]
        axes.loglog(blocks, line, linestyle="--", color="0.5", label="proportional to the square")
        axes.set_xticks(blocks, [str(n) for n in blocks])
        axes.minorticks_off()
        axes.set_xlabel("residual blocks (depths 20, 32, 44, 56, 110)")
        axes.set_ylabel("all single deletions, ms per image")
        axes.legend()
    save(figure, HERE, "depth", ("svg",), metadata={})


def peak(options: argparse.Namespace) -> None:
    """Resident memory of a process that runs one sweep, before it and at its peak."""
    command = [
        sys.executable,
        __file__,
        "--peak-of-one",
        "--shared",
        str(options.shared),
        "--limit",
        str(options.limit),
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    found = json.loads(done.stdout.splitlines()[-1])
    print(f"A process that sweeps ResNet-56 with the defaults peaks at {found['peak']:.0f} MB, ", end="")
    print(f"{found['peak'] - found['before']:.0f} MB more than before the sweep.\n")


def one_sweep(options: argparse.Namespace) -> None:
    _, network, data = subject(options)
    before = int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize() / 1e6
    sweep(network, [(unit.name,) for unit in network.blocks], data)
    print(json.dumps({"before": before, "peak": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000}))


def subject(options: argparse.Namespace) -> tuple[nn.Module, UnraveledNetwork, Data]:
    model = load(options.shared / "checkpoints" / "resnet56-4bfd9763.th").model
    data = load_data(str(options.shared / "data" / "cifar10"), split="test", normalize="imagenet", limit=options.limit)
    return model, unravel(model, data.input_shape), data


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shared", type=Path, default=HERE.parent.parent / "shared", help="checkpoints and images")
    parser.add_argument("--limit", type=int, default=1000, help="images")
    parser.add_argument("--multi-limit", type=int, default=32, help="images for the multi-deletions")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--batch-size", type=int, help="of the engine; calibrated by default")
    parser.add_argument("--short", action="store_true", help="the loop of 250 and the engine only, without the others")
    parser.add_argument("--no-compile", dest="compile", action="store_false")
    parser.add_argument("--depths", action="store_true", help="depth scaling only")
    parser.add_argument("--multi", action="store_true", help="20 x 20 multi-deletions only")
    parser.add_argument("--peak-of-one", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    if options.peak_of_one:
        return one_sweep(options)
    today = datetime.datetime.now(tz=datetime.UTC).date()
    load_now = os.getloadavg()[0] if hasattr(os, "getloadavg") else float("nan")
    print(f"{today}, {platform.machine()}, {options.threads} threads, torch {torch.__version__}, ", end="")
    print(f"n = {options.rounds} rounds, load average {load_now:.1f} at the start; median (range)\n")
    if options.depths:
        return depths(options)
    model, network, data = subject(options)
    if options.multi:
        return multiples(model, network, data, options)
    singles(model, network, data, options)
    return peak(options)


if __name__ == "__main__":
    main()
