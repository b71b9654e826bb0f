"""What a machine with CUDA needs for training, lesion sweeps, gradients and probes, in one command without a network.

    make gpu                                            # about five minutes on one large GPU
    python benchmarks/gpu.py --minutes 10 --shared ../shared --out results/gpu
    python benchmarks/gpu.py --tiny                     # everything small, on a CPU too

It runs the tests marked `gpu`, then measures, the most important first; each part has a share of the minutes. After
every round `gpu.json` and the table `gpu.md` are written anew, so that a run that is cut off leaves what it has. A part
that fails is listed with its error, the others go on, and the exit code is 1.

Methods of one table take turns in an order drawn anew each round, after a short run of each that does not count. The
device is waited for before a clock is read. Ratios are taken within a round; n is the number of rounds.

plain loop   each block's `forward` replaced by its shortcut, in fp32, at the batch that is fastest here; where a loop
             over all lesions would be too long it runs some, and its speed is what is compared
engine       `resnet_probe.evaluate`, with all that it prepares
of the ideal work of the prefix tree at the speed of one plain pass of the folded network, over the engine's time

fp32 is without TF32 everywhere except where it says so and in training, where torch's default holds for both sides.
Networks have random weights, with batch-norm statistics of random images, and the intact network's answers as labels;
with `--shared`, ResNet-56 is the checkpoint `resnet56-4bfd9763.th` and its images are CIFAR-10's where they are there.
"""

import argparse
import datetime
import json
import os
import platform
import random
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from itertools import combinations
from pathlib import Path
from typing import Any

import torch
from lesion_engine import plain_loop, plain_pass, share_of_work, sweep
from torch import nn

from resnet_probe.analyses.lesion.several import draw_lesions
from resnet_probe.checkpoint import load, untrained
from resnet_probe.data import Data, load_data
from resnet_probe.evaluate import recalibrate
from resnet_probe.files import write_text
from resnet_probe.float32 import full_float32
from resnet_probe.unraveled import UnraveledNetwork, unravel

ROOT = Path(__file__).parents[1]
ROUNDS = 5  # at most, of each table
LATE = 1.5  # boxes after which a part is stopped
Sets = list[tuple[str, ...]]


class Late(BaseException):
    """A part takes much longer than its box; no `except Exception` holds it up."""


@dataclass(frozen=True)
class Setting:
    """Where and how large."""

    device: str
    tiny: bool
    shared: Path | None
    seconds: float

    @property
    def cuda(self) -> bool:
        return self.device == "cuda"

    def wait(self) -> None:
        if self.cuda:
            torch.cuda.synchronize()


@dataclass
class Method:
    """One way to do the work of a table.

    Attributes:
        run: does it, and returns its result.
        size: how much that is, in the unit of the table.
        warm: a short run beforehand; `run` itself by default.
        own_clock: `run` returns its seconds.
        ideal: another method and the times of its seconds that would be ideal.
    """

    run: Callable[[], Any]
    size: float
    warm: Callable[[], Any] | None = None
    own_clock: bool = False
    ideal: tuple[str, float] | None = None
    seconds: list[float] = field(default_factory=list)
    memory: list[float] = field(default_factory=list)
    result: Any = None
    error: str | None = None


class Log:
    """What was measured, on disk after every change."""

    def __init__(self, folder: Path, setting: Setting) -> None:
        self.folder, self.parts = folder, []
        self.about = {
            "date": datetime.datetime.now(tz=datetime.UTC).isoformat(timespec="seconds"),
            "device": torch.cuda.get_device_name() if setting.cuda else f"CPU, {platform.machine()}",
            "torch": torch.__version__,
            "cuda": torch.version.cuda if setting.cuda else None,
            "cudnn": torch.backends.cudnn.version() if setting.cuda else None,
            "python": platform.python_version(),
            "cores": os.cpu_count(),
            "threads": torch.get_num_threads(),
            "minutes": setting.seconds / 60,
            "tiny": setting.tiny,
        }
        folder.mkdir(parents=True, exist_ok=True)

    def begin(self, name: str, box: float) -> None:
        self.parts.append({"part": name, "status": "running", "error": None, "box_s": box, "seconds": None, "rows": []})
        self.save()

    def rows(self, table: str, rows: list[dict[str, Any]]) -> None:
        """Put the rows of a table of the current part in the place of those it had."""
        part = self.parts[-1]
        part["rows"] = [row for row in part["rows"] if row["table"] != table] + [{"table": table, **r} for r in rows]
        self.save()

    def end(self, seconds: float, error: str | None) -> None:
        self.parts[-1] |= {"status": "failed" if error else "done", "error": error, "seconds": seconds}
        self.save()

    def save(self) -> None:
        write_text(self.folder / "gpu.json", json.dumps({**self.about, "parts": self.parts}, indent=1) + "\n")
        write_text(self.folder / "gpu.md", self.markdown())

    def markdown(self) -> str:
        a = self.about
        lines = [f"{a['device']}, torch {a['torch']}, CUDA {a['cuda']}, {a['cores']} cores, {a['date']}", ""]
        if a["tiny"]:
            lines += ["Tiny: the networks are a ResNet-8 and a ResNet of 4 blocks, whatever the headings say.", ""]
        for part in self.parts:
            lines += [*markdown(part), ""]
        return "\n".join(lines)


def markdown(part: Mapping[str, Any]) -> Iterator[str]:
    took = "" if part["seconds"] is None else f" ({part['seconds']:.0f} s)"
    yield f"## {part['part']}: {part['status']}{took}"
    if part["error"]:
        yield f"\n{part['error']}"
    for table in dict.fromkeys(row["table"] for row in part["rows"]):
        rows = [row for row in part["rows"] if row["table"] == table]
        yield f"\n{table}\n"
        if "text" in rows[0]:
            yield from (row["text"] for row in rows)
            continue
        yield (
            f"| method | seconds, median (range) | n | {rows[0]['unit']}/s | times the first's speed | of the ideal | "
            "peak MB | answers that differ |"
        )
        yield "|" + "---|" * 8
        for row in rows:
            if row["error"]:
                yield f"| {row['method']} | failed: {row['error']} |" + " |" * 6
                continue
            differ = "" if row["differ"] is None else f"{row['differ']:,} of {row['compared']:,}"
            memory = "" if row["memory_mb"] is None else f"{row['memory_mb']:,.0f}"
            rate = f"{row['rate']['median']:,.0f}"
            cells = [row["method"], shown(row["seconds"], "{:.3g}"), str(row["n"]), rate, shown(row["times"])]
            yield "| " + " | ".join([*cells, shown(row["of_ideal"]), memory, differ]) + " |"


def shown(found: Mapping[str, float] | None, form: str = "{:.2f}") -> str:
    if found is None:
        return ""
    middle, low, high = (form.format(found[name]) for name in ("median", "low", "high"))
    return f"{middle} ({low} to {high})"


def spread(values: list[float]) -> dict[str, float]:
    return {"median": statistics.median(values), "low": min(values), "high": max(values)}


def one_line(error: BaseException) -> str:
    text = str(error).strip().splitlines()
    return f"{type(error).__name__}: {text[0][:300] if text else ''}"


class Box:
    """The time that is left to a part, and its tables."""

    def __init__(self, seconds: float, setting: Setting, log: Log) -> None:
        self.end = time.perf_counter() + seconds
        self.setting, self.log = setting, log

    @property
    def left(self) -> float:
        return self.end - time.perf_counter()

    def once(self, method: Method, run: Callable[[], Any]) -> float:
        """Run, and return the seconds; the peak of memory is of the allocator, less what was there before."""
        self.setting.wait()
        before = 0
        if self.setting.cuda:
            torch.cuda.reset_peak_memory_stats()
            before = torch.cuda.memory_allocated()
        start = time.perf_counter()
        method.result = run()
        self.setting.wait()
        seconds = time.perf_counter() - start
        if self.setting.cuda:
            method.memory.append((torch.cuda.max_memory_allocated() - before) / 1e6)
        return seconds

    def compare(self, table: str, unit: str, methods: dict[str, Method]) -> None:
        """Time the methods in turn, as often as there is time, once at least; the first is what others are given in."""
        order, costs = random.Random(0), dict.fromkeys(methods, 0.0)
        for method in methods.values():
            try:
                self.once(method, method.warm or method.run)
            except Exception as error:
                method.error = one_line(error)
            method.memory.clear()
        first = next(iter(methods.values()))
        for number in range(1 if self.setting.tiny else ROUNDS):
            alive = {name: method for name, method in methods.items() if not method.error}
            if number and sum(costs[name] for name in alive) > self.left:
                break
            for name in order.sample(list(alive), len(alive)):
                method = alive[name]
                try:
                    costs[name] = self.once(method, method.run)
                except Exception as error:
                    method.error = one_line(error)
                else:
                    method.seconds.append(method.result if method.own_clock else costs[name])
            self.log.rows(table, [row(name, method, first, methods, unit) for name, method in methods.items()])
        if failed := [f"{name}: {method.error}" for name, method in methods.items() if method.error]:
            raise RuntimeError("; ".join(failed))


def row(name: str, method: Method, first: Method, methods: Mapping[str, Method], unit: str) -> dict[str, Any]:
    if method.error or first.error:
        return {"method": name, "unit": unit, "error": method.error or f"nothing to compare with: {first.error}"}
    scale = method.size / first.size
    times = [scale * a / b for a, b in zip(first.seconds, method.seconds, strict=True)]
    ideal = None
    if method.ideal:
        other, work = method.ideal
        pairs = zip(methods[other].seconds, method.seconds, strict=True)
        ideal = spread([work * a / b for a, b in pairs]) if not methods[other].error else None
    differ = compared = None
    if method is not first and isinstance(method.result, dict) and isinstance(first.result, dict):
        shared = [key for key in first.result if key in method.result]
        pairs_ = [(a, b) for key in shared for a, b in zip(first.result[key], method.result[key], strict=True)]
        differ, compared = sum(a != b for a, b in pairs_), len(pairs_)
    return {
        "method": name, "unit": unit, "error": None, "n": len(method.seconds), "size": method.size,
        "seconds": spread(method.seconds), "rate": spread([method.size / s for s in method.seconds]),
        "times": spread(times), "of_ideal": ideal, "memory_mb": max(method.memory, default=None), "differ": differ,
        "compared": compared,
    }  # fmt: skip


# -- networks and images -----------------------------------------------------------------------------------------------


def noise(setting: Setting, count: int, side: int, classes: int = 10) -> Data:
    """Random images on the device."""
    generator = torch.Generator(setting.device).manual_seed(0)
    pixels = torch.randint(
        0, 256, (count, 3, side, side), dtype=torch.uint8, device=setting.device, generator=generator
    )
    labels = torch.zeros(count, dtype=torch.int64, device=setting.device)
    return Data("noise", "test", pixels, labels, tuple(map(str, range(classes))), "0.5;0.25")


def subject(setting: Setting, arch: str) -> tuple[nn.Module, UnraveledNetwork, Data]:
    """A network, its chain and its images; with random weights, answers that differ from image to image."""
    images = 64 if setting.tiny else 10_000
    folder = setting.shared
    if folder and arch == "resnet56" and (file := folder / "checkpoints" / "resnet56-4bfd9763.th").exists():
        model = load(file).model.to(setting.device)
        if (folder / "data" / "cifar10").exists():
            data = load_data(str(folder / "data" / "cifar10"), split="test", normalize="imagenet", limit=images)
            return model, unravel(model, data.input_shape), data.to(setting.device)
    if arch.startswith("torchvision."):
        from torchvision.models import resnet

        torch.manual_seed(0)
        small = partial(resnet.ResNet, resnet.BasicBlock, [1, 1, 1, 1])
        model = (small if setting.tiny else getattr(resnet, arch.removeprefix("torchvision.")))().eval()
        data = noise(setting, 8 if setting.tiny else 2_000, 32 if setting.tiny else 224, 1000)
    else:
        model = untrained("resnet8-w4" if setting.tiny else arch).model
        data = noise(setting, images, 32)
    model = model.to(setting.device)
    recalibrate(model, data.subset(slice(0, 512)), batch_size=64, device=setting.device)
    with torch.inference_mode():
        answers = torch.cat([model(x).argmax(1) for x, _ in data.batches(64, device=setting.device)])
    data = Data(data.name, data.split, data.images, answers.clone(), data.classes, data.normalization)
    return model, unravel(model, data.input_shape), data


# -- lesion sweeps -----------------------------------------------------------------------------------------------------


def fastest_batch(loop: Callable[..., Any], model: nn.Module, data: Data, setting: Setting) -> tuple[int, float]:
    """The batch at which the intact network runs fastest, and its images per second."""
    sizes = (16, 64) if setting.tiny else (256, 1024, 4096) if data.input_shape[1] <= 64 else (32, 128, 512)
    rates = {}
    for size in sizes:
        some = data.subset(slice(0, max(sizes)))
        try:
            for _ in range(2):
                setting.wait()
                start = time.perf_counter()
                loop(model, [()], some, size)
                rates[size] = len(some) / (time.perf_counter() - start)
        except torch.OutOfMemoryError:
            torch.cuda.empty_cache()
            break
    best = max(rates, key=lambda size: rates[size])
    return best, rates[best]


def evenly(sets: Sets, count: int) -> Sets:
    """So many of the sets, evenly spaced."""
    return [sets[number * len(sets) // count] for number in range(count)]


def lesions(box: Box, name: str, what: str, found: tuple[nn.Module, UnraveledNetwork, Data], sets: Sets) -> None:
    """One table: the engine on all sets against a loop over some of them."""
    model, network, data = found
    full_loop = full_float32()(plain_loop)
    batch, rate = fastest_batch(full_loop, model, data, box.setting)
    work = share_of_work(network, sets)
    # two rounds of the engine in both precisions within half of the box, and of both loops within a quarter
    images = len(data)
    while images > 64 and 2 * 1.7 * work * images / rate > box.left / 2:
        images //= 2
    count = min(len(sets), max(2, int(box.left / 4 / (2 * 2 * images / rate))))
    data, few = data.subset(slice(0, images)), [sets[number * len(sets) // count] for number in range(count)]
    start = data.subset(slice(0, min(batch, images)))
    loops = {f"plain loop, fp32, batches of {batch}": full_loop, "plain loop, TF32": plain_loop}
    methods = {
        name: Method(
            partial(loop, model, few, data, batch), count * images, partial(loop, model, few[:2], start, batch)
        )
        for name, loop in loops.items()
        if box.setting.cuda or loop is full_loop
    }
    for precision in ("fp32", "bf16"):
        run, one_pass = partial(sweep, network, sets, precision=precision), f"one pass, {precision}"
        methods[f"engine, {precision}"] = Method(
            partial(run, data), len(sets) * images, partial(run, start), ideal=(one_pass, work)
        )
        methods[one_pass] = Method(full_float32()(plain_pass(network, data, precision, batch)), images)
    table = (
        f"{name}, {len(sets)} {what}, {images:,} images of {data.input_shape[1]} px; the loop runs {count} of them; "
        f"the prefix tree holds the work of {work:.1f} passes"
    )
    box.compare(table, "answers", methods)


def singles(box: Box, arch: str, name: str) -> None:
    found = subject(box.setting, arch)
    lesions(box, name, "single deletions", found, [(unit.name,) for unit in found[1].blocks])


def several(box: Box, arch: str, name: str) -> None:
    found = subject(box.setting, arch)
    names = [unit.name for unit in found[1].blocks if not unit.plan.resizes]
    most, draws = min(20, len(names)), 2 if box.setting.tiny else 20
    lesions(
        box, name, f"sets of 1 to {most} blocks", found,
        [chosen for _, chosen in draw_lesions(names, range(1, most + 1), draws, 0)],
    )  # fmt: skip


def pairs(box: Box, arch: str, name: str) -> None:
    found = subject(box.setting, arch)
    lesions(box, name, "pairs of blocks", found, list(combinations([unit.name for unit in found[1].blocks], 2)))


# -- training, gradients, probes ---------------------------------------------------------------------------------------


def training(box: Box) -> None:
    """Images per second of `fit` against a plain trainer: a DataLoader with torchvision's transforms, fp32."""
    from training import BATCH, WARM, ours, reference

    setting = box.setting
    steps = WARM + (1 if setting.tiny else 100)
    size = (steps - WARM) * BATCH
    data = noise(Setting("cpu", setting.tiny, None, 0), 512 if setting.tiny else 50_000, 32)
    workers = 2 if setting.tiny else min(8, os.cpu_count() or 1)

    def method(run: Callable[..., float], arch: str, **how: Any) -> Method:
        seconds = lambda steps: (steps - WARM) * BATCH / run(arch, data, steps, device=setting.device, **how)  # noqa: E731
        return Method(partial(seconds, steps), size, warm=partial(seconds, WARM + 1), own_clock=True)

    archs = {"resnet8-w4": "ResNet-8-w4"} if setting.tiny else {f"resnet{d}": f"ResNet-{d}" for d in (20, 56, 110)}
    end = box.end
    plain = f"plain trainer, fp32, {workers} workers"
    for number, (arch, name) in enumerate(archs.items()):
        box.end = time.perf_counter() + (end - time.perf_counter()) / (len(archs) - number + 1)
        methods = {
            plain: method(reference, arch, workers=workers),
            "fit, bf16, channels-last": method(ours, arch, precision="bf16"),
            "fit, fp32, channels-last": method(ours, arch),
        }
        box.compare(f"{name}, batches of {BATCH}, {steps - WARM} steps", "images", methods)
    box.end = end
    if setting.cuda and box.left > 20:
        methods = {
            plain: method(reference, "resnet20", workers=workers),
            "fit, bf16, channels-last, compiled": method(ours, "resnet20", precision="bf16", compiled=True),
        }
        box.compare(f"ResNet-20 compiled, batches of {BATCH}, {steps - WARM} steps", "images", methods)


def gradients(box: Box) -> None:
    """Exact gradients by path length, against a pass from the loss to the input over the same images."""
    from gradients import input_gradient

    from resnet_probe.gradients import class_gradients
    from resnet_probe.gradients.exact import whole

    _, network, data = subject(box.setting, "resnet56")
    count = 8 if box.setting.tiny else 256
    images, labels = next(data.batches(count, device=box.setting.device))
    module = whole(network)
    for value in network.anatomy.traced.module.parameters():
        value.requires_grad_(False)
    methods = {"gradient at the input": Method(partial(full_float32()(input_gradient), module, images, labels), count)}
    for vectors in (1, 8):
        exact = partial(class_gradients, network, images, labels, reference=module, stack=count * vectors)
        methods[f"exact, all {len(network.blocks) + 1} path classes, {vectors} at a time"] = Method(exact, count)
    box.compare(f"{count} images, fp32", "images", methods)


def probes(box: Box) -> None:
    """Recording every 3x3 layer, against a plain pass."""
    from probes import methods as recorders

    model, _, data = subject(box.setting, "resnet56")
    count = 16 if box.setting.tiny else 1024
    batches = [x for x, _ in data.subset(slice(0, 4 * count)).batches(count, device=box.setting.device)]
    size = sum(map(len, batches))
    with torch.inference_mode():
        methods = {
            name: Method(partial(run, batches), size) for name, run in recorders(model).items() if "keep" not in name
        }
        box.compare(f"{len(batches)} batches of {count} images, fp32", "images", methods)


def tests(box: Box) -> None:
    """The tests marked `gpu`; pytest's plugins are not needed."""
    files = sorted(str(path.relative_to(ROOT)) for path in (ROOT / "tests").rglob("test_gpu.py"))
    words = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-m",
        "gpu",
        "-o",
        "addopts=--strict-markers",
        "-p",
        "no:cacheprovider",
    ]
    ignored = ["-W", "ignore::pytest.PytestConfigWarning"]  # settings of plugins
    done = subprocess.run(
        [*words, *ignored, *files], cwd=ROOT, capture_output=True, text=True, check=False,
        env={**os.environ, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    last = (done.stdout.strip().splitlines() or ["no output"])[-1]
    box.log.rows("pytest -m gpu", [{"text": last}])
    if done.returncode:
        print(done.stdout, done.stderr, file=sys.stderr)
        raise RuntimeError(f"pytest ended with {done.returncode}: {last}")


# The most important first: name, share of the minutes, what is run.
PARTS: tuple[tuple[str, float, Callable[[Box], None]], ...] = (
    ("tests", 40, tests),
    ("ResNet-56, single deletions", 45, partial(singles, arch="resnet56", name="ResNet-56")),
    ("ResNet-110, single deletions", 40, partial(singles, arch="resnet110", name="ResNet-110")),
    ("training", 60, training),
    ("ResNet-56, several deletions", 25, partial(several, arch="resnet56", name="ResNet-56")),
    ("ResNet-56, pairs", 25, partial(pairs, arch="resnet56", name="ResNet-56")),
    ("ResNet-50 at 224 px", 25, partial(singles, arch="torchvision.resnet50", name="ResNet-50")),
    ("ResNet-152 at 224 px", 30, partial(singles, arch="torchvision.resnet152", name="ResNet-152")),
    ("gradients by path length", 8, gradients),
    ("probes", 7, probes),
)


def stop(signum: int, frame: object) -> None:
    raise Late


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=5.0, help="for all parts together")
    parser.add_argument("--tiny", action="store_true", help="everything small, to see that it runs")
    parser.add_argument("--shared", type=Path, help="folder with checkpoints/ and data/cifar10")
    parser.add_argument("--out", type=Path, default=ROOT / "results" / "gpu", help="folder for gpu.json and gpu.md")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu", choices=("cuda", "cpu"))
    parser.add_argument("--only", nargs="+", default=[""], metavar="WORD", help="parts whose names hold one of these")
    options = parser.parse_args()
    if options.device == "cpu" and not options.tiny:
        parser.error("no CUDA device here; give --tiny to run everything small on the CPU")
    setting = Setting(options.device, options.tiny, options.shared, 60 * options.minutes)
    log = Log(options.out, setting)
    print(log.markdown())
    end = time.perf_counter() + setting.seconds
    signal.signal(signal.SIGALRM, stop)
    chosen = [part for part in PARTS if any(word in part[0] for word in options.only)]
    for number, (name, share, run) in enumerate(chosen):
        start = time.perf_counter()
        box = max(3.0, (end - start) * share / sum(each[1] for each in chosen[number:]))
        log.begin(name, box)
        signal.setitimer(signal.ITIMER_REAL, 0 if setting.tiny else LATE * box + 5)  # no time is short for a few images
        error = None
        try:
            run(Box(box, setting, log))
        except Late:
            error = f"stopped after {LATE} times its {box:.0f} s"
        except Exception as found:
            error = one_line(found)
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
        log.end(time.perf_counter() - start, error)
        print("\n".join(markdown(log.parts[-1])) + "\n", flush=True)
        if setting.cuda:
            torch.cuda.empty_cache()
    failed = [part["part"] for part in log.parts if part["status"] == "failed"]
    print(
        f"{log.folder / 'gpu.json'}: {len(log.parts) - len(failed)} parts done, failed: {', '.join(failed) or 'none'}"
    )
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
