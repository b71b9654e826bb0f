"""`resnet-probe paths`: how many paths of each length lead through a network."""

from collections.abc import Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

import rich_click as click

from resnet_probe.commands import options, output

Polynomials = dict[str, Sequence[Sequence[int]]]


@click.command("paths")
@click.option("--depth", type=int, metavar="N", help="A CIFAR ResNet by its depth: 6n+2, or else 9n+2 (bottleneck).")
@options.arch
@options.ckpt
@options.out
@options.formats
@options.quiet
def command(
    *, depth: int | None, arch: str | None, ckpt: Path | None, out: Path | None, formats: Sequence[str], quiet: bool
) -> None:
    """Count the paths of each length through a network, exactly (Veit et al. 2016, Fig. 6a).

    Lengths are counted in modules (residual branches on the path) and in layers (convolutions and linear
    layers on the path). Writes paths.csv, paths.json and the figure.

    Give --depth, which takes no time, or --arch or --ckpt, whose network is traced. With --ckpt, --arch
    settles what the weights leave open.
    """
    if (depth is None) == (arch is None and ckpt is None):
        given = "--depth together with --arch or --ckpt" if depth is not None else "no network"
        raise click.UsageError(f"{given} given; give one of --depth N, --arch NAME or --ckpt FILE")
    if depth is not None:
        name, polynomials, about = _from_depth(depth)
    else:
        name, polynomials, about = _traced(arch, ckpt)
    folder = output.run_folder(out, "paths", name)

    from resnet_probe.analyses import paths
    from resnet_probe.results import provenance

    result = paths.run(polynomials, name).with_settings(
        provenance(arguments=options.arguments(), command=options.command_line(), **about)
    )
    files = output.write(result, [("paths", paths.plot(result))], folder, formats)

    found = result.settings["statistics"]
    total = found["module"]["total"]
    facts = [("paths", _exactly(total))]
    facts += [(f"in {unit}s", _described(found[unit])) for unit in paths.UNITS]
    facts += [("note", note) for note in about["notes"]]
    facts.append(("written", output.listing(files)))
    output.summarise(output.console(quiet), name, facts)


def _from_depth(depth: int) -> tuple[str, Polynomials, dict[str, Any]]:
    """Name, polynomials by unit and settings of a CIFAR ResNet; nothing is built."""
    from resnet_probe.analyses import paths

    network = paths.cifar_resnet(depth)
    about = {"blocks": network.blocks, "block": network.block, "notes": [network.note] if network.note else []}
    return f"resnet{depth}", {unit: paths.resnet_polynomials(depth, unit) for unit in paths.UNITS}, about


def _traced(arch: str | None, ckpt: Path | None) -> tuple[str, Polynomials, dict[str, Any]]:
    """The same of a network that is built and unraveled."""
    from resnet_probe.commands import subject

    loaded = subject.load(ckpt, arch)
    units = subject.unraveled(loaded).units
    polynomials: Polynomials = {
        "module": [unit.plan.module_polynomial for unit in units],
        "layer": [unit.plan.layer_polynomial for unit in units],
    }
    return loaded.name, polynomials, loaded.provenance()


def _exactly(total: int) -> str:
    """The number of paths in full where that can be read, and as a power of two where it is one."""
    if total == 1:
        return "1: no residual block or parallel branch, so there is one way through"
    full = f"{total:,}" if total < 10**45 else f"about {Decimal(total):.3e} (all digits in paths.json)"
    return f"2^{total.bit_length() - 1} = {full}" if total & (total - 1) == 0 else full


def _described(found: dict[str, Any]) -> str:
    if found["std"] == 0:
        return f"all of length {found['mode']}"
    return (
        f"mean {found['mean']:.6g}, std {found['std']:.4g}, mode {found['mode']},"
        f" central 95 % interval {found['low']} to {found['high']} (holds {100 * found['inside']:.2f} %)"
    )
