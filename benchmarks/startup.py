"""How long the program takes to start, beside what importing seaborn takes on the same machine.

    python benchmarks/startup.py --runs 15

Every command is run in a new process, in turn with the others, so that a busy moment of the machine hits all
alike. The table gives the wall time in seconds: n, median, quartiles, smallest and largest, and the ratio of
the medians to `import seaborn`. One run of each beforehand, which fills the file cache, is not counted.
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


def seconds(command: list[str], folder: str) -> float:
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    start = time.perf_counter()
    subprocess.run(command, cwd=folder, env=environment, stdout=subprocess.DEVNULL, check=True)
    return time.perf_counter() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=15, help="runs of each command")
    runs = parser.parse_args().runs
    taken: dict[str, list[float]] = {name: [] for name in COMMANDS}
    with tempfile.TemporaryDirectory() as folder:
        for number in range(runs + 1):
            for name, command in COMMANDS.items():
                elapsed = seconds(command, folder)
                if number:
                    taken[name].append(elapsed)
    reference = statistics.median(taken[REFERENCE])
    print(f"Python {platform.python_version()}, {os.cpu_count()} cores, {platform.machine()}, seconds of wall time\n")
    print(f"{'command':34}{'n':>4}{'median':>9}{'quartiles':>16}{'min':>8}{'max':>8}{'/ seaborn':>11}")
    for name, found in taken.items():
        low, median, high = statistics.quantiles(found, n=4)
        spread = f"{low:.3f}-{high:.3f}"
        ratio = median / reference
        print(f"{name:34}{len(found):4}{median:9.3f}{spread:>16}{min(found):8.3f}{max(found):8.3f}{ratio:11.2f}")


if __name__ == "__main__":
    main()
