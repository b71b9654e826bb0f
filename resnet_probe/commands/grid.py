"""`resnet-probe grid`: train a grid of networks, draw how they learn, and how they bear lesions."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import rich_click as click

from resnet_probe.analyses.registry import facts_of
from resnet_probe.commands import options, output, training_options
from resnet_probe.commands.hardware import in_software, pick_device
from resnet_probe.commands.training_options import RECIPES, STYLES, Training

if TYPE_CHECKING:
    from resnet_probe.analyses.grid import Cell, Grid, Preset
    from resnet_probe.tables import Result

NAMES = ("degradation", "shortcuts", "activations", "styles")


@click.command("grid")
@click.option("--preset", type=click.Choice(NAMES), help="Grid of a paper; the options below replace its parts.")
@click.option("--arch", "archs", multiple=True, metavar="NAME", help="Network; may hold {depth}; give it again.")
@click.option(
    "--depths", callback=options.several(int, "depths", "20,56,110"), metavar="N,N", help="Depths for {depth}."
)
@click.option("--training-style", "styles", multiple=True, type=click.Choice(STYLES), help="Give it again for more.")
@click.option("--seeds", type=options.COUNT, metavar="N", help="Seeds for each network, counted from --seed.")
@options.data
@options.data_root
@options.normalize
@options.limit
@click.option("--recipe", type=click.Choice(RECIPES), help="Values of a paper.  [default: the preset's, or digits]")
@click.option("--validation", type=click.IntRange(min=0), default=0, metavar="N", help="Hold out N training images.")
@training_options.training_options
@click.option("--size", type=options.COUNT, metavar="N", help="Side of images that differ in size.")
@click.option("--jobs", type=options.COUNT, default=1, show_default=True, help="Cells at a time.")
@click.option("--only", multiple=True, metavar="CELL", help="These cells only; with --fresh they are trained again.")
@click.option("--lesions/--no-lesions", default=None, help="Delete each block of each network at the end.")
@click.option("--list", "listing", is_flag=True, help="List the cells, and train nothing.")
@click.option("--fresh", is_flag=True, help="Train again what an earlier run has finished.")
@options.running
def command(
    *,
    preset: str | None,
    archs: tuple[str, ...],
    depths: tuple[int, ...] | None,
    styles: tuple[str, ...],
    seeds: int | None,
    data: str | None,
    data_root: Path | None,
    normalize: str | None,
    limit: int | None,
    recipe: str | None,
    validation: int,
    training: Training,
    size: int | None,
    jobs: int,
    only: tuple[str, ...],
    lesions: bool | None,
    listing: bool,
    fresh: bool,
    device: str,
    seed: int,
    out: Path | None,
    formats: Sequence[str],
    quiet: bool,
) -> None:
    """Train every combination of networks, depths, styles and seeds; draw their learning curves.

    Presets: degradation (He 2015, Figs. 1 and 6), shortcuts and activations (He 2016, Tables 1 and 2), styles
    (stochastic depth, and training on effective paths only, with the lesions that each bears). A finished cell is never
    trained twice; an interrupted grid goes on with the same command, from inside the cell it was at.
    """
    if data is None:
        raise click.UsageError("no images given; give --data digits, cifar10, cifar100, fake or a folder")
    from resnet_probe.analyses.grid import DONE, Grid, Images
    from resnet_probe.commands.stopping import asked_to_stop

    if preset is None and not archs:
        raise click.UsageError(f"no networks given; give --preset {'|'.join(NAMES)} or --arch NAME")
    name = preset or "own"
    screen = output.console(quiet)
    chosen = _chosen(
        preset=preset, archs=archs, depths=depths, styles=styles, seeds=seeds,
        recipe=recipe or ("digits" if data == "digits" else None),
    )  # fmt: skip
    cells = _cells(chosen, training.for_data(chosen.recipe, data), range(seed, seed + chosen.seeds), only)
    training.refuse_idle([cell.recipe for cell in cells])
    if listing:
        screen.print("\n".join(cell.name for cell in cells))
        return
    where = pick_device(device)
    if note := in_software(cells[0].recipe.precision, where):
        screen.print(note, style="bold")
    folder = output.run_folder(out, "grid", name)
    root = None if data_root is None else str(data_root)
    images = Images(data, root, normalize, size, limit, validation, seed)
    grid = Grid(cells, images, folder, jobs, where, training.compiled)
    done = 0

    def report(cell: str, row: dict[str, Any]) -> None:
        nonlocal done
        done += 1
        if row["status"] == DONE:
            outcome = (
                f"test error {row['test_error']:.4g} %, training {row['train_error']:.4g} %, {row['seconds']:.4g} s"
            )
        else:
            outcome = f"failed: {row['status']}"
        screen.print(f"{done} of {len(cells)} {cell}: {outcome}")

    again = [cell.name for cell in cells if not only or cell.name in only] if fresh else ()
    with asked_to_stop() as stop:
        made = grid.train(only=only, fresh=again, report=report, stop=stop)
    its = {"preset": name, "source": chosen.source, "recipe": chosen.recipe}
    origin = training_options.origin(*grid.images.load(), device=grid.device, seed=seed, **its)
    results = list(_tables(made, chosen, origin))
    done_names = {one["row"]["cell"] for one in made if one["row"]["status"] == DONE}
    finished = [cell for cell in cells if cell.name in done_names]
    if finished and (chosen.lesions if lesions is None else lesions):
        output.write(results, folder, ())  # what is finished is there, whatever becomes of the lesions
        results += _lesions(finished, grid, results[0], quiet=quiet)
    drawn = formats if finished else ()
    files = output.write(results, folder, drawn)
    told = [(fact.label, fact.text) for fact in facts_of(results[2]).get("", [])]
    names = {cell.name for cell in cells}
    if others := sorted(path.stem for path in folder.glob("*.safetensors") if path.stem not in names):
        told.append(("not in the tables", f"{', '.join(others)}, which an earlier grid trained here; ask for them too"))
    output.summarise(
        screen,
        f"{preset or 'grid'}: {len(finished)} of {len(cells)} cells",
        [*told, ("written", output.listing(files))],
    )


def _chosen(
    *,
    preset: str | None, archs: tuple[str, ...], depths: tuple[int, ...] | None, styles: tuple[str, ...],
    seeds: int | None, recipe: str | None,
) -> Preset:  # fmt: skip
    from resnet_probe.analyses.grid import PRESETS, Preset, adapted

    base = PRESETS[preset] if preset else Preset(archs, depths or (), "no paper", seeds=1)
    if not base.depths and any("{depth}" in arch for arch in archs) and not depths:
        raise click.UsageError("--arch with {depth} needs --depths; give such as --depths 20,56,110")
    if depths and not any("{depth}" in arch for arch in archs or base.archs):
        raise click.UsageError("--depths given, and no --arch holds {depth}; write it there, or leave --depths out")
    return adapted(base, archs=archs or None, depths=depths, styles=styles or None, seeds=seeds, recipe=recipe or None)


def _cells(chosen: Preset, values: dict[str, Any], seeds: Sequence[int], only: tuple[str, ...]) -> list[Cell]:
    from resnet_probe.analyses.grid import cells_of

    cells = cells_of(chosen, values, seeds)
    names = [cell.name for cell in cells]
    if unknown := [name for name in only if name not in names]:
        from difflib import get_close_matches

        close = get_close_matches(unknown[0], names, n=1)
        hint = f"; did you mean {close[0]!r}?" if close else "; --list shows them"
        raise click.UsageError(f"the grid has no cell {unknown[0]!r}{hint}")
    return cells


def _tables(made: list[dict[str, Any]], chosen: Preset, origin: dict[str, Any]) -> tuple[Result, Result, Result]:
    from resnet_probe.analyses.grid import curves_table, grid_table, summary_table

    rows = [one["row"] for one in made]
    curves = [row for one in made for row in one["curve"]]
    return grid_table(rows, origin), curves_table(curves, origin), summary_table(rows, origin)


def _lesions(cells: Sequence[Cell], grid: Grid, trained: Result, *, quiet: bool) -> list[Result]:
    """Every block of every network deleted, on the images that were measured on, and how much that adds by style."""
    from resnet_probe import checkpoint
    from resnet_probe.analyses import lesion
    from resnet_probe.analyses.grid import lesions_table
    from resnet_probe.analyses.runtime import Runtime
    from resnet_probe.analyses.subject import Subject
    from resnet_probe.commands import progress
    from resnet_probe.tables import together
    from resnet_probe.unraveled import unravel

    _, test = grid.images.load()
    found: list[Result] = []
    with progress.bar(quiet, "lesions") as report:
        for number, cell in enumerate(cells):
            loaded = checkpoint.load(grid.folder / f"{cell.name}.safetensors")
            network = unravel(loaded.model.to(grid.device), test.input_shape)
            subject = Subject(cell.name, network, test, checkpoint=loaded)
            (table,) = lesion.run(subject, runtime=Runtime(device=grid.device))
            found.append(table.with_settings(subject.provenance()))
            report(number + 1, len(cells))
    result = together(found).with_settings(trained.settings)
    return [result, lesions_table(result.rows, {row["cell"]: row for row in trained.rows}, trained.settings)]
