"""`resnet-probe inspect`: what a network is made of."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import rich_click as click

from resnet_probe.commands import options, output

if TYPE_CHECKING:
    from rich.table import Table

    from resnet_probe.results import Result


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
    from resnet_probe.results import provenance

    shape = (chosen.checkpoint.in_channels, size, size) if size else None
    network = subject.unraveled(chosen, shape)
    result = inspect.run(network, name=chosen.name).with_settings(
        provenance(arguments=options.arguments(), command=options.command_line(), **chosen.provenance())
    )
    screen = output.console(quiet)
    screen.print(table(result))
    facts = summary(result, network.input_shape)
    facts += [("note", note) for note in chosen.checkpoint.notes]
    if folder:
        facts.append(("written", output.listing(output.write(result, [], folder, ()))))
    output.summarise(screen, f"{chosen.name} ({chosen.checkpoint.arch})", facts)


def table(result: Result) -> Table:
    """The units as a table for a terminal; weights and sizes right-aligned."""
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    shown = Table(box=SIMPLE_HEAD, pad_edge=False)
    for heading in ("unit", "kind", "stage", "shortcut", "in -> out"):
        shown.add_column(heading, no_wrap=True)
    for heading in ("parameters", "multiply-adds", "layers", "paths"):
        shown.add_column(heading, justify="right", no_wrap=True)
    for row in result.rows:
        shape = row["in_shape"] if row["in_shape"] == row["out_shape"] else f"{row['in_shape']} -> {row['out_shape']}"
        numbers = (f"{row[key]:,}" for key in ("parameters", "multiply_adds", "layers", "paths"))
        kind = f"{row['kind']} ({row['branches']})" if row["branches"] else row["kind"]
        shown.add_row(row["unit"], kind, str(row["stage"]), row["shortcut"] or "", shape, *numbers)
    return shown


def summary(result: Result, shape: tuple[int, ...]) -> list[tuple[str, str]]:
    """Totals of the table."""
    kinds: dict[str, int] = {}
    for row in result.rows:
        kinds[row["kind"]] = kinds.get(row["kind"], 0) + 1
    blocks = [row for row in result.rows if row["kind"] == "block"]
    stages = max(row["stage"] for row in result.rows)
    adds = sum(row["multiply_adds"] for row in result.rows)
    facts: list[tuple[str, Any]] = [
        ("input", "x".join(map(str, shape))),
        ("units", ", ".join(f"{count} {kind}{'s' if count > 1 and kind != 'other' else ''}" for kind, count in kinds.items())),
        ("residual blocks", f"{len(blocks)} in {stages} stages" if blocks else "none"),
        ("parameters", f"{result.settings['parameters']:,}"),
        ("multiply-adds", f"{adds:,} for one input"),
    ]
    return facts
