"""How much time and memory large inputs take: each case in a process of its own.

    python benchmarks/load.py                  # all cases, about ten minutes on two cores; prints a Markdown table
    python benchmarks/load.py variants rows    # some of them

Peak memory is that of the whole process, Python and torch included (`ru_maxrss`).
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

LARGE = 100_000


def variants(folder: Path, number: int = LARGE) -> dict[str, Any]:
    """A prefix tree of random sets of three blocks of a ResNet-110, planned and not run."""
    import random

    from resnet_probe.evaluate import grow
    from resnet_probe.models import resolve
    from resnet_probe.unraveled import unravel

    network = unravel(resolve("resnet110").eval(), (3, 32, 32))
    names = [unit.name for unit in network.blocks]
    generator = random.Random(0)
    before = peak_mb()
    start = time.perf_counter()
    tree = grow([network.delete(*generator.sample(names, 3)).steps for _ in range(number)], network.is_identity)
    grown = (peak_mb() - before) * 1e6 / number
    return {"seconds": time.perf_counter() - start, "edges": len(tree.edges), "bytes a variant": round(grown)}


def deep(folder: Path) -> dict[str, Any]:
    """A ResNet-1202: unravelled, its paths counted, and every block deleted on eight images."""
    from resnet_probe.cli import main

    start = time.perf_counter()
    for command in ("paths", "lesion"):
        words = ["--arch", "resnet1202", "--out", str(folder), "--format", "png", "--quiet"]
        images = ["--data", "fake", "--limit", "8"] if command == "lesion" else []
        assert main([command, *words, *images]) == 0
    return {"seconds": time.perf_counter() - start}


def images(folder: Path, number: int = LARGE) -> dict[str, Any]:
    """A folder of class folders with so many images, of which 100 are evaluated; files are listed once."""
    from PIL import Image

    from resnet_probe.data import load_data

    Image.new("RGB", (32, 32), (9, 90, 200)).save(folder / "one.png")
    content = (folder / "one.png").read_bytes()
    for label in range(10):
        (folder / "images" / f"{label}").mkdir(parents=True)
        for place in range(number // 10):
            (folder / "images" / f"{label}" / f"{place}.png").write_bytes(content)
    walks: list[str] = []
    real = os.scandir
    os.scandir = lambda *where: walks.append(str(where)) or real(*where)  # type: ignore[assignment,func-returns-value]
    start = time.perf_counter()
    data = load_data(str(folder / "images"), limit=100)
    assert len(data) == 100
    return {"seconds": time.perf_counter() - start, "folders listed": len(walks)}


def runs(folder: Path, number: int = 50) -> dict[str, Any]:
    """A report of so many runs of a ResNet-20's lesions."""
    from resnet_probe.cli import main

    first = folder / "run-0"
    words = ["lesion", "--arch", "resnet20-w2", "--data", "fake", "--limit", "20", "--format", "png", "--quiet"]
    assert main([*words, "--out", str(first)]) == 0
    for place in range(1, number):
        (folder / f"run-{place}").mkdir()
        for name in ("lesion.csv", "lesion.json"):
            text = (first / name).read_text(encoding="utf-8").replace("resnet20-w2", f"net{place}")
            (folder / f"run-{place}" / name).write_text(text, encoding="utf-8")
    start = time.perf_counter()
    assert main(["report", "--run", str(folder), "--quiet"]) == 0
    return {"seconds": time.perf_counter() - start, "page": f"{(folder / 'report.html').stat().st_size / 1e6:.1f} MB"}


def rows(folder: Path, number: int = 3 * LARGE) -> dict[str, Any]:
    """A report of a table of so many rows."""
    from resnet_probe.analyses.responses import CHANNELS
    from resnet_probe.cli import main

    each = {"network": "net", "layer": "layer1.0.conv1", "index": 0, "mean": 0.1, "std": 0.5, "values": 1000}
    CHANNELS.result([{**each, "channel": place} for place in range(number)]).save(folder)
    start = time.perf_counter()
    assert main(["report", "--run", str(folder), "--quiet"]) == 0
    return {"seconds": time.perf_counter() - start}


def digests(folder: Path, rows: int = 1400) -> dict[str, Any]:
    """A journal of 1,400 rows written with digests and without, in turn; medians of ten."""
    from statistics import median
    from types import SimpleNamespace

    from resnet_probe.evaluate import journal

    def seconds(number: int) -> float:
        made = [journal.Row(shard, 0, 192, {"wrong": 5, "loss": 123456789}, bytes(24)) for shard in range(rows)]
        opened = journal.Journal.open(folder / f"{number}.journal", {})
        start = time.perf_counter()
        opened.commit(made)
        taken = time.perf_counter() - start
        opened.close()
        return taken

    real, nothing = journal.blake2b, SimpleNamespace(update=lambda content: None, digest=lambda: bytes(16))
    found: dict[bool, list[float]] = {True: [], False: []}
    for number in range(20):
        journal.blake2b = real if number % 2 else lambda **_: nothing  # type: ignore[assignment,misc]
        found[number % 2 == 1].append(seconds(number))
    journal.blake2b = real
    more = 1e6 * (median(found[True]) - median(found[False])) / rows
    return {"seconds": median(found[True]), "microseconds more a row": f"{more:.1f}"}


CASES: dict[str, Callable[..., dict[str, Any]]] = {
    "variants": variants, "deep": deep, "images": images, "runs": runs, "rows": rows, "digests": digests
}  # fmt: skip


def peak_mb() -> float:
    """Largest resident memory of this process so far, in 1e6 bytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6


def main() -> None:
    """Each case in a new process, as a row of a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("cases", nargs="*", choices=[*CASES, []])
    parser.add_argument("--here", choices=CASES, help="run one case in this process and print what it found")
    chosen = parser.parse_args()
    if chosen.here:
        with tempfile.TemporaryDirectory() as folder:
            found = CASES[chosen.here](Path(folder))
        print(json.dumps({**found, "peak": peak_mb()}))
        return
    print("| case | seconds | peak memory, MB | also |\n|---|---|---|---|")
    for name in chosen.cases or CASES:
        done = subprocess.run([sys.executable, __file__, "--here", name], capture_output=True, text=True, check=False)
        if done.returncode:
            print(f"| {name} | failed: {done.stderr.strip().splitlines()[-1]} | | |")
            continue
        found = json.loads(done.stdout.splitlines()[-1])
        seconds, peak = found.pop("seconds"), found.pop("peak")
        more = ", ".join(
            f"{key}: {value:,}" if isinstance(value, int) else f"{key}: {value}" for key, value in found.items()
        )
        print(f"| {CASES[name].__doc__} | {seconds:.1f} | {peak:.0f} | {more} |", flush=True)


if __name__ == "__main__":
    main()
