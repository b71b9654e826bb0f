"""`resnet-probe replot`: the figures of a run again, from its tables alone."""

from collections.abc import Sequence
from importlib import import_module
from pathlib import Path

import rich_click as click

from resnet_probe.commands import options, output

# Result name -> what draws it. These modules must not import torch.
PLOTS = {
    "lesion": "resnet_probe.analyses.lesion:plot",
    "lesion_multi": "resnet_probe.analyses.multi:plot",
    "lesion_pairs": "resnet_probe.analyses.pairs:plot",
    "reorder": "resnet_probe.analyses.reorder:plot",
    "paths": "resnet_probe.analyses.paths:plot",
    "gradients": "resnet_probe.analyses.paths:plot_gradients",
    "survival": "resnet_probe.analyses.paths:plot_survival",
    "responses": "resnet_probe.analyses.responses:plot",
    "evaluate": "resnet_probe.analyses.accuracy:plot",
    "evaluate_classes": "resnet_probe.analyses.accuracy:plot_classes",
    "evaluate_reliability": "resnet_probe.analyses.accuracy:plot_reliability",
    "iterative": "resnet_probe.analyses.iterative:plot",
    "curves": "resnet_probe.analyses.grid:plot",
    "grid": "resnet_probe.analyses.grid:plot_grid",
    "grid_lesions": "resnet_probe.analyses.grid:plot_lesions",
    "iterative_ranks": "resnet_probe.analyses.iterative:plot_ranks",
    "zoo": "resnet_probe.analyses.compare:plot_zoo",
}
# Other figures -> what draws it, and the tables that it takes in this order; only the first has to be there.
MORE = {
    "compare": ("resnet_probe.analyses.compare:plot", ("compare", "lesion", "responses", "paths")),
    "compare_costs": ("resnet_probe.analyses.compare:plot_costs", ("compare",)),
    "zoo_scatter": ("resnet_probe.analyses.compare:plot_zoo_scatter", ("zoo",)),
}


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
    drawn = {name: (where, (name,)) for name, where in PLOTS.items()} | MORE
    drawn = {name: by for name, by in drawn.items() if (run / f"{by[1][0]}.csv").is_file()}
    if not drawn:
        raise click.UsageError(_nothing_in(run))
    folder = output.run_folder(out or run, "replot", run.name)
    output.keep_colours(run)

    from resnet_probe.figures import save
    from resnet_probe.tables import read

    facts = []
    for name, (where, tables) in drawn.items():
        results = [read(run, table) if (run / f"{table}.csv").is_file() else None for table in tables]
        module, function = where.split(":")
        figure = getattr(import_module(module), function)(*results)
        first = results[0]
        assert first is not None
        files = save(figure, folder, name, formats, metadata=first.origin())
        facts.append((f"{tables[0]}.csv", f"{len(first.rows)} rows -> {output.listing(files)}"))
    output.summarise(output.console(quiet), str(run), facts)


def _nothing_in(run: Path) -> str:
    names = dict.fromkeys((*PLOTS, *(tables[0] for _, tables in MORE.values())))
    expected = ", ".join(f"{name}.csv" for name in names)
    below = sorted({path.parent for name in names for path in run.glob(f"*/{name}.csv")})
    hint = f"; did you mean {below[0]}?" if below else "; give the folder that another command wrote with --out"
    return f"no table to draw in {run}: expected {expected}{hint}"
