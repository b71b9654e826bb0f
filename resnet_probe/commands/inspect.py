"""`resnet-probe inspect`: what a network is made of."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import rich_click as click

from resnet_probe.commands import options, output

if TYPE_CHECKING:
    from resnet_probe.tables import Result


@click.command("inspect")
@click.argument("checkpoint", type=click.Path(exists=True, dir_okay=False, path_type=Path), required=False)
@options.ckpt
@options.arch
@click.option("--size", type=click.IntRange(min=1), metavar="N", help="Side of the input in pixels.")
@options.out
@options.quiet
def command(
    *,
    checkpoint: Path | None,
    ckpt: Path | None,
    arch: str | None,
    size: int | None,
    out: Path | None,
    quiet: bool,
) -> None:
    """List units, blocks, stages, parameters, multiply-adds and paths of CHECKPOINT (or --ckpt), or of --arch.

    With --out the table is written as inspect.csv and inspect.json.
    """
    from resnet_probe.commands import subject

    if checkpoint is not None and ckpt is not None:
        raise click.UsageError(f"two checkpoints given, {checkpoint} and {ckpt}; give one")
    chosen = subject.load(checkpoint or ckpt, arch)
    folder = output.run_folder(out, "inspect", chosen.name) if out else None

    from resnet_probe.analyses import inspect
    from resnet_probe.tables import provenance

    shape = (chosen.checkpoint.in_channels, size, size) if size else None
    network = subject.unraveled(chosen, shape)
    result = inspect.run(network, name=chosen.name).with_settings(
        provenance(arguments=options.arguments(), command=options.command_line(), **chosen.provenance())
    )
    screen = output.console(quiet)
    output.columns(screen, HEADINGS, table(result), right=3)
    facts = summary(result, network.input_shape)
    facts += [("note", note) for note in chosen.checkpoint.notes]
    if folder:
        facts.append(("written", output.listing(output.write(result, [], folder, ()))))
    output.summarise(screen, f"{chosen.name} ({chosen.checkpoint.arch})", facts)


HEADINGS = ("unit", "kind", "stage", "shortcut or branches", "output", "parameters", "multiply-adds", "paths")


def table(result: Result) -> list[tuple[str, ...]]:
    """The units that hold weights, as lines for a terminal; the CSV has them all, with exact numbers."""
    lines: list[tuple[str, ...]] = []
    for row in result.rows:
        if row["kind"] == "other" and not row["parameters"]:
            continue
        branches = (row["branches"] or "").replace(f"{row['unit']}.", "")
        numbers = (f"{row['parameters']:,}", _short(row["multiply_adds"]), f"{row['paths']:,}")
        lines.append(
            (row["unit"], row["kind"], str(row["stage"]), row["shortcut"] or branches, row["out_shape"], *numbers)
        )
    return lines


def _short(number: int) -> str:
    """Three digits and a unit: 218 M."""
    for unit, size in (("G", 10**9), ("M", 10**6), ("k", 10**3)):
        if number >= size:
            return f"{number / size:.3g} {unit}"
    return str(number)


def summary(result: Result, shape: tuple[int, ...]) -> list[tuple[str, str]]:
    """Totals of the table."""
    names = {"block": "residual blocks", "layer": "layers", "parallel": "parallel regions", "other": "without weights"}
    counts = {kind: sum(row["kind"] == kind for row in result.rows) for kind in names}
    blocks = [row for row in result.rows if row["kind"] == "block"]
    stages = max(row["stage"] for row in result.rows)
    adds = sum(row["multiply_adds"] for row in result.rows)
    facts: list[tuple[str, Any]] = [
        ("input", "x".join(map(str, shape))),
        ("units", f"{len(result.rows)}: " + ", ".join(f"{n} {names[kind]}" for kind, n in counts.items() if n)),
        ("residual blocks", f"{len(blocks)} in {stages} stages" if blocks else "none"),
        ("parameters", f"{result.settings['parameters']:,}"),
        ("multiply-adds", f"{adds:,} for one input"),
    ]
    return facts
