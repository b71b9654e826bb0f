"""`resnet-probe replot`: the figures of a run again, from its tables alone."""

from collections.abc import Sequence
from pathlib import Path

import rich_click as click
from click import get_current_context
from click.core import ParameterSource

from resnet_probe.analyses.registry import plots
from resnet_probe.commands import options, output
from resnet_probe.lazy import named

FIGURES = ("formats", "style", "width", "venue")  # options of figures


@click.command("replot")
@click.option(
    "--run",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    required=True,
    metavar="DIR",
    help="Folder with tables that an earlier command wrote.",
)
@options.out_to(
    "DIR", "Folder for the figures.  [default: that of --run; with --style, --width or --venue one of that name in it]"
)
@options.formats
@options.quiet
def command(*, run: Path, out: Path | None, formats: Sequence[str], quiet: bool) -> None:
    """Draw the figures of a run again from its CSV tables, without torch.

    With --table and no option of the figures' own, only tables are written.

    Takes every table in the folder, and in the folders in it, that a command of this program writes. Where the settings
    stand beside a table, the figures say again which command and checkpoint they come from.
    """
    places = [run, *sorted(path for path in run.iterdir() if path.is_dir())]
    drawn = [
        (place, name, declared, plot)
        for place in places
        for name, (declared, plot) in plots().items()
        if (place / f"{declared.name}.csv").is_file()
    ]
    if not drawn:
        expected = ", ".join(f"{name}.csv" for name in dict.fromkeys(table.name for table, _ in plots().values()))
        raise click.UsageError(
            f"no table to draw in {run} or in the folders in it: expected {expected}; give the folder that another "
            "command wrote with --out"
        )
    base = out or run / _look()
    context = get_current_context()
    asked = any(context.get_parameter_source(name) == ParameterSource.COMMANDLINE for name in FIGURES)
    draws = asked or not context.meta.get("tables")
    output.keep_colours(run)

    from resnet_probe.tables import altered, read
    from resnet_probe.tables.runs import MALFORMED

    told = []
    for place, name, declared, plot in drawn:
        folder = output.run_folder(base / place.relative_to(run), "replot", run.name)
        table = read(place, declared.name)
        others = [read(place, other) if (place / f"{other}.csv").is_file() else None for other in plot.takes]
        try:
            figures = [(name, named(plot.draw)(table, *others), table.origin())] if draws and table.rows else []
        except MALFORMED as error:
            raise ValueError(
                f"{place / declared.name}.csv cannot be drawn ({type(error).__name__}: {error}); make the table again"
            ) from error
        files = output.save_figures(figures, folder, formats)
        if plot is declared.plots[0]:
            files += output.save_as(table, folder)
        changed = ", which is not as it was written" if altered(place / f"{declared.name}.csv") else ""
        which = (place / f"{declared.name}.csv").relative_to(run)
        if files or not table.rows:
            made = f" -> {output.listing(files)}" if files else ": nothing to draw"
            told.append((str(which), f"{len(table.rows)} rows{changed}{made}"))
    output.summarise(output.console(quiet), str(run), told)


def _look() -> str:
    """The style, venue and width where they are not the usual ones: a folder of its own, so that none is lost."""
    given = get_current_context().params
    style = "" if given["style"] == "paper" else given["style"]
    return "-".join(each for each in (given["venue"] or style, given["width"]) if each)
