"""`resnet-probe evaluate`: errors and calibration of checkpoints."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import rich_click as click

from resnet_probe.commands import options, output

if TYPE_CHECKING:
    from torch import nn

    from resnet_probe.analyses.accuracy import View
    from resnet_probe.commands.subject import Subject, Wanted
    from resnet_probe.data import Data
    from resnet_probe.tables import Result

AVERAGES = ("softmax", "logits")


def _scales(_: click.Context, __: click.Parameter, value: str | None) -> tuple[int, ...] | None:
    """`auto` becomes an empty tuple: scales are chosen when the network is known."""
    if value is None:
        return None
    if value == "auto":
        return ()
    parts = [part.strip() for part in value.split(",")]
    if not all(part.isdecimal() and int(part) > 0 for part in parts):
        raise click.BadParameter(f"{value!r} given; give auto, or sides in pixels with commas, as 224,256,384,480,640")
    return tuple(dict.fromkeys(int(part) for part in parts))


@click.command("evaluate")
@click.option(
    "--ckpt",
    "ckpts",
    multiple=True,
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Checkpoint; give several to compare them, or to make an ensemble.",
)
@options.arch
@click.option("--ten-crop", is_flag=True, help="Also average ten crops: corners, centre, and the same mirrored.")
@click.option(
    "--scales",
    callback=_scales,
    metavar="auto|LIST",
    help="Also average several sizes: shorter sides in pixels, as 224,256,384,480,640; auto: around the network's own.",
)
@click.option("--ensemble", is_flag=True, help="Also average all checkpoints.")
@click.option(
    "--crop", type=click.IntRange(min=1), metavar="N", help="Side of the crops.  [default: the network's input size]"
)
@click.option(
    "--average",
    type=click.Choice(AVERAGES),
    default="softmax",
    show_default=True,
    help="What is averaged over views and checkpoints.",
)
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
    ten_crop: bool,
    scales: tuple[int, ...] | None,
    ensemble: bool,
    crop: int | None,
    average: str,
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
    """Measure top-1 and top-5 error, loss, calibration and the error of each class.

    Several checkpoints are run in one pass over the images. Writes evaluate.csv, evaluate_classes.csv and
    evaluate_reliability.csv, with settings and figures.
    """
    from resnet_probe.commands import progress, subject

    screen = output.console(quiet)
    if len(ckpts) > 1 and arch is not None:
        raise click.UsageError("--arch says what one checkpoint is; give it with a single --ckpt")
    if ensemble and len(ckpts) < 2:
        raise click.UsageError(f"--ensemble of {len(ckpts)} checkpoints; give --ckpt twice or more")
    chosen = [subject.load(path, arch) for path in ckpts] or [subject.load(None, arch, seed=seed)]
    names = [one.name for one in chosen]
    if len(set(names)) < len(names):
        raise click.UsageError(f"two checkpoints have the same file name ({', '.join(names)}); rename one of them")
    folder = output.run_folder(out, "evaluate", "+".join(names))
    hashes = ", ".join(one.checkpoint.sha256 or "untrained" for one in chosen)
    output.refuse_other(folder, "evaluate", hashes)
    where = subject.pick_device(device)

    from resnet_probe.analyses import accuracy
    from resnet_probe.tables import provenance

    wanted = subject.Wanted(data, data_root, normalize, seed)
    images: dict[str, Data] = {}
    for one in chosen:
        found = subject.images(one, screen, wanted, split=split, limit=limit, device=where)
        first = next(iter(images.values()), found)
        if first.fingerprint != found.fingerprint:
            raise click.UsageError(
                f"{one.name} is measured on other images than {names[0]} (their data or input sizes differ); "
                "evaluate them one by one"
            )
        images[one.name] = first.with_normalization(found.normalization)  # one copy of the pixels
    dataset = images[names[0]]
    shown = _around(chosen[0], wanted, dataset, split, limit) if ten_crop else dataset
    views = _views(dataset, shown, crop, ten_crop, scales)
    shape = _input_shape(dataset, shown, crop, ten_crop) if scales is None else None
    with progress.bar(quiet, f"evaluate {', '.join(names)}") as report:
        measured = accuracy.run(
            {one.name: _runnable(one, where, shape) for one in chosen}, shown,
            normalizations={name: its.normalization for name, its in images.items()},
            views=views, ensemble=ensemble, average=average, batch_size=batch_size or 64, device=where, progress=report,
        )  # fmt: skip
    origin = provenance(
        arguments=options.arguments(), seed=seed, checkpoint_sha256=hashes, device=where,
        networks={one.name: {**one.provenance(), "normalization": images[one.name].normalization} for one in chosen},
        data_fingerprint=shown.fingerprint, command=options.command_line(),
    )  # fmt: skip
    plots = (
        (measured.table, accuracy.plot),
        (measured.classes, accuracy.plot_classes),
        (measured.reliability, accuracy.plot_reliability),
    )
    files: list[Path] = []
    for result, plot in plots:
        files += output.write(result.with_settings(origin), [(result.name, plot(result))], folder, formats)
    output.summarise(
        screen, f"{len(dataset)} images of {dataset.name}", [*facts(measured.table), ("written", output.listing(files))]
    )


def _around(one: Subject, wanted: Wanted, dataset: Data, split: str, limit: int | None) -> Data:
    """The larger squares that a folder's images were cut from, where they were cut; else the same images."""
    from resnet_probe.commands import subject
    from resnet_probe.data import NAMES

    spec = wanted.data or str(one.checkpoint.metadata["data"])
    if spec in NAMES:
        return dataset
    larger = subject.more_images(one, wanted, dataset, split, limit, whole=True)
    return larger if larger.input_shape != dataset.input_shape else dataset


def _input_shape(dataset: Data, shown: Data, crop: int | None, ten_crop: bool) -> tuple[int, int, int] | None:
    """Shape of every input of the views, or None where crops and whole images differ in it."""
    channels, height, width = dataset.input_shape
    if crop or shown.input_shape != dataset.input_shape:
        side = crop or min(height, width)
        return channels, side, side
    return None if ten_crop and height != width else (channels, height, width)


def _runnable(one: Subject, where: str, shape: tuple[int, ...] | None) -> nn.Module:
    """The network, with batch norm folded and channels last where it can be traced and all inputs have one shape.

    Sizes that a model computes for itself may be constants after tracing, so inputs of several shapes (None) are given
    to the model itself.
    """
    from resnet_probe.commands import subject
    from resnet_probe.evaluate.fast import FastUnits

    model = one.checkpoint.model.to(where)
    if shape is None:
        return model
    try:
        network = subject.unraveled(one, shape, where)
        return FastUnits(network)(*network.steps)
    except (RuntimeError, ValueError):  # code that cannot be traced can still be run
        return model


def _views(dataset: Data, shown: Data, crop: int | None, ten_crop: bool, scales: tuple[int, ...] | None) -> list[View]:
    """The views asked for; `shown` is what they are taken from, `dataset` is of the networks' own input size."""
    from resnet_probe.analyses import accuracy

    own, side = min(dataset.input_shape[1:]), min(shown.input_shape[1:])
    chosen = crop or own
    # zeros around images that are no larger than the crop, in the proportion of 4 pixels to 32, as in training
    padding = max(1, chosen // 8) if chosen == side else 0
    if chosen > side:
        raise click.UsageError(f"--crop {chosen} of images of {side} pixels; give at most {side}")
    views = [accuracy.single(chosen if crop or side > own else None)]
    if ten_crop:
        views.append(accuracy.ten_crop(chosen, padding=padding))
    if scales is not None:
        views.append(accuracy.multi_scale(scales or accuracy.scales_for(own)))
    return views


def facts(result: Result) -> list[tuple[str, str]]:
    """What the table says, a line for each network and view."""
    several = len({row["view"] for row in result.rows}) > 1
    told = []
    for row in result.rows:
        text = f"top-1 error {row['top1_error']:.4g} % ({row['top1_low']:.4g} to {row['top1_high']:.4g})"
        if row["top5_error"] is not None:
            text += f", top-5 {row['top5_error']:.4g} %"
        text += f", loss {row['loss']:.4g}, calibration error {row['calibration_error']:.3g} %"
        told.append((row["network"] + (f", {row['view']}" if several else ""), text))
    return told
