"""The paths of one network, intact and with blocks deleted, and the gradient they carry."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

from resnet_probe.analyses.paths import Parameters
from resnet_probe.analyses.paths.cifar import cifar_resnet, resnet_polynomials
from resnet_probe.analyses.paths.deletion import chain_polynomials, run_survival
from resnet_probe.analyses.paths.lengths import UNITS
from resnet_probe.analyses.paths.table import counted
from resnet_probe.tables import Result, together

if TYPE_CHECKING:
    from resnet_probe.analyses.runtime import Runtime
    from resnet_probe.analyses.subject import Subject
    from resnet_probe.unraveled import UnraveledNetwork


@dataclass(frozen=True)
class _Chain:
    """A network to count the paths of.

    Attributes:
        name: for tables and figures.
        polynomials: by unit of length, one per step of the chain.
        blocks: residual blocks that are there.
        network: the chain itself, or None for a network given by its depth.
    """

    name: str
    polynomials: Mapping[str, Sequence[Sequence[int]]]
    blocks: int
    network: UnraveledNetwork | None = None


def run(subject: Subject | None, parameters: Parameters, runtime: Runtime | None = None) -> list[Result]:
    """Count the paths of a network by length; with blocks to delete also what is left, with images also gradients.

    Args:
        subject: the network; None for the CIFAR ResNet of `parameters.depth`, for which torch is not needed.

    Returns:
        Table `paths`; with deletions `survival`, where images are given `gradients`. The network without its deleted
        blocks has rows of its own, under the name `NETWORK without BLOCK`.

    Raises:
        LookupError: no block of a name that is to be deleted.
        ValueError: no CIFAR ResNet has the depth; or as `run_gradients`.
        RuntimeError: the classes do not add up to autograd's gradient.
    """
    say = runtime.say if runtime else lambda text: None
    about: dict[str, Any] = {}
    if subject is None:
        assert parameters.depth is not None
        found = cifar_resnet(parameters.depth)
        polynomials = {unit: resnet_polynomials(parameters.depth, unit) for unit in UNITS}
        intact = _Chain(str(parameters.alone), polynomials, found.blocks)
        about["block"] = found.block
        if found.note:
            say(f"note: {found.note}")
    else:
        network = subject.network
        intact = _Chain(subject.name, chain_polynomials(network), len(network.blocks), network)
        if closed := network.anatomy.unopened:
            about["unopened"] = closed
    chains = [intact, *([_lesioned(intact, parameters.deleted)] if parameters.deleted else [])]
    lengths = [counted(each.polynomials, each.name).with_settings({"blocks": each.blocks, **about}) for each in chains]
    tables = [together(lengths)]
    for edited in chains[1:]:
        gone = intact.blocks - edited.blocks
        tables.append(
            run_survival(intact.polynomials, edited.polynomials, name=edited.name, blocks=intact.blocks, deleted=gone)
        )
    if subject is not None and subject.has_data:
        gradients = [_gradients(each, subject, parameters, runtime) for each in chains]
        edits = {"edits": [{"delete": list(parameters.deleted)}]}  # of all chains but the intact one
        tables.append(together([gradients[0], *(table.with_settings(edits) for table in gradients[1:])]))
    elif subject is not None and subject.trained and subject.network.links:
        known = subject.checkpoint.metadata if subject.checkpoint else {}
        name = known["data"] if "format" in known and isinstance(known.get("data"), str) else "cifar10"
        how = f"give them, such as --data {name} --split train"
        say(f"note: gradients of {subject.name} are not measured without images; {how}")
    return tables


def _lesioned(intact: _Chain, names: Sequence[str]) -> _Chain:
    """The network without some of its blocks."""
    what = ", ".join(names) if len(names) < 3 else f"{len(names)} blocks"
    label = f"{intact.name} without {what}"
    if intact.network is not None:
        network = intact.network.delete(*names)
        gone = sum(unit.name in names for unit in intact.network.blocks)
        return _Chain(label, chain_polynomials(network), intact.blocks - gone, network)
    known = [f"layer{stage}.{block}" for stage in (1, 2, 3) for block in range(intact.blocks // 3)]
    for name in names:
        if name not in known:
            raise LookupError(f"no block named {name!r} in {intact.name}; blocks are {known[0]} to {known[-1]}")
    polynomials = {unit: [*chain] for unit, chain in intact.polynomials.items()}
    for unit, chain in polynomials.items():
        first = 1 if unit == "layer" else 0  # the convolution before the blocks
        for name in names:
            chain[first + known.index(name)] = (1,)
    return _Chain(label, polynomials, intact.blocks - len(names))


def _gradients(each: _Chain, subject: Subject, parameters: Parameters, runtime: Runtime | None) -> Result:
    from resnet_probe.analyses.paths.gradients import run_gradients  # noqa: PLC0415 - torch
    from resnet_probe.analyses.runtime import Runtime  # noqa: PLC0415
    from resnet_probe.gradients import BatchNorm, Budget  # noqa: PLC0415

    runtime = runtime or Runtime()
    assert each.network is not None
    subject.tell_inside(runtime.say, "divided into branch and shortcut")
    with runtime.progress(f"gradients of {each.name}") as report:
        return run_gradients(
            each.network, subject.data, name=each.name, samples=parameters.samples, seed=runtime.seed,
            batch_size=runtime.batch_size, batch_norm=cast(BatchNorm, parameters.batch_norm), device=runtime.device,
            budget=Budget() if parameters.memory is None else Budget(parameters.memory), progress=report,
        )  # fmt: skip
