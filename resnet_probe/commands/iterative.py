"""`resnet-probe iterative`: what each residual block does to its input and to the loss."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from statistics import mean, median
from typing import TYPE_CHECKING

import rich_click as click

from resnet_probe.commands import options, output

if TYPE_CHECKING:
    from resnet_probe.tables import Result


@click.command("iterative")
@options.ckpt
@options.arch
@click.option(
    "--lesion",
    "lesion_file",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Lesion table of the same network.  [default: lesion.csv in the folder of --out, if it is there]",
)
@click.option("--adapter", is_flag=True, help="Also early exits from every stage, through a least-squares adapter.")
@options.data
@options.data_root
@options.split
@options.limit
@options.batch_size
@options.normalize
@options.device
@options.seed
@options.out
@options.formats
@options.quiet
def command(
    *,
    ckpt: Path | None,
    arch: str | None,
    lesion_file: Path | None,
    adapter: bool,
    data: str | None,
    data_root: Path | None,
    split: str,
    limit: int | None,
    batch_size: int | None,
    normalize: str | None,
    device: str,
    seed: int,
    out: Path | None,
    formats: Sequence[str],
    quiet: bool,
) -> None:
    """Measure how each block refines its input: size and direction of its update, influence, early exits.

    Where the damage of deleting each block has been measured (`resnet-probe lesion`), every measure's rank correlation
    with it tells which of them predicts it. Writes iterative.csv, iterative.json and the figure, and with a lesion
    table iterative_ranks as well.
    """
    from resnet_probe.commands import progress, subject

    screen = output.console(quiet)
    chosen = subject.load(ckpt, arch)
    folder = output.run_folder(out, "iterative", chosen.name)
    where = subject.pick_device(device)
    if lesion_file is None and (folder / "lesion.csv").is_file():
        lesion_file = folder / "lesion.csv"
    lesion = _lesion(lesion_file, chosen.name, chosen.checkpoint.sha256)
    wanted = subject.Wanted(data, data_root, normalize, seed)
    dataset = subject.images(chosen, screen, wanted, split=split, limit=limit, device=where)

    from resnet_probe.analyses import iterative
    from resnet_probe.tables import provenance

    network = subject.unraveled(chosen, dataset.input_shape, where)
    with progress.bar(quiet, f"iterative inference of {chosen.name}") as report:
        result = iterative.run(
            network, dataset, name=chosen.name, adapter=adapter, batch_size=batch_size or 64, device=where,
            progress=report,
        )  # fmt: skip
    origin = provenance(
        arguments=options.arguments(), seed=seed, data_fingerprint=dataset.fingerprint, device=where,
        command=options.command_line(), normalization=dataset.normalization, data_set=subject.described(dataset),
        **chosen.provenance(),
    )  # fmt: skip
    ranks = None
    if lesion is not None:
        result = iterative.with_damage(result, lesion)
        same = lesion.settings.get("data_fingerprint") == dataset.fingerprint
        origin |= {"lesion": str(lesion_file), "lesion_on_the_same_images": same}
        ranks = iterative.rank(result, seed=seed).with_settings(origin)
    result = result.with_settings(origin)
    files = output.write(result, [("iterative", iterative.plot(result))], folder, formats)
    told = facts(result)
    if ranks is not None:
        if not ranks.rows:
            told.append(("prediction", "too few blocks, or damages all alike, for a rank correlation"))
            files += ranks.save(folder)
        else:
            files += output.write(ranks, [("iterative_ranks", iterative.plot_ranks(ranks))], folder, formats)
            told += best(ranks)
        if not origin["lesion_on_the_same_images"]:
            told.append(("note", f"{lesion_file} was measured on other images"))
    else:
        told.append(("prediction", "no lesion table; give --lesion FILE to see which measure predicts the damage"))
    told.append(("written", output.listing(files)))
    output.summarise(screen, f"{chosen.name}: {len(result.rows)} blocks", told)


def _lesion(file: Path | None, name: str, sha256: str) -> Result | None:
    """The lesion table, read before anything is computed, so that a wrong one is found at once."""
    from resnet_probe.tables import read

    if file is None:
        return None
    if file.suffix != ".csv":
        raise click.UsageError(f"--lesion {file} is no CSV table; give the lesion.csv that `resnet-probe lesion` wrote")
    table = read(file.parent, file.stem)
    networks = sorted({str(row.get("network")) for row in table.rows})
    if name not in networks:
        raise click.UsageError(f"{file} is of {', '.join(networks) or 'no network'}, not of {name}; give its own table")
    theirs = table.settings.get("checkpoint_sha256")
    if theirs and sha256 and sha256 not in theirs:
        raise click.UsageError(f"{file} was measured on another checkpoint called {name}; run lesion on this one")
    return table


def facts(result: Result) -> list[tuple[str, str]]:
    """What the table says, in a few lines."""
    rows = result.rows
    told = [("whole network", f"{result.settings['error']:.4g} % error on {result.settings['images']} images")]
    told.append(("|F(h)| / |h|", f"median {median(row['ratio'] for row in rows):.3g} over {len(rows)} blocks"))
    for column, what in (("cos_gradient", "cos(F, dL/dh)"), ("cos_gradient_out", "... at output")):
        values = [row[column] for row in rows if row[column] is not None]
        if values:
            below = sum(value < 0 for value in values)
            told.append((what, f"below 0 in {below} of {len(values)} blocks, mean {mean(values):.3g}"))
    exits = [row for row in rows if row["exit_accuracy"] is not None]
    told.append(
        (
            "early exits",
            f"{exits[0]['exit_accuracy']:.4g} % right after {exits[0]['block']}, "
            f"{exits[-1]['exit_accuracy']:.4g} % after {exits[-1]['block']}",
        )
    )
    return told


def best(ranks: Result) -> list[tuple[str, str]]:
    """The measures that predict the increase of error best, over all blocks and over those that keep shape."""
    told = []
    for subset in dict.fromkeys(row["subset"] for row in ranks.rows):
        rows = [row for row in ranks.rows if row["damage"] == "error" and row["subset"] == subset]
        first = sorted(rows, key=lambda row: -abs(row["rho"]))[:3]
        words = [
            f"{r['measure']} {r['rho']:+.2f} ({r['low']:+.2f} to {r['high']:+.2f}, n={r['blocks']})" for r in first
        ]
        if words:
            told.append((f"rank correlation, {subset}", "; ".join(words)))
    return told
