"""The networks that `resnet-probe compare` sets side by side, and what is measured of each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import rich_click as click

from resnet_probe.commands import output, path_networks, sweeping

if TYPE_CHECKING:
    from rich.console import Console

    from resnet_probe.analyses.compare import Measured
    from resnet_probe.commands.subject import Subject, Wanted
    from resnet_probe.data import Data
    from resnet_probe.results import Result

DEFAULT_BATCH = 64


@dataclass(frozen=True)
class Compared:
    """A network with the images that it is measured on."""

    subject: Subject
    dataset: Data

    @property
    def name(self) -> str:
        """Of the network, in all tables."""
        return self.subject.name

    def about(self) -> dict[str, Any]:
        """What the settings of a table say about the network."""
        return {**self.subject.provenance(), "normalization": self.dataset.normalization}


def subjects(ckpts: Sequence[Path], archs: Sequence[str], wanted: Wanted, split: str, seed: int) -> list[Subject]:
    """The checkpoints, then untrained networks for the classes and channels of the data.

    Raises:
        click.UsageError: no network, the same one twice, or no data.
        ValueError, LookupError: as `checkpoint.load` and `models.resolve`.
    """
    from resnet_probe import checkpoint
    from resnet_probe.commands.subject import Subject
    from resnet_probe.data import load_data

    if not ckpts and not archs:
        raise click.UsageError("no network given; give --ckpt FILE or --arch NAME, several times, or --zoo")
    if len(set(archs)) < len(archs):
        raise click.UsageError(f"the same --arch given twice ({', '.join(archs)}); give each once")
    found = path_networks.subjects(ckpts, None, untrained=False) if ckpts else []
    taken = {each.name for each in found}
    if archs:
        spec = wanted.data or (found[0].checkpoint.metadata.get("data") if found else None)
        if not isinstance(spec, str):
            raise click.UsageError("no images given; give --data digits, cifar10, cifar100, fake or a folder")
        like = load_data(spec, root=wanted.data_root, split=split, limit=1, size=32)
        for arch in archs:
            made = checkpoint.untrained(
                arch, seed=seed, num_classes=len(like.classes), in_channels=like.input_shape[0]
            )
            name = f"{made.name} untrained" if made.name in taken else made.name
            found.append(Subject(replace(made, name=name), trained=False))
    return found


def with_images(
    chosen: Sequence[Subject],
    screen: Console,
    wanted: Wanted,
    normalize: Sequence[str],
    *,
    split: str,
    limit: int | None,
    device: str,
) -> list[Compared]:
    """Each network with its images, all of the same data set, after a look at the unlesioned error.

    Raises:
        click.UsageError: as many normalisations as neither one nor networks; a network does not fit the data; or the
            networks were trained for data sets of different names and none is given.
    """
    from resnet_probe.commands import subject

    if len(normalize) not in (0, 1, len(chosen)):
        raise click.UsageError(
            f"{len(normalize)} times --normalize given for {len(chosen)} networks; give it once for all, or once for "
            "each in their order, checkpoints before architectures"
        )
    each_own = list(normalize) if len(normalize) > 1 else [normalize[0] if normalize else None] * len(chosen)
    found = []
    for one, own in zip(chosen, each_own, strict=True):
        dataset = subject.images(one, screen, replace(wanted, normalize=own), split=split, limit=limit, device=device)
        found.append(Compared(one, dataset))
    first = found[0].dataset
    for one in found[1:]:
        if (one.dataset.name, one.dataset.classes) != (first.name, first.classes):
            raise click.UsageError(
                f"{found[0].name} was trained for {first.name} and {one.name} for {one.dataset.name}; give --data, "
                "so that both see the same images"
            )
    return found


@dataclass(frozen=True)
class Place:
    """Where and how networks are compared."""

    options: sweeping.Options
    folder: Path
    device: str
    workers: Any
    quiet: bool
    seed: int


def lesions(networks: Sequence[Compared], place: Place) -> tuple[Result, dict[str, dict[str, Any]]]:
    """Every unit of every network deleted, in one table; and what the settings say about each network.

    The work on each is journalled in `lesion_<network>.journal`, so that finished work is never lost.
    """
    from resnet_probe.analyses import lesion
    from resnet_probe.commands import subject
    from resnet_probe.results import Result

    rows: list[dict[str, Any]] = []
    abouts = {}
    for one in networks:
        network = subject.unraveled(one.subject, one.dataset.input_shape, place.device)
        bench = sweeping.Bench(
            place.options, place.folder, place.device, place.workers, one.subject, one.dataset, network, place.quiet
        )
        with bench.sweep(f"lesion_{output.file_name(one.name)}", {}) as how:
            found = lesion.run(network, one.dataset, name=one.name, **how)
        rows += found.rows
        abouts[one.name] = one.about()
        if place.workers.rank == 0:
            deleted = [network.delete(row["block"]) for row in found.rows[1:]]
            origin = bench.origin(place.seed, deleted)
            abouts[one.name] |= {key: origin[key] for key in ("precision", "against_fp32") if key in origin}
    classes = len(networks[0].dataset.classes)
    return Result("lesion", lesion.COLUMNS, tuple(rows), {"classes": classes}), abouts


def responses(networks: Sequence[Compared], place: Place, layers: str, screen: Console) -> Result | None:
    """The responses of all networks that have such layers, in one table; None if none has."""
    from resnet_probe.analyses import responses as analysis
    from resnet_probe.commands import progress, subject

    tables = []
    for one in networks:
        network = subject.unraveled(one.subject, one.dataset.input_shape, place.device)
        try:
            analysis.measured_layers(network, layers)
        except ValueError as error:
            screen.print(f"note: {one.name} is left out of the responses: {error}")
            continue
        with progress.bar(place.quiet, f"responses of {one.name}") as report:
            found = analysis.run(
                network, one.dataset, name=one.name, layers=layers, batch_size=place.options.batch_size or 64,
                device=place.device, seed=place.seed, progress=report,
            )  # fmt: skip
        tables.append(found.layers)
    return analysis.together(tables) if tables else None


def paths(networks: Sequence[Compared], place: Place) -> Result:
    """The path lengths of all networks in one table; statistics stand under their names."""
    from resnet_probe.analyses import paths as analysis
    from resnet_probe.commands import subject
    from resnet_probe.results import Result

    rows: list[dict[str, Any]] = []
    statistics = {}
    for one in networks:
        network = subject.unraveled(one.subject, one.dataset.input_shape, place.device)
        found = analysis.run(analysis.chain_polynomials(network), one.name)
        rows += found.rows
        statistics[one.name] = found.settings["statistics"]
    return Result("paths", analysis.COLUMNS, tuple(rows), {"networks_statistics": statistics})


def measured(networks: Sequence[Compared], place: Place, batches: int | None) -> list[Measured]:
    """Costs of every network, and with `batches` also its times and memory."""
    from resnet_probe.analyses import compare
    from resnet_probe.analyses.compare.memory import peak_memory
    from resnet_probe.commands import progress, subject

    size = place.options.batch_size or DEFAULT_BATCH
    found = []
    for one in networks:
        network = subject.unraveled(one.subject, one.dataset.input_shape, place.device)
        classes = len(one.dataset.classes)
        known = compare.Measured(one.name, compare.costs(network), classes, one.subject.trained)
        if batches is not None:
            model, shape = one.subject.checkpoint.model, one.dataset.input_shape
            how = {"classes": classes, "device": place.device, "seed": place.seed}
            timings = {}
            for images in dict.fromkeys((size, compare.SMALL_BATCH)):
                with progress.bar(place.quiet, f"times of {one.name}, batches of {images}") as report:
                    timings[images] = compare.time_steps(
                        model, shape, batch_size=images, batches=batches, progress=report, **how
                    )
            known = replace(
                known, timings=(timings[size], timings[compare.SMALL_BATCH]), batches=batches, batch_size=size,
                peak_memory=peak_memory(model, shape, batch_size=size, **how),
            )  # fmt: skip
        found.append(known)
    return found
