"""`resnet-probe responses`: how strongly each layer answers."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

import rich_click as click

from resnet_probe.commands import options, output

if TYPE_CHECKING:
    from resnet_probe.tables import Result

KINDS = ("conv3x3", "conv", "all")
MODES = ("eval", "train")


@click.command("responses")
@click.option(
    "--ckpt",
    "ckpts",
    multiple=True,
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Checkpoint; give several to overlay them.",
)
@options.arch
@click.option(
    "--layers",
    type=click.Choice(KINDS),
    default="conv3x3",
    show_default=True,
    help="Layers to measure: 3x3 convolutions as in the paper, all convolutions, or linear layers too.",
)
@click.option(
    "--mode",
    type=click.Choice(MODES),
    default="eval",
    show_default=True,
    help="Batch norm with running statistics (eval) or with those of each batch (train).",
)
@click.option("--channels", is_flag=True, help="Also write responses_channels.csv, one row per channel.")
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
    ckpts: Sequence[Path],
    arch: str | None,
    layers: str,
    mode: str,
    channels: bool,
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
    """Measure the standard deviation of every layer's response (He et al. 2015, Fig. 7).

    A layer is measured after batch norm, where one follows, and before nonlinearity or addition, over all images,
    positions and channels together. Writes responses.csv, responses.json and the figure.
    """
    from resnet_probe.commands import progress, subject

    screen = output.console(quiet)
    if len(ckpts) > 1 and arch is not None:
        raise click.UsageError("--arch says what one checkpoint is; give it with a single --ckpt")
    chosen = [subject.load(path, arch) for path in ckpts] or [subject.load(None, arch)]
    names = [one.name for one in chosen]
    if len(set(names)) < len(names):
        raise click.UsageError(f"two checkpoints have the same file name ({', '.join(names)}); rename one of them")
    folder = output.run_folder(out, "responses", "+".join(names))
    hashes = ", ".join(one.checkpoint.sha256 or "untrained" for one in chosen)
    output.refuse_other(folder, "responses", hashes)
    where = subject.pick_device(device)

    from resnet_probe.analyses import responses
    from resnet_probe.tables import provenance

    wanted = subject.Wanted(data, data_root, normalize, seed)
    tables, channel_tables, abouts, fingerprints = [], [], {}, {}
    for one in chosen:
        wanted = subject.Wanted(data, data_root, normalize, seed)
        dataset = subject.images(one, screen, wanted, split=split, limit=limit, device=where)
        network = subject.unraveled(one, dataset.input_shape, where)
        with progress.bar(quiet, f"responses of {one.name}") as report:
            measured = responses.run(
                network, dataset, name=one.name, layers=layers, mode=mode, channels=channels,
                batch_size=batch_size or 64, device=where, seed=seed, progress=report,
            )  # fmt: skip
        tables.append(measured.layers)
        channel_tables += [measured.channels] if measured.channels else []
        abouts[one.name] = {**one.provenance(), "normalization": dataset.normalization}
        about_data = subject.described(dataset)
        fingerprints[one.name] = dataset.fingerprint
    origin = provenance(
        arguments=options.arguments(), seed=seed, checkpoint_sha256=hashes, device=where, networks=abouts,
        data_fingerprint=", ".join(dict.fromkeys(fingerprints.values())), command=options.command_line(),
        data_set=about_data,
    )  # fmt: skip
    result = responses.together(tables).with_settings(origin)
    files = output.write(result, [("responses", responses.plot(result))], folder, formats)
    if channel_tables:
        files += responses.together(channel_tables).with_settings(origin).save(folder)
    told = [*facts(result), ("written", output.listing(files))]
    output.summarise(screen, f"{', '.join(names)}: {len(result.rows)} layers", told)


def facts(result: Result) -> list[tuple[str, str]]:
    """What the table says of each network, in a line, and where it was measured."""
    told = []
    for name, reason in result.settings["measured"].items():
        rows = [row for row in result.rows if row["network"] == name]
        strongest, weakest = min(rows, key=lambda r: r["rank"]), max(rows, key=lambda r: r["rank"])
        middle = median(row["std"] for row in rows)
        told.append(
            (
                name,
                f"std median {middle:.4g}, from {weakest['std']:.4g} ({weakest['layer']}) "
                f"to {strongest['std']:.4g} ({strongest['layer']})",
            )
        )
        told.append(("", reason))
    return told
