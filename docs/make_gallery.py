"""Draw the figures of docs/gallery.md and write the page, from the two networks of `resnet-probe demo`.

    python docs/make_gallery.py            # all of them: about two minutes on two CPU cores
    python docs/make_gallery.py lesion     # those whose names are given

Each figure is what the command under it draws. Only digits of coordinates behind the first decimal are cut off (72
units are an inch), so that the files stay small.
"""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]
PAGE, FIGURES = ROOT / "docs" / "gallery.md", ROOT / "docs" / "gallery"
DEMO, RUNS = Path("results/demo"), Path("results/gallery")
RESNET, VGG = DEMO / "resnet32.safetensors", DEMO / "vgg16-w16.safetensors"
LARGEST, LARGEST_SUM = 100_000, 1_000_000  # bytes
LONG_NUMBER = re.compile(r"scale\([^)]*\)|(\d+\.\d)\d+")  # factors keep their digits


@dataclass(frozen=True)
class Drawing:
    """A figure: `words` of the command that makes it, whose page explains it, and the file's stem."""

    title: str
    words: str
    file: str
    says: str


DRAWINGS: dict[str, Drawing] = {
    "lesion": Drawing(
        "Single deletions", f"lesion --ckpt {RESNET}", "lesion",
        "Most blocks can go one at a time; some of the first stage cannot.",
    ),
    "both": Drawing(
        "The same of a ResNet and a VGG", f"lesion --ckpt {RESNET} --ckpt {VGG}", "lesion",
        "Any layer of the VGG takes it to about chance; most blocks of the ResNet change next to nothing.",
    ),
    "compare": Drawing(
        "A ResNet and a VGG", f"compare --ckpt {RESNET} --ckpt {VGG} --no-timing", "compare",
        "Lesions, responses and paths side by side.",
    ),
    "multi": Drawing(
        "Several deletions", f"lesion --ckpt {RESNET} --multi 1:13 --draws 20", "lesion_multi",
        "The error rises step by step with the number of deleted blocks.",
    ),
    "pairs": Drawing(
        "Pairs", f"lesion --ckpt {RESNET} --pairs", "lesion_pairs",
        "Above zero, two blocks cover for each other.",
    ),
    "reorder": Drawing(
        "Other orders", f"reorder --ckpt {RESNET} --swaps 1:10 --draws 20", "reorder",
        "Orders of the same distance differ widely.",
    ),
    "paths": Drawing(
        "Path lengths", "paths --depth 110", "paths",
        "2^54 paths; counted, not sampled. No weights are needed.",
    ),
    "gradients": Drawing(
        "Gradient by path length", f"paths --ckpt {RESNET} --data digits --limit 200 --samples 200", "gradients",
        "A path's gradient falls with its length; the short paths carry what arrives at the input.",
    ),
    "unraveled": Drawing(
        "The unraveled view", "paths --depth 8 --draw", "unraveled",
        "Three blocks are eight paths; the number at the end of each is its length.",
    ),
    "anatomy": Drawing(
        "The blocks", f"paths --ckpt {RESNET} --draw --colour {RUNS / 'lesion' / 'lesion.csv'}:error", "anatomy",
        "Coloured by a column of any table, here the error after the deletion.",
    ),
    "responses": Drawing(
        "Responses", f"responses --ckpt {RESNET} --ckpt {VGG}", "responses",
        "How strongly each layer answers, in order and sorted.",
    ),
    "iterative": Drawing(
        "Iterative inference", f"iterative --ckpt {RESNET} --lesion {RUNS / 'lesion' / 'lesion.csv'}",
        "iterative_ranks",
        "Which measure of a block predicts what its deletion does; a second figure has the measures.",
    ),
    "importance": Drawing(
        "Shapley values of blocks", f"importance --ckpt {RESNET} --draws 20", "importance",
        "What each block is worth, with whichever others there are, beside what its deletion alone does.",
    ),
    "prune": Drawing(
        "Which blocks can go", f"prune --ckpt {RESNET} --orders greedy,shapley_loss,lesion_loss,influence,last,random",
        "prune", "The best next block, measured anew, against rankings; other images chose than those shown.",
    ),
    "evaluate": Drawing(
        "Calibration", f"evaluate --ckpt {RESNET} --ckpt {VGG} --data digits", "evaluate_reliability",
        "Accuracy against confidence.",
    ),
}  # fmt: skip


def main(names: list[str]) -> None:
    """Draw the figures of these names, or all, and write the page."""
    unknown = set(names) - set(DRAWINGS)
    if unknown:
        raise SystemExit(f"no figure {', '.join(unknown)}; there are {', '.join(DRAWINGS)}")
    if not (ROOT / RESNET).is_file() or not (ROOT / VGG).is_file():
        run(f"demo --out {DEMO}")
    FIGURES.mkdir(exist_ok=True)
    for name in names or DRAWINGS:
        drawing = DRAWINGS[name]
        run(f"{drawing.words} --format svg --out {RUNS / name}")
        text = (ROOT / RUNS / name / f"{drawing.file}.svg").read_text(encoding="utf-8")
        (FIGURES / f"{name}.svg").write_text(shortened(text), encoding="utf-8", newline="\n")
    sizes = {path.name: path.stat().st_size for path in FIGURES.glob("*.svg")}
    large = [name for name, size in sizes.items() if size > LARGEST]
    if large or sum(sizes.values()) > LARGEST_SUM:
        raise SystemExit(f"too large for the repository: {', '.join(large) or 'all figures together'}")
    PAGE.write_text(page(), encoding="utf-8", newline="\n")


def run(words: str) -> None:
    """Run the program from the project's folder, so that the command is right wherever the script is started."""
    command = [sys.executable, "-m", "resnet_probe", *shlex.split(words)]
    subprocess.run(command, cwd=ROOT, check=True)


def shortened(drawing: str) -> str:
    """The SVG with one decimal in its coordinates, and without indentation."""
    return re.sub(r"^ +", "", LONG_NUMBER.sub(lambda found: found[1] or found[0], drawing), flags=re.MULTILINE)


def page() -> str:
    """The text of the gallery."""
    parts = [
        "# Gallery",
        "The two networks are those of the demo, a ResNet-32 and a narrow VGG-16 trained on handwritten digits: small, "
        "quick and real, but no evidence about networks at large. What was found on CIFAR-10 stands on the pages of "
        "the analyses.",
        f"```\nresnet-probe demo --out {DEMO}    # makes the networks\nmake gallery    # makes this page\n```",
    ]
    for name, drawing in DRAWINGS.items():
        parts += [
            f"## {drawing.title}",
            f"{drawing.says} [More]({drawing.words.split()[0]}.md)",
            f"![{drawing.title}](gallery/{name}.svg)",
            f"```\nresnet-probe {drawing.words}\n```",
        ]
    return "\n\n".join(parts) + "\n"


if __name__ == "__main__":
    main(sys.argv[1:])
