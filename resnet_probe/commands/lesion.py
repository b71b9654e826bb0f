"""`resnet-probe lesion`: what happens when a block is deleted."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import rich_click as click

from resnet_probe.commands import options, output

if TYPE_CHECKING:
    from resnet_probe.results import Result


@click.command("lesion")
@options.ckpt
@options.arch
@options.data
@options.data_root
@options.split
@options.limit
@options.batch_size
@options.normalize
@options.device
@options.precision
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
    batch_size: int | None,
    normalize: str | None,
    device: str,
    precision: str,
    seed: int,
    out: Path | None,
    formats: Sequence[str],
    quiet: bool,
) -> None:
    """Delete each residual block at test time and measure the error (Veit et al. 2016, Fig. 3).

    In a network without residual blocks each convolution is deleted instead, and an identity takes its place: first
    channels kept or zero channels added, strided where the layer is. Writes lesion.csv, lesion.json and the figure.
    """
    from resnet_probe.commands import progress, subject

    screen = output.console(quiet)
    chosen = subject.load(ckpt, arch)
    folder = output.run_folder(out, "lesion", chosen.name)
    where = subject.pick_device(device)
    dataset = subject.images(
        chosen, screen, data=data, data_root=data_root, split=split, limit=limit, normalize=normalize, device=where,
        seed=seed,
    )  # fmt: skip

    from resnet_probe.analyses import lesion
    from resnet_probe.evaluate import Sweep
    from resnet_probe.results import provenance

    network = subject.unraveled(chosen, dataset.input_shape, where)
    with progress.bar(quiet, f"lesion of {chosen.name}") as report:
        result = lesion.run(
            network, dataset, name=chosen.name, device=where, progress=report,
            sweep=Sweep(precision=precision, batch_size=batch_size),
        )  # fmt: skip
    result = result.with_settings(
        provenance(
            arguments=options.arguments(), seed=seed, data_fingerprint=dataset.fingerprint, device=where,
            command=options.command_line(), normalization=dataset.normalization, **chosen.provenance(),
        )
    )  # fmt: skip
    files = output.write(result, [("lesion", lesion.plot(result))], folder, formats)
    told = [*facts(result), ("written", output.listing(files))]
    output.summarise(screen, f"{chosen.name}: {len(result.rows) - 1} deletions", told)


def facts(result: Result) -> list[tuple[str, str]]:
    """What a lesion table says, in a few lines."""
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
    return rows
