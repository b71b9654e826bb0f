"""The networks that `resnet-probe compare` sets side by side, and what is measured of each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import rich_click as click

from resnet_probe.commands import output, path_networks, sweeping

if TYPE_CHECKING:
    from rich.console import Console

    from resnet_probe.analyses.compare import Measured
    from resnet_probe.commands.subject import Subject, Wanted
    from resnet_probe.data import Data
    from resnet_probe.tables import Result
    from resnet_probe.unraveled import UnraveledNetwork

DEFAULT_BATCH = 64
AUTO = "auto"  # the architecture is read from the weights


@dataclass(frozen=True)
class Compared:
    """A network with the images that it is measured on."""

    subject: Subject
    dataset: Data
    device: str

    @cached_property
    def network(self) -> UnraveledNetwork:
        """The network as a chain of units, for images of this shape."""
        from resnet_probe.commands import subject

        return subject.unraveled(self.subject, self.dataset.input_shape, self.device)

    @property
    def name(self) -> str:
        """Of the network, in all tables."""
        return self.subject.name

    def about(self) -> dict[str, Any]:
        """What the settings of a table say about the network."""
        return {**self.subject.provenance(), "normalization": self.dataset.normalization}


def subjects(
    ckpts: Sequence[Path], archs: Sequence[str], wanted: Wanted, *, split: str, read_as: Sequence[str] = ()
) -> list[Subject]:
    """The checkpoints, each read as one of `read_as`, then untrained networks for the data's classes and channels.

    Raises:
        click.UsageError: no network, the same one twice, no data, or not as many `read_as` as checkpoints.
        ValueError, LookupError: as `checkpoint.load` and `models.resolve`.
    """
    from resnet_probe import checkpoint
    from resnet_probe.commands.subject import Subject, load
    from resnet_probe.data import load_data

    if not ckpts and not archs:
        raise click.UsageError("no network given; give --ckpt FILE or --arch NAME, several times, or --zoo")
    if len(set(archs)) < len(archs):
        raise click.UsageError(f"the same --arch given twice ({', '.join(archs)}); give each once")
    if len(read_as) not in (0, len(ckpts)):
        raise click.UsageError(
            f"{len(read_as)} times --read-as given for {len(ckpts)} checkpoints; give it once for each in their order, "
            f"{AUTO} where the weights tell"
        )
    kinds = [None if kind == AUTO else kind for kind in read_as or [AUTO] * len(ckpts)]
    loaded = [load(path, kind) for path, kind in zip(ckpts, kinds, strict=True)]
    found = path_networks.distinct(loaded, ckpts) if ckpts else []
    taken = {each.name for each in found}
    if archs:
        like = load_data(_data(found, wanted), root=wanted.data_root, split=split, limit=1, size=32)
        for arch in archs:
            made = checkpoint.untrained(
                arch, seed=wanted.seed, num_classes=len(like.classes), in_channels=like.input_shape[0]
            )
            name = f"{made.name} untrained" if made.name in taken else made.name
            found.append(Subject(replace(made, name=name), trained=False))
    return found


def _data(chosen: Sequence[Subject], wanted: Wanted) -> str:
    """The data for untrained networks: those of the first checkpoint, where none are given."""
    spec = wanted.data or (chosen[0].checkpoint.metadata.get("data") if chosen else None)
    if not isinstance(spec, str):
        raise click.UsageError("no images given; give --data digits, cifar10, cifar100, fake or a folder")
    return spec


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
    found: list[Compared] = []
    for one, own in zip(chosen, each_own, strict=True):
        asked = replace(wanted, normalize=own)
        if not one.trained:  # sees what the first checkpoint sees
            normal = own or (found[0].dataset.normalization if found else None)
            asked = replace(wanted, data=_data(chosen, wanted), normalize=normal)
        dataset = subject.images(one, screen, asked, split=split, limit=limit, device=device)
        found.append(Compared(one, dataset, device))
    first = found[0].dataset
    for other in found[1:]:
        if (other.dataset.name, other.dataset.classes) != (first.name, first.classes):
            raise click.UsageError(
                f"{found[0].name} was trained for {first.name} and {other.name} for {other.dataset.name}; give --data, "
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
    from resnet_probe.tables import Result

    rows: list[dict[str, Any]] = []
    abouts = {}
    for one in networks:
        bench = sweeping.Bench(
            place.options, place.folder, place.device, place.workers, one.subject, one.dataset, one.network, place.quiet
        )
        with bench.sweep(f"lesion_{output.file_name(one.name)}", {}) as how:
            found = lesion.run(one.network, one.dataset, name=one.name, **how)
        rows += found.rows
        abouts[one.name] = one.about()
        if place.workers.rank == 0:
            deleted = [one.network.delete(row["block"]) for row in found.rows[1:]]
            origin = bench.origin(place.seed, deleted)
            abouts[one.name] |= {key: origin[key] for key in ("precision", "against_fp32") if key in origin}
    classes = len(networks[0].dataset.classes)
    return Result("lesion", lesion.COLUMNS, tuple(rows), {"classes": classes}), abouts


def responses(networks: Sequence[Compared], place: Place, layers: str, screen: Console) -> Result | None:
    """The responses of all networks that have such layers, in one table; None if none has."""
    from resnet_probe.analyses import responses as analysis
    from resnet_probe.commands import progress

    tables = []
    for one in networks:
        try:
            analysis.measured_layers(one.network, layers)
        except ValueError as error:
            screen.print(f"note: {one.name} is left out of the responses: {error}")
            continue
        with progress.bar(place.quiet, f"responses of {one.name}") as report:
            found = analysis.run(
                one.network, one.dataset, name=one.name, layers=layers, batch_size=place.options.batch_size or 64,
                device=place.device, seed=place.seed, progress=report,
            )  # fmt: skip
        tables.append(found.layers)
    return analysis.together(tables) if tables else None


def paths(networks: Sequence[Compared], place: Place) -> Result:
    """The path lengths of all networks in one table; statistics stand under their names."""
    from resnet_probe.analyses import paths as analysis
    from resnet_probe.tables import Result

    rows: list[dict[str, Any]] = []
    about = {}
    for one in networks:
        found = analysis.run(analysis.chain_polynomials(one.network), one.name)
        rows += found.rows
        about[one.name] = found.settings
    return Result("paths", analysis.COLUMNS, tuple(rows), {"networks": about})


def measured(networks: Sequence[Compared], place: Place, batches: int | None) -> list[Measured]:
    """Costs of every network, and with `batches` also its times and memory."""
    from resnet_probe.analyses import compare
    from resnet_probe.analyses.compare.memory import peak_memory
    from resnet_probe.commands import progress

    size = place.options.batch_size or DEFAULT_BATCH
    found = []
    for one in networks:
        classes = len(one.dataset.classes)
        known = compare.Measured(one.name, compare.costs(one.network), classes, one.subject.trained)
        if batches is not None:
            model, shape = one.subject.checkpoint.model, one.dataset.input_shape
            how: dict[str, Any] = {"classes": classes, "device": place.device, "seed": place.seed}
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
