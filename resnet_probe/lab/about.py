"""What the page is told of a network, of an edit and of a run's tables, as values for JSON."""

from __future__ import annotations

import hashlib
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from resnet_probe.analyses.paths.lengths import multiply, statistics
from resnet_probe.tables import read_run
from resnet_probe.unraveled import Step, Unit, UnraveledNetwork

Edits = Sequence[Mapping[str, Any]]


@dataclass(frozen=True)
class Lines:
    """The words of command lines about one network, up to what an edit adds.

    Attributes:
        surgery: `surgery` with the checkpoint.
        lesion: `lesion` with checkpoint and images.
        evaluate: `evaluate` with the images.
    """

    surgery: tuple[str, ...]
    lesion: tuple[str, ...]
    evaluate: tuple[str, ...]

    def of(self, edits: Edits, file: Path) -> list[str]:
        """The command lines that do what the edits do, and measure it."""
        if not edits:
            return [shlex.join(("resnet-probe", *self.lesion))]
        words: list[str] = []
        for edit in edits:
            for kind, what in edit.items():
                each = [f"{name}={factor}" for name, factor in what.items()] if kind == "scale" else [",".join(what)]
                words += [word for one in each for word in (f"--{kind}", one)]
        lines = [
            shlex.join(("resnet-probe", *self.surgery, *words, "--out", str(file))),
            shlex.join(("resnet-probe", self.evaluate[0], "--ckpt", str(file), *self.evaluate[1:])),
        ]
        if len(edits) == 1 and len(edits[0].get("delete", ())) == 1:
            lines.insert(0, shlex.join(("resnet-probe", *self.lesion)))
        return lines


def file_name(network: str, edits: Edits) -> str:
    """Name of the file that holds an edited network: the same for the same edits."""
    stem = "".join(letter if letter.isalnum() or letter in "-_." else "-" for letter in network).strip(".-")
    return f"{stem or 'network'}-{hashlib.sha256(repr(edits).encode()).hexdigest()[:8]}.safetensors"


def units(network: UnraveledNetwork) -> list[dict[str, Any]]:
    """The units to draw, from input to output, those inside a unit after it; those without weights are left out."""
    surgical = {unit.name for unit in network.surgical}
    inside: dict[str, list[Unit]] = {}
    for block in network.blocks:
        inside.setdefault(block.plan.inside, []).append(block)
    found = []
    for unit in (each for link in network.units for each in (link, *inside.get(link.name, ()))):
        plan = unit.plan
        if plan.kind == "other" and not unit.parameters:
            continue
        found.append(
            {
                "name": plan.name,
                "kind": plan.kind,
                "stage": plan.stage,
                "shortcut": plan.shortcut,
                "resizes": plan.resizes,
                "shape": "×".join(map(str, plan.out_shape)),
                "editable": plan.name in surgical,
                "scalable": plan.name in surgical and plan.kind == "block",
                "place": "" if plan.inside else f"{plan.in_shape} {plan.out_shape}",
                "inside": plan.inside,
            }
        )
    return found


def lengths(network: UnraveledNetwork, steps: Sequence[Step]) -> dict[str, Any]:
    """The paths through a chain by length in residual branches: share of each length, mean, and how many in words."""
    counts = multiply([network.polynomials(step)[0] for step in steps])
    total = sum(counts)
    digits = (
        f"{total:,}"
        if total < 10**9
        else f"{total // 10 ** (len(str(total)) - 3) / 100:.2f} × 10^{len(str(total)) - 1}"
    )
    return {"shares": [count / total for count in counts], "mean": statistics(counts).mean, "total": digits}


def cloud(folders: Sequence[Path], network: str) -> list[tuple[int, float]]:
    """How many blocks each random deletion in the tables of a run took, and the error after it.

    Raises:
        ValueError: there is no table in the folders.
    """
    if not folders:
        return []
    run = read_run(folders)
    rows = [row for table, name in run.each("lesion_multi") if name == network for row in table.rows(name)]
    return [(row["deleted"], row["error"]) for row in rows]
