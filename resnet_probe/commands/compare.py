"""`resnet-probe compare`: networks side by side."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import rich_click as click

from resnet_probe.commands import comparing, options, output, sweeping
from resnet_probe.commands.responses import KINDS

if TYPE_CHECKING:
    from rich.console import Console

    from resnet_probe.tables import Result

TABLES = ("compare", "lesion", "responses", "paths")


@click.command("compare")
@click.option(
    "--ckpt",
    "ckpts",
    multiple=True,
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Checkpoint; give one for each network.",
)
@click.option("--arch", "archs", multiple=True, metavar="NAME", help="Untrained network to set beside them; several.")
@click.option(
    "--read-as",
    multiple=True,
    metavar="NAME",
    help="Architecture of the checkpoints where weights do not tell, once for each in their order, or auto.",
)
@click.option("--zoo", is_flag=True, help="Count the papers' networks instead, beside the printed numbers.")
@options.data
@options.data_root
@options.split
@options.limit
@click.option(
    "--normalize",
    multiple=True,
    metavar="NAME|MEAN;STD",
    help="Normalisation of the images: once for all networks, or once for each in their order.",
)
@click.option("--layers", type=click.Choice(KINDS), default="conv3x3", show_default=True, help="Layers for responses.")
@click.option(
    "--timing-batches",
    type=click.IntRange(min=2),
    default=100,
    show_default=True,
    metavar="N",
    help="Batches to time, after 10 that do not count.",
)
@click.option("--no-timing", is_flag=True, help="Measure neither times nor memory.")
@sweeping.sweep_options
@options.device
@options.seed
@options.out
@options.formats
@options.quiet
def command(
    *,
    ckpts: Sequence[Path],
    archs: Sequence[str],
    read_as: Sequence[str],
    zoo: bool,
    data: str | None,
    data_root: Path | None,
    split: str,
    limit: int | None,
    normalize: Sequence[str],
    layers: str,
    timing_batches: int,
    no_timing: bool,
    options: sweeping.Options,
    device: str,
    seed: int,
    out: Path | None,
    formats: Sequence[str],
    quiet: bool,
) -> None:
    """Set networks side by side: lesions, responses, paths, costs, times and memory.

    Every unit of every network is deleted as by `lesion`, responses are measured as by `responses` and paths counted
    as by `paths`; compare.csv has one row per network. FLOPs are multiply-adds for one image; `backward_ms` is forward
    plus backward. Times are means over batches of 16 and of --batch-size (64 without it). An interrupted run goes
    on where it stopped, --fresh starts over. With --zoo no data is needed: the networks of the papers are counted and
    compared with the printed numbers, in zoo.csv.
    """
    from resnet_probe.commands import subject

    screen = output.console(quiet)
    if zoo:
        if ckpts or archs or data:
            raise click.UsageError("--zoo together with --ckpt, --arch or --data given; give --zoo alone")
        _zoo(output.run_folder(out or Path("results/compare-zoo"), "compare", "zoo"), screen, formats, quiet)
        return
    wanted = subject.Wanted(data, data_root, None, seed)
    chosen = comparing.subjects(ckpts, archs, wanted, split=split, read_as=read_as)
    folder = output.run_folder(out, "compare", "+".join(one.name for one in chosen))
    hashes = ", ".join(one.checkpoint.sha256 or f"untrained {one.checkpoint.arch}" for one in chosen)
    for name in TABLES:
        output.refuse_other(folder, name, hashes)
    workers, where = options.processes(subject.pick_device(device))
    quiet = quiet or workers.rank > 0
    screen = output.console(quiet)
    networks = comparing.with_images(chosen, screen, wanted, normalize, split=split, limit=limit, device=where)
    place = comparing.Place(options, folder, where, workers, quiet, seed)
    lesions, abouts = comparing.lesions(networks, place)
    if workers.rank > 0:
        return

    from resnet_probe.analyses import compare, lesion, paths, responses

    fingerprints = dict.fromkeys(one.dataset.fingerprint for one in networks)
    origin = _origin(hashes, ", ".join(fingerprints), seed, where, abouts)
    origin["data_set"] = subject.described(networks[0].dataset)
    lesions = lesions.with_settings(origin)
    files = output.write(lesions, [("lesion", lesion.plot(lesions))], folder, formats)
    answers = comparing.responses(networks, place, layers, screen)
    if answers:
        answers = answers.with_settings(origin)
        files += output.write(answers, [("responses", responses.plot(answers))], folder, formats)
    lengths = comparing.paths(networks, place)
    about = {name: {**abouts[name], **found} for name, found in lengths.settings["networks"].items()}
    lengths = lengths.with_settings({**origin, "networks": about})
    files += output.write(lengths, [("paths", paths.plot(lengths))], folder, formats)
    measured = comparing.measured(networks, place, None if no_timing else timing_batches)
    result = compare.run(measured, lesions, lengths).with_settings({**origin, "threads": _threads()})
    figures = [
        ("compare", compare.plot(result, lesions, answers, lengths)),
        ("compare_costs", compare.plot_costs(result)),
    ]
    files += output.write(result, figures, folder, formats)
    output.columns(screen, HEADINGS, [line(row) for row in result.rows], right=len(HEADINGS) - 1)
    output.summarise(screen, f"{len(result.rows)} networks", [*facts(result), ("written", output.listing(files))])


HEADINGS = (
    *("network", "parameters", "multiply-adds", "depth", "error %", "median lesion %", "worst lesion %"),
    *("forward ms", "forward+backward ms", "peak MB"),
)


def line(row: dict[str, Any]) -> tuple[str, ...]:
    """A network as cells for a terminal; the CSV has the exact numbers."""
    return (
        row["network"], f"{row['parameters']:,}", f"{row['flops']:,}", str(row["depth"]), f"{row['error']:.4g}",
        f"{row['median_lesion']:.4g}", f"{row['worst_lesion']:.4g}",
        _time(row, "forward_ms"), _time(row, "backward_ms"),
        "" if row["peak_memory_mb"] is None else _short(row["peak_memory_mb"]),
    )  # fmt: skip


def _time(row: dict[str, Any], kind: str) -> str:
    return "" if row[kind] is None else f"{_short(row[kind])} +- {_short(row[f'{kind}_std'])}"


def _short(value: float) -> str:
    """Three digits, or all before the point: 0.123, 12.3, 4,395."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def facts(result: Result) -> list[tuple[str, str]]:
    """What the table says of each network in a line, and its units."""
    told = []
    for row in result.rows:
        count = f"{row['paths']:,}" if row["paths"] < 10**9 else f"about 10^{len(str(row['paths'])) - 1}"
        words = "path" if row["paths"] == 1 else "paths"
        told.append(
            (
                row["network"],
                f"{row['error']:.4g} % error; with one of its {row['units']} units deleted "
                f"{row['median_lesion']:.4g} % (median), {row['worst_lesion']:.4g} % at worst ({row['worst_unit']}); "
                f"{count} {words}, {row['mean_path_length']:.4g} layers long on average",
            )
        )
    first = result.rows[0]
    if first["forward_ms"] is not None:
        batches = f"{first['timed_batches']} batches of {first['batch_size']}"
        told.append(("times", f"mean +- standard deviation over {batches} on {result.settings['device']}"))
    return told


def _origin(hashes: str, data: str, seed: int, device: str, abouts: dict[str, Any]) -> dict[str, Any]:
    from resnet_probe.tables import provenance

    return provenance(
        arguments=options.arguments(), seed=seed, checkpoint_sha256=hashes, data_fingerprint=data, device=device,
        command=options.command_line(), networks=abouts,
    )  # fmt: skip


def _threads() -> int:
    import torch

    return torch.get_num_threads()


def _zoo(folder: Path, screen: Console, formats: Sequence[str], quiet: bool) -> None:
    from resnet_probe.analyses import compare
    from resnet_probe.commands import progress
    from resnet_probe.tables import provenance

    with progress.bar(quiet, "networks of the papers") as report:
        result = compare.run_zoo(progress=report)
    result = result.with_settings(provenance(arguments=options.arguments(), command=options.command_line()))
    figures = [("zoo", compare.plot_zoo(result)), ("zoo_scatter", compare.plot_zoo_scatter(result))]
    files = output.write(result, figures, folder, formats)
    headings = ("network", "input", "depth", "parameters", "/ printed", "multiply-adds", "/ printed", "as counted")
    lines = [
        (
            row["title"], row["input"], str(row["depth"]), f"{row['parameters']:,}", _ratio(row["parameters_ratio"]),
            f"{row['multiply_adds']:,}", _ratio(row["multiply_adds_ratio"]), _ratio(row["as_counted_ratio"]),
        )
        for row in result.rows
    ]  # fmt: skip
    output.columns(screen, headings, lines, right=6)
    told = [
        ("as counted", "ratio of the network that the source counted, where that is another one; zoo.csv says why"),
        ("written", output.listing(files)),
    ]
    output.summarise(screen, f"{len(lines)} networks, multiply-adds for one input", told)


def _ratio(value: float | None) -> str:
    return "" if value is None else f"{value:.4f}"
