"""How long the program takes to start, beside what importing seaborn takes on the same machine.

    python benchmarks/startup.py --runs 15

Every command is run in a new process, in turn with the others, and ratios are taken round by round, so that
a busy moment of the machine hits both sides. Processor time is given beside wall time, which other programs on
the machine stretch. One round beforehand, which fills the file cache, is not counted.
"""

import argparse
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).parents[1]
REFERENCE = "import seaborn"
PROGRAM = [sys.executable, "-m", "resnet_probe"]
COMMANDS = {
    REFERENCE: [sys.executable, "-c", "import seaborn"],
    "python -c pass": [sys.executable, "-c", "pass"],
    "resnet-probe --help": [*PROGRAM, "--help"],
    "resnet-probe paths --help": [*PROGRAM, "paths", "--help"],
    "resnet-probe paths --depth 110": [*PROGRAM, "paths", "--depth", "110", "--out", "out"],
    "resnet-probe paths --depth 1202": [*PROGRAM, "paths", "--depth", "1202", "--out", "out"],
    "resnet-probe replot --run out": [*PROGRAM, "replot", "--run", "out"],
}


def seconds(command: list[str], folder: str) -> tuple[float, float]:
    """Wall time, and processor time in user and system mode."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    used, start = os.times(), time.perf_counter()
    subprocess.run(command, cwd=folder, env=environment, stdout=subprocess.DEVNULL, check=True)
    wall, now = time.perf_counter() - start, os.times()
    return wall, now.children_user + now.children_system - used.children_user - used.children_system


def spread(found: list[float]) -> str:
    low, median, high = statistics.quantiles(found, n=4)
    return f"{median:.2f} ({low:.2f}-{high:.2f})"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=15, help="runs of each command")
    runs = parser.parse_args().runs
    rounds: list[dict[str, tuple[float, float]]] = []
    with tempfile.TemporaryDirectory() as folder:
        for _ in range(runs + 1):
            rounds.append({name: seconds(command, folder) for name, command in COMMANDS.items()})
    rounds = rounds[1:]
    load = " ".join(f"{value:.1f}" for value in os.getloadavg())
    print(f"Python {platform.python_version()}, {os.cpu_count()} cores, {platform.machine()}, load {load}")
    print(f"n = {runs} rounds; median (quartiles); ratios to `{REFERENCE}` of the same round\n")
    print(f"{'command':34}{'wall s':>20}{'CPU s':>20}{'wall ratio':>20}{'CPU ratio':>20}")
    for name in COMMANDS:
        cells = []
        for ratio in (False, True):
            for kind in (0, 1):
                cells.append([found[name][kind] / (found[REFERENCE][kind] if ratio else 1) for found in rounds])
        print(f"{name:34}" + "".join(f"{spread(cell):>20}" for cell in cells))


if __name__ == "__main__":
    main()
