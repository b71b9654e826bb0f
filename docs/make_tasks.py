"""The figure of docs/tasks.md, docs/figures/tasks.svg, from three runs of `lesion`.

resnet-probe train --task detection --arch fasterrcnn_resnet18_fpn --data canvases --out results/detector
resnet-probe train --task segmentation --arch fcn_resnet18 --data canvases --out results/segmenter
resnet-probe train --task language --arch gpt4-w128 --data pydoc --out results/writer
resnet-probe lesion --ckpt results/detector/fasterrcnn_resnet18_fpn.safetensors --out results/boxes
resnet-probe lesion --ckpt results/segmenter/fcn_resnet18.safetensors --out results/pixels
resnet-probe lesion --ckpt results/writer/gpt4-w128.safetensors --out results/bytes
python docs/make_tasks.py results/boxes results/pixels results/bytes
"""

import sys
from pathlib import Path

import matplotlib.pyplot as plt

from resnet_probe.analyses.lesion import INTACT
from resnet_probe.figures import network_colours, style
from resnet_probe.tables import read

FILE = Path(__file__).parent / "figures" / "tasks.svg"
PANELS = (
    ("Faster R-CNN: boxes", "100 - mAP (%)"),
    ("FCN: pixels", "wrong pixels (%)"),
    ("GPT: bytes", "bytes missed (%)"),
)


def main(folders: list[Path]) -> None:
    """Draw the errors after every deletion, with intervals; the dashed line is the intact network."""

    with style():
        figure, axes = plt.subplots(1, 3, figsize=(7, 2.5), layout="constrained")
        for ax, folder, (title, what) in zip(axes, folders, PANELS, strict=True):
            table = read(folder, "lesion")
            (network,) = table.networks
            intact, *rows = table.of(network)
            assert intact["block"] == INTACT
            colour = network_colours([network], None)[network]["color"]
            errors = [row["error"] for row in rows]
            whiskers = [
                [row["error"] - row["error_low"] for row in rows], [row["error_high"] - row["error"] for row in rows]
            ]  # fmt: skip
            ax.errorbar(range(len(rows)), errors, yerr=whiskers, marker="o", markersize=3, linewidth=0.9, color=colour)
            ax.axhline(intact["error"], linestyle="--", linewidth=0.8, color=colour)
            names = [row["block"].removeprefix("backbone.").removeprefix("blocks.") for row in rows]
            ax.set_xticks(range(len(rows)), names, rotation=90, fontsize=6)
            ax.set(title=title, ylabel=what)
            ax.set_ylim(bottom=0)
        figure.supxlabel("deleted block (dashed line: intact)", fontsize=8)
        figure.savefig(FILE, metadata={"Date": None}, bbox_inches="tight")


if __name__ == "__main__":
    main([Path(word) for word in sys.argv[1:]])
