"""`resnet-probe inspect`: what a network is made of."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import rich_click as click

from resnet_probe.commands import options, output
from resnet_probe.commands.session import Session


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
    if checkpoint is not None and ckpt is not None:
        raise click.UsageError(f"two checkpoints given, {checkpoint} and {ckpt}; give one")
    session = Session()
    chosen = session.load(checkpoint or ckpt, arch)
    folder = output.run_folder(out, "inspect", chosen.name) if out else None

    from resnet_probe.analyses import inspect
    from resnet_probe.tables import provenance, together

    loaded = chosen.checkpoint
    network = session.unraveled(chosen, (loaded.in_channels, size, size) if size else None)
    about = {"arch": loaded.arch, "checkpoint_sha256": loaded.sha256 or None, "notes": list(loaded.notes)}
    made = together([inspect.run(network, name=chosen.name).with_settings(about)])
    origin = provenance(
        arguments=options.arguments(), checkpoint_sha256=chosen.identity, command=options.command_line()
    )
    result = made.with_settings(origin)
    screen = output.console(quiet)
    held = replace(result, rows=tuple(row for row in result.rows if row["kind"] != "other" or row["parameters"]))
    output.rows(screen, held, inspect.INSPECT.printed)
    told = [(fact.label, fact.text) for fact in inspect.facts(result, chosen.name)]
    told += [("note", note) for note in loaded.notes]
    if folder:
        told.append(("written", output.listing(output.write([result], folder, ()))))
    output.summarise(screen, f"{chosen.name} ({loaded.arch})", told)
