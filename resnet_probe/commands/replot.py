"""`resnet-probe replot`: the figures of a run again, from its tables alone."""

from collections.abc import Sequence
from pathlib import Path

import rich_click as click

from resnet_probe.analyses.registry import plots
from resnet_probe.commands import options, output
from resnet_probe.lazy import named


@click.command("replot")
@click.option(
    "--run",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    required=True,
    metavar="DIR",
    help="Folder with tables that an earlier command wrote.",
)
@click.option(
    "--out", type=click.Path(path_type=Path), metavar="DIR", help="Folder for the figures.  [default: that of --run]"
)
@options.formats
@options.quiet
def command(*, run: Path, out: Path | None, formats: Sequence[str], quiet: bool) -> None:
    """Draw the figures of a run again from its CSV tables, without torch.

    Takes every table in the folder that a command of this program writes. Where the settings stand beside a
    table, the figures say again which command and checkpoint they come from.
    """
    drawn = {name: found for name, found in plots().items() if (run / f"{found[0].name}.csv").is_file()}
    if not drawn:
        raise click.UsageError(_nothing_in(run))
    folder = output.run_folder(out or run, "replot", run.name)
    output.keep_colours(run)

    from resnet_probe.tables import read

    told = []
    for name, (declared, plot) in drawn.items():
        table = read(run, declared.name)
        others = [read(run, other) if (run / f"{other}.csv").is_file() else None for other in plot.takes]
        files = output.save_figures([(name, named(plot.draw)(table, *others), table.origin())], folder, formats)
        told.append((f"{declared.name}.csv", f"{len(table.rows)} rows -> {output.listing(files)}"))
    output.summarise(output.console(quiet), str(run), told)


def _nothing_in(run: Path) -> str:
    names = dict.fromkeys(table.name for table, _ in plots().values())
    expected = ", ".join(f"{name}.csv" for name in names)
    below = sorted({path.parent for name in names for path in run.glob(f"*/{name}.csv")})
    hint = f"; did you mean {below[0]}?" if below else "; give the folder that another command wrote with --out"
    return f"no table to draw in {run}: expected {expected}{hint}"
