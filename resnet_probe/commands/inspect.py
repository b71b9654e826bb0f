"""`resnet-probe inspect`: what a network is made of."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import rich_click as click

from resnet_probe.commands import options, output
from resnet_probe.commands.loaded import Loaded, with_leaves
from resnet_probe.commands.session import Session

if TYPE_CHECKING:
    from resnet_probe.tables import Result
    from resnet_probe.unraveled import UnraveledNetwork


@click.command("inspect")
@click.argument("checkpoint", type=options.WEIGHTS, required=False)
@options.ckpt
@options.arch
@options.leaf
@options.trace
@options.size
@options.out_to("DIR", "Also write inspect.csv and inspect.json.")
@options.tables
@options.quiet
def command(
    *,
    checkpoint: Path | None,
    ckpt: Path | None,
    arch: str | None,
    leaf: tuple[str, ...],
    trace: Literal["fx", "export"] | None,
    size: int | None,
    out: Path | None,
    quiet: bool,
) -> None:
    """List units, blocks, stages, parameters, multiply-adds and paths of CHECKPOINT (or --ckpt), or of --arch.

    With --out the table is written as inspect.csv and inspect.json.
    """
    if checkpoint is not None and ckpt is not None:
        raise click.UsageError(f"two checkpoints given, {checkpoint} and {ckpt}; give one")
    output.refuse_tables_nowhere(out)
    session = Session()
    (chosen,) = with_leaves([session.load(checkpoint or ckpt, arch, size=size)], leaf)
    chosen = replace(chosen, trace=trace)
    folder = output.run_folder(out, "inspect", chosen.name) if out else None

    from resnet_probe.analyses import inspect

    loaded = chosen.checkpoint
    network = session.sized(chosen, size)
    result = units(chosen, network, options.arguments(), options.command_line())
    screen = output.console(quiet)
    held = replace(result, rows=tuple(row for row in result.rows if row["kind"] != "other" or row["parameters"]))
    output.rows(screen, held, inspect.INSPECT.printed)
    told = [(fact.label, fact.text) for fact in inspect.facts(result, chosen.name)]
    told += [("note", note) for note in loaded.notes]
    if folder:
        told.append(("written", output.listing(output.write([result], folder, ()))))
    output.summarise(screen, f"{chosen.name} ({loaded.arch})", told)


def units(one: Loaded, network: UnraveledNetwork, arguments: Mapping[str, Any], line: str) -> Result:
    """The table of a network's units, with where it comes from."""
    from resnet_probe.analyses import inspect
    from resnet_probe.analyses.subject import Subject
    from resnet_probe.tables import provenance, together

    about = Subject(one.name, network, checkpoint=one.checkpoint, trained=one.trained).provenance()
    made = together([inspect.run(network, name=one.name).with_settings(about)])
    return made.with_settings(provenance(arguments=arguments, checkpoint_sha256=one.identity, command=line))
