"""How long a small run takes, nearly all of it start-up, beside what importing torch takes on the same machine.

    python benchmarks/startup.py --n 10

A lesion study of 16 images, with its figure in every format, is run in turn with `import torch`, each in a new process,
so that a busy moment of the machine hits both. Processor time is given beside wall time, which other programs on the
machine stretch. One round beforehand, which fills the file cache, is not counted. `--light` adds the commands that do
without torch.
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
PROGRAM = [sys.executable, "-m", "resnet_probe"]
REFERENCE = 'python -c "import torch"'
SMALL = "resnet-probe lesion, 16 images"
LIGHT = {
    "python -c pass": [sys.executable, "-c", "pass"],
    "resnet-probe --help": [*PROGRAM, "--help"],
    "resnet-probe paths --help": [*PROGRAM, "paths", "--help"],
    "resnet-probe paths --depth 110": [*PROGRAM, "paths", "--depth", "110", "--out", "light"],
    "resnet-probe replot --run": [*PROGRAM, "replot", "--run", "light"],
}


def run(command: list[str], folder: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "MPLBACKEND": "agg"}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise SystemExit(f"{' '.join(command)} failed:\n{done.stderr}")


def seconds(command: list[str], folder: Path) -> tuple[float, float]:
    """Wall time, and processor time in user and system mode."""
    used, start = os.times(), time.perf_counter()
    run(command, folder)
    wall, now = time.perf_counter() - start, os.times()
    return wall, now.children_user + now.children_system - used.children_user - used.children_system


def trained(folder: Path) -> Path:
    """A ResNet-20 that saw the digits once."""
    words = ["--arch", "resnet20", "--data", "digits", "--recipe", "digits", "--epochs", "1", "--out", "trained"]
    run([*PROGRAM, "train", *words], folder)
    return next((folder / "trained").rglob("*.safetensors"))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--n", type=int, default=10, help="runs of each command")
    parser.add_argument("--ckpt", type=Path, help="of a network for digits; by default one is trained for an epoch")
    parser.add_argument("--light", action="store_true", help="also the commands that do without torch")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        ckpt = given.ckpt.resolve() if given.ckpt else trained(folder)
        rounds: list[dict[str, tuple[float, float]]] = []
        for number in range(given.n + 1):
            # a folder of its own, since a study that is found finished is not measured again
            study = ["--ckpt", str(ckpt), "--data", "digits", "--limit", "16", "--out", f"study{number}"]
            commands = {
                REFERENCE: [sys.executable, "-c", "import torch"],
                SMALL: [*PROGRAM, "lesion", *study],
                **(LIGHT if given.light else {}),
            }
            rounds.append({name: seconds(command, folder) for name, command in commands.items()})
    load = " ".join(f"{value:.1f}" for value in os.getloadavg())
    print(f"Python {platform.python_version()}, {os.cpu_count()} cores, {platform.machine()}, load {load}")
    print(f"n = {given.n}; seconds: min, median, max; ratio of the medians to {REFERENCE}\n")
    print(f"{'':34}{'wall':>20}{'ratio':>8}{'processor':>22}{'ratio':>8}")
    medians = {}
    for name in rounds[0]:
        cells = ""
        for kind in (0, 1):
            found = [times[name][kind] for times in rounds[1:]]
            medians[name, kind] = statistics.median(found)
            spread = f"{min(found):.2f} {medians[name, kind]:.2f} {max(found):.2f}"
            cells += f"{spread:>{20 + 2 * kind}}{medians[name, kind] / medians[REFERENCE, kind]:>8.2f}"
        print(f"{name:34}{cells}")


if __name__ == "__main__":
    main()
