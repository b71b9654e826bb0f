"""The networks that `resnet-probe paths` is about: by depth, by name, from checkpoints, and what remains of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import rich_click as click

if TYPE_CHECKING:
    from resnet_probe.commands.subject import Subject
    from resnet_probe.unraveled import UnraveledNetwork

Polynomials = Mapping[str, Sequence[Sequence[int]]]


@dataclass(frozen=True)
class PathNetwork:
    """A network to count the paths of.

    Attributes:
        name: for tables and figures.
        polynomials: by unit of length, one per step of the chain.
        blocks: residual blocks that are there.
        network: the chain, or None for a network given by its depth.
        subject: where its weights come from, or None.
        about: settings worth keeping.
        notes: what was decided on the way.
        intact: the network that blocks were deleted from, if any were.
        deleted: their names.
    """

    name: str
    polynomials: Polynomials
    blocks: int
    network: UnraveledNetwork | None = None
    subject: Subject | None = None
    about: Mapping[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    intact: PathNetwork | None = None
    deleted: tuple[str, ...] = ()


def from_depth(depth: int) -> PathNetwork:
    """A CIFAR ResNet; nothing is built, and torch is not needed."""
    from resnet_probe.analyses import paths

    network = paths.cifar_resnet(depth)
    polynomials = {unit: paths.resnet_polynomials(depth, unit) for unit in paths.UNITS}
    about = {"blocks": network.blocks, "block": network.block}
    notes = (network.note,) if network.note else ()
    return PathNetwork(f"resnet{depth}", polynomials, network.blocks, about=about, notes=notes)


def subjects(ckpts: Sequence[Path], arch: str | None, *, untrained: bool) -> list[Subject]:
    """The networks of all checkpoints (or of `arch`), each followed by itself with random weights if `untrained`.

    Raises:
        click.UsageError: `untrained` without a checkpoint.
        ValueError, LookupError: as `checkpoint.load` and `models.resolve`.
    """
    from dataclasses import replace

    from resnet_probe import checkpoint
    from resnet_probe.commands import subject

    if untrained and not ckpts:
        raise click.UsageError("--untrained without --ckpt given; --arch NAME alone is an untrained network")
    found = [subject.load(path, arch) for path in ckpts] if ckpts else [subject.load(None, arch)]
    if untrained:
        twins: list[Subject] = []
        for each in found:
            twin = checkpoint.untrained(each.checkpoint.arch)
            if (twin.num_classes, twin.in_channels) != (each.checkpoint.num_classes, each.checkpoint.in_channels):
                raise click.UsageError(
                    f"{each.name} has other classes or channels than {each.checkpoint.arch} has by default, so no "
                    "untrained network can be set beside it; leave --untrained out"
                )
            twins.append(subject.Subject(replace(twin, name=f"{each.name} untrained"), trained=False))
        found = [each for pair in zip(found, twins, strict=True) for each in pair]
    return distinct(found, ckpts)


def traced(subject: Subject, shape: tuple[int, ...] | None = None, device: str = "cpu") -> PathNetwork:
    """The network as a chain of units, for images of `shape` or of the size it is made for."""
    from resnet_probe.analyses import paths
    from resnet_probe.commands.subject import unraveled

    network = unraveled(subject, shape, device)
    return PathNetwork(
        subject.name, paths.chain_polynomials(network), len(network.blocks), network, subject,
        about=subject.provenance(), notes=subject.checkpoint.notes,
    )  # fmt: skip


def lesioned(intact: PathNetwork, names: Sequence[str]) -> PathNetwork:
    """The network without some of its blocks.

    Raises:
        LookupError: it has no block of that name.
    """
    from dataclasses import replace

    from resnet_probe.analyses import paths

    names = tuple(dict.fromkeys(names))
    what = ", ".join(names) if len(names) < 3 else f"{len(names)} blocks"
    label = f"{intact.name} without {what}"
    if intact.network is None:
        known = _names_by_depth(intact.blocks)
        for name in names:
            if name not in known:
                raise LookupError(f"no block named {name!r} in {intact.name}; blocks are {known[0]} to {known[-1]}")
        polynomials = {
            unit: list(paths.resnet_polynomials(int(intact.name.removeprefix("resnet")), unit)) for unit in paths.UNITS
        }
        for unit, chain in polynomials.items():
            first = 1 if unit == "layer" else 0  # the convolution before the blocks
            for name in names:
                chain[first + known.index(name)] = (1,)
        return replace(intact, name=label, polynomials=polynomials, blocks=intact.blocks - len(names), intact=intact,
                       deleted=names)  # fmt: skip
    network = intact.network.delete(*names)
    gone = sum(unit.name in names for unit in intact.network.blocks)
    return replace(
        intact, name=label, polynomials=paths.chain_polynomials(network), blocks=intact.blocks - gone,
        network=network, intact=intact, deleted=names,
    )  # fmt: skip


def _names_by_depth(blocks: int) -> list[str]:
    """A CIFAR ResNet has three equal stages."""
    return [f"layer{stage}.{block}" for stage in (1, 2, 3) for block in range(blocks // 3)]


def distinct(found: list[Subject], ckpts: Sequence[Path]) -> list[Subject]:
    """Checkpoints of the same file name are told apart by their folders."""
    from dataclasses import replace

    names = [each.name for each in found]
    if len(set(names)) == len(names):
        return found
    folders = [path.resolve().parent.name for path in ckpts for _ in range(len(found) // len(ckpts))]
    result = [
        replace(each, checkpoint=replace(each.checkpoint, name=f"{folder}/{each.name}"))
        for each, folder in zip(found, folders, strict=True)
    ]
    if len({each.name for each in result}) < len(result):
        raise click.UsageError("the same checkpoint given twice; give each --ckpt once")
    return result
