"""`resnet-probe paths`: the paths through a network, and the gradient that each length of them carries."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import rich_click as click

from resnet_probe.commands import options, output, path_gradients, path_networks
from resnet_probe.commands.path_networks import PathNetwork
from resnet_probe.commands.sweeping import memory_size

if TYPE_CHECKING:
    from rich.console import Console

    from resnet_probe.data import Data
    from resnet_probe.tables import Result


@dataclass(frozen=True)
class _Look:
    """Which images to measure gradients on, if any."""

    data: str | None
    data_root: Path | None
    normalize: str | None
    seed: int
    split: str
    limit: int | None


@click.command("paths")
@click.option("--depth", type=int, metavar="N", help="A CIFAR ResNet by its depth: 6n+2, or else 9n+2 (bottleneck).")
@options.arch
@click.option(
    "--ckpt",
    "ckpts",
    multiple=True,
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Checkpoint; several are drawn together.",
)
@click.option("--untrained", is_flag=True, help="Set beside each checkpoint the same network with random weights.")
@click.option("--delete", "deleted", multiple=True, metavar="BLOCK[,BLOCK...]", help="Blocks to delete.")
@options.data
@options.data_root
@options.split
@options.limit
@options.normalize
@click.option(
    "--samples",
    type=click.IntRange(min=0),
    default=1000,
    show_default=True,
    metavar="N",
    help="Sampled paths of each length, spread over the images; 0 for the exact classes alone.",
)
@click.option(
    "--batch-norm",
    type=click.Choice(("eval", "train")),
    default="eval",
    show_default=True,
    help="Statistics: the running ones, or each batch's own.",
)
@options.batch_size
@click.option("--memory", callback=memory_size, metavar="SIZE", help="Memory that may be used, such as 800M.  [2G]")
@click.option("--draw", is_flag=True, help="Draw the unraveled network and its blocks; export the graph.")
@click.option("--colour", metavar="TABLE.csv:COLUMN", help="With --draw: colour the blocks by another table.")
@options.device
@options.seed
@options.out
@options.formats
@options.quiet
def command(
    *,
    depth: int | None,
    arch: str | None,
    ckpts: Sequence[Path],
    untrained: bool,
    deleted: Sequence[str],
    data: str | None,
    data_root: Path | None,
    split: str,
    limit: int | None,
    normalize: str | None,
    samples: int,
    batch_norm: str,
    batch_size: int | None,
    memory: int | None,
    draw: bool,
    colour: str | None,
    device: str,
    seed: int,
    out: Path | None,
    formats: Sequence[str],
    quiet: bool,
) -> None:
    """Count the paths of each length through a network, exactly, and measure the gradient they carry.

    Lengths (Veit et al. 2016, Fig. 6a) are counted in modules (residual branches on the path) and in layers
    (convolutions and linear layers on the path). Writes paths.csv, paths.json and the figure. Give --depth, which
    takes no time, or --arch or --ckpt, whose network is traced. With --ckpt, --arch settles what the weights leave
    open.

    With --data the gradient is split by path length as well (Figs. 6b and 6c): exactly, for all paths of a length
    together, and for single paths drawn at random. Writes gradients.csv, gradients.json and the figure.
    """
    _check_use(depth, arch, ckpts, data=data, draw=draw, colour=colour)
    screen = output.console(quiet)
    datasets: list[Data] = []
    look = _Look(data, data_root, normalize, seed, split, limit)
    if depth is not None:
        intact, where = [path_networks.from_depth(depth)], "cpu"
    else:
        intact, datasets, where = _load(ckpts, arch, look, screen, untrained=untrained, device=device, out=out)
    names = [name.strip() for group in deleted for name in group.split(",") if name.strip()]
    networks = [each for one in intact for each in ((one, path_networks.lesioned(one, names)) if names else (one,))]
    folder = output.run_folder(out, "paths", intact[0].name)

    settings = _settings(intact, datasets, seed, where)
    lengths, files = _count(networks, settings, folder, formats)
    if draw:
        files += _draw(networks, colour, folder, formats, lengths.origin())
    told = {each.name: _lengths(_statistics(lengths, each)) for each in networks}
    if names:
        survival, more = _survive(networks, settings, folder, formats)
        files += more
        for each in networks:
            told[each.name] += path_gradients.lesion_facts(each, survival) if each.intact else []
    if datasets:
        images = [found for found in datasets for _ in range(2 if names else 1)]
        gradients = path_gradients.measure(
            list(zip(networks, images, strict=True)), samples=samples, seed=seed, batch_size=batch_size,
            batch_norm=batch_norm, memory=memory, device=where, quiet=quiet,
        ).with_settings(settings)  # fmt: skip
        files += path_gradients.write(gradients, folder, formats)
        for each in networks:
            told[each.name] += path_gradients.facts(gradients, each.name)
    else:
        for each in intact:
            told[each.name] += [("note", note) for note in each.notes]
    if data is None and ckpts:
        told[networks[-1].name].append(("gradients", "not measured; give images, such as --data cifar10 --split train"))
    told[networks[-1].name].append(("written", output.listing(files)))
    for each in networks:
        output.summarise(screen, each.name, told[each.name])


def _check_use(
    depth: int | None, arch: str | None, ckpts: Sequence[Path], *, data: str | None, draw: bool, colour: str | None
) -> None:
    """Refuse options that do not go together."""
    if (depth is None) == (arch is None and not ckpts):
        given = "--depth together with --arch or --ckpt" if depth is not None else "no network"
        raise click.UsageError(f"{given} given; give one of --depth N, --arch NAME or --ckpt FILE")
    if depth is not None and data is not None:
        raise click.UsageError("--depth names no weights, so there is no gradient; give --ckpt FILE with --data")
    if colour is not None and (not draw or depth is not None):
        raise click.UsageError("--colour without a network to draw; give --draw and --ckpt FILE or --arch NAME")


def _load(
    ckpts: Sequence[Path],
    arch: str | None,
    look: _Look,
    screen: Console,
    *,
    untrained: bool,
    device: str,
    out: Path | None,
) -> tuple[list[PathNetwork], list[Data], str]:
    """Networks and, where images are wanted, those of each; and the device."""
    from resnet_probe.commands import subject

    chosen = path_networks.subjects(ckpts, arch, untrained=untrained)
    if look.data is None:
        return [path_networks.traced(each) for each in chosen], [], "cpu"
    output.run_folder(out, "paths", chosen[0].name)  # a long run should not fail at its end
    where = subject.pick_device(device)
    datasets: list[Data] = []
    for each in chosen:
        # an untrained twin sees what its checkpoint sees
        normalize = datasets[-1].normalization if untrained and not each.trained else look.normalize
        wanted = subject.Wanted(look.data, look.data_root, normalize, look.seed)
        datasets.append(subject.images(each, screen, wanted, split=look.split, limit=look.limit, device=where))
    networks = [
        path_networks.traced(each, found.input_shape, where) for each, found in zip(chosen, datasets, strict=True)
    ]
    return networks, datasets, where


def _settings(intact: Sequence[PathNetwork], datasets: Sequence[Data], seed: int, where: str) -> dict[str, Any]:
    from resnet_probe.commands.subject import described
    from resnet_probe.tables import provenance

    about = {key: value for key, value in intact[0].about.items() if key != "notes"}
    if len(intact) > 1:
        hashes = [each.about.get("checkpoint_sha256") for each in intact]
        about = {
            "checkpoint_sha256": " ".join(found for found in hashes if found) or None,
            "checkpoints": {each.name: dict(each.about) for each in intact},
        }
    if datasets:
        about |= {"seed": seed, "device": where, "data_fingerprint": datasets[0].fingerprint}
        about["data_set"] = described(datasets[0])
        about["normalization"] = ", ".join(dict.fromkeys(each.normalization for each in datasets))
    return provenance(arguments=options.arguments(), command=options.command_line(), **about)


def _count(
    networks: Sequence[PathNetwork], settings: Mapping[str, Any], folder: Path, formats: Sequence[str]
) -> tuple[Result, list[Path]]:
    """Table and figure of path lengths; of several networks the statistics stand under their names."""
    from resnet_probe.analyses import paths
    from resnet_probe.tables import Result

    counted = {each.name: paths.run(each.polynomials, each.name) for each in networks}
    rows = tuple(row for result in counted.values() for row in result.rows)
    first = counted[networks[0].name]
    found = {"networks": {name: result.settings for name, result in counted.items()}}
    about = first.settings if len(networks) == 1 else found
    lengths = Result("paths", paths.COLUMNS, rows, about).with_settings(settings)
    return lengths, output.write(lengths, [("paths", paths.plot(lengths))], folder, formats)


def _statistics(lengths: Result, each: PathNetwork) -> dict[str, Any]:
    """What `_count` found of one network."""
    about = lengths.settings.get("networks", {}).get(each.name, lengths.settings)
    return dict(about["statistics"])


def _survive(
    networks: Sequence[PathNetwork], settings: Mapping[str, Any], folder: Path, formats: Sequence[str]
) -> tuple[Result, list[Path]]:
    """Table of the paths that a deletion leaves, and its figure where there are blocks."""
    from resnet_probe.analyses import paths
    from resnet_probe.tables import Result

    rows: list[dict[str, Any]] = []
    for each in networks:
        before = each.intact
        if before is not None:
            gone = before.blocks - each.blocks
            rows += paths.run_survival(
                before.polynomials, each.polynomials, name=each.name, blocks=before.blocks, deleted=gone
            ).rows
    survival = Result("survival", paths.SURVIVAL_COLUMNS, tuple(rows), {}).with_settings(settings)
    return survival, output.write(survival, [("survival", paths.plot_survival(survival))], folder, formats)


def _draw(
    networks: Sequence[PathNetwork], colour: str | None, folder: Path, formats: Sequence[str], origin: Mapping[str, str]
) -> list[Path]:
    """The unraveled view where it is small enough, and the anatomy of a network that is there."""
    from resnet_probe.analyses import paths
    from resnet_probe.figures import save

    first = networks[0]
    small = 1 <= first.blocks <= paths.MOST_DRAWN
    if first.network is None and not small:
        paths.draw_unraveled(first.blocks)  # says why it cannot be drawn
    files: list[Path] = []
    if small:
        files += save(paths.draw_unraveled(first.blocks, first.name), folder, "unraveled", formats, metadata=origin)
    if first.network is not None:
        values, column = _colours(colour)
        for number, each in enumerate(networks):
            assert each.network is not None
            name = "anatomy" if not number else f"anatomy-{number + 1}"
            graph = paths.anatomy_graph(each.network, values)
            if values and not any("value" in data for _, data in graph.nodes(data=True)):
                raise click.UsageError(
                    f"none of the units in {colour} is one of {each.name}; give a table of this network"
                )
            figure = paths.draw_anatomy(graph, name=each.name, column=column)
            files += [*save(figure, folder, name, formats, metadata=origin), *paths.write_graph(graph, folder, name)]
    return files


def _colours(colour: str | None) -> tuple[dict[str, float] | None, str]:
    if colour is None:
        return None, ""
    from resnet_probe.analyses import paths
    from resnet_probe.tables import read

    table, _, column = colour.rpartition(":")
    path = Path(table)
    if not table or path.suffix != ".csv" or not path.is_file():
        raise click.UsageError(
            f"--colour {colour}: give a table and a column, such as results/lesion-x/lesion.csv:error"
        )
    units = {"error": "error after deletion (%)", "loss": "loss after deletion (nats)"}
    what = units.get(column, column.replace("_", " ")) if path.stem == "lesion" else column.replace("_", " ")
    return paths.values_by_unit(read(path.parent, path.stem), column), what


def _lengths(found: Mapping[str, Any]) -> list[tuple[str, str]]:
    return [
        ("paths", _exactly(found["module"]["total"])),
        *((f"in {unit}s", _described(found[unit])) for unit in found),
    ]


def _exactly(total: int) -> str:
    """The number of paths in full where that can be read, and as a power of two where it is one."""
    if total == 1:
        return "1: no residual block or parallel branch, so there is one way through"
    full = f"{total:,}" if total < 10**45 else f"about {Decimal(total):.3e} (all digits in paths.json)"
    return f"2^{total.bit_length() - 1} = {full}" if total & (total - 1) == 0 else full


def _described(found: Mapping[str, Any]) -> str:
    if found["std"] == 0:
        return f"all of length {found['mode']}"
    return (
        f"mean {found['mean']:.6g}, std {found['std']:.4g}, mode {found['mode']},"
        f" central 95 % interval {found['low']} to {found['high']} (holds {100 * found['inside']:.2f} %)"
    )
