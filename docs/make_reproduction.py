"""Train the networks of the papers on CIFAR-10, repeat the papers' figures, and write docs/reproduction.md.

    python docs/make_reproduction.py --data FOLDER --device cuda --jobs 8   # all of it, from training to the page
    python docs/make_reproduction.py --page                                 # the page again, from the tables

Everything is kept in results/reproduction: a finished network, and an analysis whose table is there, is not made again.
"""

from __future__ import annotations

import argparse
import hashlib
import re
import subprocess
import sys
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from make_gallery import ROOT, run, shortened

from resnet_probe.tables import read

RUNS = Path("results/reproduction")
PAGE, FIGURES = ROOT / "docs" / "reproduction.md", ROOT / "docs" / "reproduction"
VEIT, VGG = "resnet110-preact", "vgg16-w32"
HE = ("resnet20", "resnet56", "resnet110", "plain20", "plain56", "plain110")
NETWORKS = ("resnet110", "plain110", VEIT, "resnet56", "plain56", VGG, "resnet20", "plain20")  # the longest first
LARGEST = 300_000  # bytes of one figure


@dataclass(frozen=True)
class Figure:
    """A figure of a paper: `words` of the command that repeats it, in a folder of RUNS; the claims about it."""

    source: str
    title: str
    says: str
    words: str
    folder: str
    file: str
    claims: tuple[str, ...] = ()
    needs: str = ""  # the table that another command has to write first


def ckpts(*networks: str) -> str:
    """The options that name the checkpoints of these networks."""
    return " ".join(f"--ckpt {RUNS}/{network}-seed0.safetensors" for network in networks)


FIGURES_OF_PAPERS = (
    Figure(
        "He et al. 2015, Figs. 1 and 6", "Training error of plain and residual networks",
        "The deeper plain network trains worse; the deeper residual network trains better.",
        "grid", "", "curves", ("3", "15"),
    ),
    Figure(
        "He et al. 2015, Table 6", "Test error by depth",
        "8.75 % at 20 layers, 6.97 % at 56, 6.43 % (best of five) at 110.",
        f"evaluate {ckpts(*HE, VEIT, VGG)}", "evaluate", "evaluate", ("2",),
    ),
    Figure(
        "He et al. 2015, Fig. 7", "Responses of the layers",
        "Residual networks respond less than plain ones, and deeper ones less than shallower ones.",
        f"responses {ckpts(*HE[:-1])} --limit 2000", "responses", "responses", ("4",),
    ),
    Figure(
        "Veit et al. 2016, Fig. 3", "Deleting one block, or one layer of a VGG",
        "Deleting any one layer of a VGG brings the error to chance; deleting a block that keeps the shape changes "
        "almost nothing; the blocks that resize matter more.",
        f"lesion {ckpts(VEIT, 'resnet110', 'resnet56', 'resnet20', VGG)}", "lesion", "lesion", ("6", "7", "22"),
    ),
    Figure(
        "Veit et al. 2016, Fig. 5a", "Deleting several blocks",
        "The error rises smoothly with the number of deleted blocks.",
        f"lesion {ckpts(VEIT)} --multi 1:20 --draws 10 --limit 250", "multi", "lesion_multi", ("8",),
    ),
    Figure(
        "Veit et al. 2016, Fig. 5b", "Shuffling blocks",
        "The error rises smoothly as the order of the blocks is shuffled.",
        f"reorder {ckpts(VEIT)} --swaps 1:20 --draws 10 --limit 250", "reorder", "reorder", ("9",),
    ),
    Figure(
        "Veit et al. 2016, Fig. 6a", "Lengths of the paths",
        "2^54 paths; 95 % of them pass through 19 to 35 blocks.",
        "paths --depth 110", "paths", "paths", ("10",),
    ),
    Figure(
        "Veit et al. 2016, Figs. 6b and 6c", "Gradient by path length",
        "The gradient of a path falls exponentially with its length; most of the gradient comes from paths of 5 to 17 "
        "blocks, which are 0.45 % of all.",
        f"paths {ckpts(VEIT)} --samples 100 --limit 100", "gradients", "gradients", ("11", "12"),
    ),
    Figure(
        "Greff et al. 2017 and Jastrzebski et al. 2018", "Iterative inference",
        "A branch opposes the gradient, more so in higher blocks; exits after each block get better step by step.",
        f"iterative {ckpts(VEIT)} --lesion {RUNS}/lesion/lesion.csv --limit 500", "iterative", "iterative",
        ("14", "17", "18", "21", "23"), needs="lesion",
    ),
)  # fmt: skip


def main() -> None:
    """Train, analyse, and write the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", metavar="FOLDER", help="CIFAR-10 (JPEG) by class, in train and test")
    parser.add_argument("--epochs", default="10")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--jobs", type=int, default=1, help="trainings, and analyses, at a time")
    parser.add_argument("--page", action="store_true", help="write the page alone")
    args = parser.parse_args()
    if not args.page:
        if args.data is None:
            parser.error("no images given; give --data FOLDER, or --page for the page alone")
        train(args.data, args.epochs, args.device, args.jobs)
        analyse(args.data, args.device, args.jobs)
    write()


def train(data: str, epochs: str, device: str, jobs: int) -> None:
    """All networks by the fast recipe, with a batch of 256."""
    names = " ".join(f"--arch {name}" for name in NETWORKS)
    run(
        f"grid {names} --recipe fast --batch-size 256 --epochs {epochs} --data {data} --jobs {jobs} --device {device} "
        f"--out {RUNS} --format svg"
    )


def analyse(data: str, device: str, jobs: int) -> None:
    """Every command whose table is not there yet, `jobs` at a time."""
    waiting = [figure for figure in FIGURES_OF_PAPERS if figure.folder and not _table(figure).is_file()]
    for turn in (False, True):
        due = [figure for figure in waiting if bool(figure.needs) is turn]
        with ThreadPoolExecutor(jobs) as pool:
            list(pool.map(lambda figure: _analyse(figure, data, device), due))
    for network in NETWORKS:
        run(f"inspect {RUNS}/{network}-seed0.safetensors --out {RUNS}/inspect/{network} --quiet")


def _analyse(figure: Figure, data: str, device: str) -> None:
    images = f" --data {data} --device {device}" if "--ckpt" in figure.words else ""
    try:
        run(f"{figure.words}{images} --out {RUNS / figure.folder} --format svg --quiet")
    except subprocess.CalledProcessError as error:  # the others go on
        print(f"failed: {figure.words}: exit code {error.returncode}", file=sys.stderr)


def _table(figure: Figure) -> Path:
    return ROOT / RUNS / figure.folder / f"{figure.file}.csv"


def write() -> None:
    """The page with its figures, from the tables that there are."""
    run(f"claims --run {RUNS} --out {RUNS} --quiet")
    verdicts = read(ROOT / RUNS, "claims").rows
    FIGURES.mkdir(exist_ok=True)
    for figure in FIGURES_OF_PAPERS:
        drawing = shortened((_table(figure).with_suffix(".svg")).read_text(encoding="utf-8"))
        drawing = re.sub(r"<dc:description>.*?</dc:description>\n?", "", drawing, flags=re.DOTALL)  # where images lay
        if len(drawing) > LARGEST:
            raise SystemExit(f"{figure.file}.svg is too large for the repository: {len(drawing)} bytes")
        (FIGURES / f"{figure.file}.svg").write_text(drawing, encoding="utf-8", newline="\n")
    PAGE.write_text(page(verdicts), encoding="utf-8", newline="\n")


def page(verdicts: Sequence[Mapping[str, Any]]) -> str:
    """The text of the page."""
    grid = read(ROOT / RUNS, "grid")
    about = {"epochs": grid.rows[0]["epochs"], "device": grid.settings["device"], **grid.settings["versions"]}
    parts = [INTRODUCTION.format(**about), networks()]
    for figure in FIGURES_OF_PAPERS:
        parts += [
            f"## {figure.title}",
            f"**{figure.source}.** {figure.says}",
            f"![{figure.title}](reproduction/{figure.file}.svg)",
        ]
        if figure.folder:
            parts += [f"```\nresnet-probe {figure.words.replace(f'{RUNS}/', '')}\n```", where(figure)]
        rows = [row for row in verdicts if str(row["claim"]) in figure.claims]
        if rows:
            parts.append("\n".join([HEAD, *map(_row, rows)]))
    return "\n\n".join(parts) + "\n"


def where(figure: Figure) -> str:
    """On how many images, on what device and with which torch a table was measured."""
    settings = read(ROOT / RUNS / figure.folder, figure.file).settings
    images = [each["data_set"]["images"] for each in settings["networks"].values() if "data_set" in each]
    counted = f"{images[0]:,} images, {settings['device']}" if images else "Counted, without images"
    return f"{counted}, torch {settings['versions']['torch']}."


HEAD = "| claim | network | published | measured | verdict | why |\n|---|---|---|---|---|---|"


def _row(row: dict[str, str]) -> str:
    cells = (str(row[key]) for key in ("claim", "network", "published", "measured", "verdict", "why"))
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def networks() -> str:
    """The table of networks, with the SHA-256 of their weights."""
    lines = ["| network | parameters | training error (%) | test error (%) | seconds | SHA-256 |", "|---" * 6 + "|"]
    for row in read(ROOT / RUNS, "grid").rows:
        digest = hashlib.sha256((ROOT / RUNS / f"{row['cell']}.safetensors").read_bytes()).hexdigest()
        lines.append(
            f"| {row['arch']} | {row['parameters']:,} | {row['train_error']:.2f} | {row['test_error']:.2f} "
            f"| {row['seconds']:.0f} | `{digest}` |"
        )
    return "\n".join(lines)


INTRODUCTION = """# Reproduction: the papers' figures, by our own networks

`python docs/make_reproduction.py --data FOLDER` trains the networks, runs the analyses and writes this page; `--page`
writes it from the tables. The images are CIFAR-10 (JPEG), 50,000 to train on and 10,000 to test on: small JPEG files
with visible compression, so that errors are higher than on the originals. Recipe `fast` (SGD, batch 256, peak learning
rate 0.2 that falls linearly, weight decay 5e-4, shifts and flips, bf16), {epochs} epochs, one seed each, on {device}
with torch {torch}. The papers train 64,000 steps of 128 images, so published errors are not what these networks should
reach.

A verdict is by the rules of [claims](claims.md), about these networks on these images."""


if __name__ == "__main__":
    main()
