"""`resnet-probe lesion`: what happens when blocks are deleted."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import rich_click as click

from resnet_probe.commands import options, output, sweeping

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from resnet_probe.data import Data
    from resnet_probe.tables import Result
    from resnet_probe.unraveled import UnraveledNetwork

Facts = list[tuple[str, str]]


@click.command("lesion")
@options.ckpt
@options.arch
@options.data
@options.data_root
@options.split
@options.limit
@options.normalize
@click.option("--multi", callback=sweeping.numbers, metavar="K:K", help="Delete K random units at a time, as 1:20.")
@click.option("--draws", type=click.IntRange(min=1), default=100, show_default=True, help="Random sets for each K.")
@click.option("--pairs", is_flag=True, help="Delete every pair of units, and measure how they interact.")
@click.option("--resizing", is_flag=True, help="With --multi, draw units that change the shape too.")
@click.option("--recalibrate", is_flag=True, help="Measure again with batch-norm statistics re-estimated.")
@click.option("--recalibrate-split", default="train", show_default=True, help="Images for --recalibrate.")
@click.option(
    "--recalibrate-limit",
    type=click.IntRange(min=1),
    default=2000,
    show_default=True,
    metavar="N",
    help="How many of them.",
)
@sweeping.sweep_options
@options.device
@options.seed
@options.out
@options.formats
@options.quiet
def command(
    *,
    ckpt: Path | None,
    arch: str | None,
    data: str | None,
    data_root: Path | None,
    split: str,
    limit: int | None,
    normalize: str | None,
    multi: range | None,
    draws: int,
    pairs: bool,
    resizing: bool,
    recalibrate: bool,
    recalibrate_split: str,
    recalibrate_limit: int,
    options: sweeping.Options,
    device: str,
    seed: int,
    out: Path | None,
    formats: Sequence[str],
    quiet: bool,
) -> None:
    """Delete each residual block at test time and measure the error (Veit et al. 2016, Fig. 3).

    With --multi random sets of blocks (Fig. 5a), with --pairs every pair. In a network without residual blocks each
    convolution is deleted instead, and an identity takes its place: first channels kept or zero channels added, strided
    where the layer is. Writes tables, settings and figures. Finished work is kept in a file NAME.journal in the folder:
    an interrupted run goes on where it stopped, --fresh starts over.
    """
    from resnet_probe.commands import subject

    if multi and pairs:
        raise click.UsageError("--multi and --pairs given; give one of them, or neither for single deletions")
    if recalibrate and pairs:
        raise click.UsageError("--recalibrate goes with single deletions and --multi, not with --pairs")
    chosen = subject.load(ckpt, arch, seed=seed)
    folder = output.run_folder(out, "lesion", chosen.name)
    workers, where = options.processes(subject.pick_device(device))
    screen = output.console(quiet or workers.rank > 0)
    wanted = subject.Wanted(data, data_root, normalize, seed)
    dataset = subject.images(chosen, screen, wanted, split=split, limit=limit, device=where)
    train = subject.more_images(chosen, wanted, dataset, recalibrate_split, recalibrate_limit) if recalibrate else None
    name = "lesion_pairs" if pairs else "lesion_multi" if multi else "lesion"
    about = {"deleted": list(multi), "draws": draws, "seed": seed, "resizing": resizing} if multi else {}
    network = subject.unraveled(chosen, dataset.input_shape, where)
    bench = sweeping.Bench(options, folder, where, workers, chosen, dataset, network, quiet)
    again = bench.recalibration(name, about, train) if train else None
    with bench.sweep(name, about) as how:
        how |= {"name": chosen.name}
        if pairs:
            found = _pairs(network, dataset, how)
        elif multi:
            how |= {"deleted": multi, "draws": draws, "resizing": resizing, "seed": seed}
            found = _multi(network, dataset, how | {"recalibrated": again})
        else:
            found = _single(network, dataset, how | {"recalibrated": again})
    if workers.rank > 0:
        return
    origin = bench.origin(seed, [network.delete(*names) for names in found.deleted])
    files: list[Path] = []
    for result, plot in found.results:
        figures = [(result.name, plot(result))] if plot else []
        files += output.write(result.with_settings(origin), figures, folder, formats)
    output.summarise(screen, f"{chosen.name}: {found.title}", [*found.facts, ("written", output.listing(files))])


@dataclass(frozen=True)
class Found:
    """Tables with what draws them, and what they say."""

    title: str
    deleted: list[list[str]]
    results: list[tuple[Result, Callable[[Result], Figure] | None]]
    facts: Facts


def _single(network: UnraveledNetwork, dataset: Data, how: Mapping[str, Any]) -> Found:
    from resnet_probe.analyses import lesion

    result = lesion.run(network, dataset, **how)
    deleted = [[row["block"]] for row in result.rows[1:]]
    return Found(f"{len(result.rows) - 1} deletions", deleted, [(result, lesion.plot)], facts(result))


def _multi(network: UnraveledNetwork, dataset: Data, how: Mapping[str, Any]) -> Found:
    from resnet_probe.analyses import multi

    result, summary = multi.run(network, dataset, **how)
    rows = summary.rows
    shown = set(range(len(rows)))
    if len(rows) > 8:
        shown = {0, 1, len(rows) // 4, len(rows) // 2, len(rows) - 1}
    told = [(f"{rows[i]['deleted']} deleted", _mean(rows[i])) for i in sorted(shown)]
    if len(shown) < len(rows):
        told.append(("all the others", "in lesion_multi_summary.csv"))
    settings = result.settings
    if settings["spearman"] is not None:
        low, high = settings["spearman_low"], settings["spearman_high"]
        told.append(("rank correlation", f"{settings['spearman']:.3f} ({low:.3f} to {high:.3f}) of number and error"))
    deleted = [row["blocks"].split() for row in result.rows[1:]]
    return Found(f"{len(deleted)} sets of deletions", deleted, [(result, multi.plot), (summary, None)], told)


def _mean(row: Mapping[str, Any]) -> str:
    text = f"{row['error']:.4g} % mean error of {row['draws']} draw{'s' if row['draws'] != 1 else ''}"
    if row["draws_low"] is not None:
        text += f", 95 % over draws {row['draws_low']:.4g} to {row['draws_high']:.4g}"
    if row["images_low"] is not None:
        text += f", over images {row['images_low']:.4g} to {row['images_high']:.4g}"
    if row["error_recalibrated"] is not None:
        text += f"; {row['error_recalibrated']:.4g} % with BN statistics re-estimated"
    return text


def _pairs(network: UnraveledNetwork, dataset: Data, how: Mapping[str, Any]) -> Found:
    from resnet_probe.analyses import pairs

    result = pairs.run(network, dataset, **how)
    rows = sorted(result.rows, key=lambda row: row["interaction"])
    extremes = [("least", rows[0]), ("most", rows[-1])]
    apart = [row for row in rows if row["interaction_low"] is not None and row["interaction_low"] > 0]
    shared, looped = result.settings["steps_run"], result.settings["steps_of_a_loop"]
    told = [
        *(
            (f"{what} interaction", f"{r['interaction']:+.3g} points, {r['block_a']} and {r['block_b']}")
            for what, r in extremes
        ),
        ("above zero", f"{len(apart)} of {len(rows)} pairs, by their 95 % intervals"),
        ("saving", f"{shared:,} steps run instead of {looped:,}, {looped / shared:.3g} times fewer"),
    ]
    deleted = [[row["block_a"], row["block_b"]] for row in result.rows]
    return Found(f"{len(rows)} pairs", deleted, [(result, pairs.plot)], told)


def facts(result: Result) -> Facts:
    """What a table of single deletions says, in a few lines."""
    from statistics import median

    intact, *lesions = result.rows
    worst = max(lesions, key=lambda row: row["error"])
    mildest = min(lesions, key=lambda row: row["error"])
    rows = [
        ("intact", f"{intact['error']:.4g} % error, {intact['wrong']} wrong of {intact['images']}"),
        ("median lesion", f"{median(row['error'] for row in lesions):.4g} %"),
        ("worst lesion", f"{worst['error']:.4g} % ({worst['block']}{', resizes' if worst['resizes'] else ''})"),
        ("mildest lesion", f"{mildest['error']:.4g} % ({mildest['block']})"),
    ]
    for resizes, what in ((False, "keep the shape"), (True, "resize")):
        errors = [row["error"] for row in lesions if row["resizes"] is resizes]
        if errors:
            mean = sum(errors) / len(errors)
            rows.append((f"units that {what}", f"{len(errors)}, mean error {mean:.4g} % when deleted"))
    again = [row["error_recalibrated"] for row in lesions if row["error_recalibrated"] is not None]
    if again:
        rows.append(("BN re-estimated", f"median lesion {median(again):.4g} %, worst {max(again):.4g} %"))
    return rows
