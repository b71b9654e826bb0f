"""What a network is made of: its units with stage, shortcut, shapes, parameters, multiply-adds and paths."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from resnet_probe.analyses import columns as c
from resnet_probe.analyses.declaration import Analysis, Claim, Column, Fact, Needs, Table

if TYPE_CHECKING:
    from resnet_probe.tables import Result
    from resnet_probe.unraveled import Unit, UnraveledNetwork

KINDS = {"block": "residual blocks", "layer": "layers", "parallel": "parallel regions", "other": "without weights"}

INSPECT = Table(
    "inspect", "Units",
    (
        c.NETWORK,
        Column("unit", str, "path of the unit in the network"),
        Column("kind", str, "`block` (each residual block, and only those), `layer`, `parallel` or `other`"),
        c.INDEX,
        c.STAGE,
        Column("shortcut", str, "of a block: `identity`, `zero-pad`, `conv1x1`, ..."),
        c.RESIZES,
        Column("in_shape", str, "of one input, without the batch"),
        Column("out_shape", str, "of its output"),
        Column("parameters", int, "learned values; those that several units share are counted in each of them"),
        Column("multiply_adds", int, "for one input", heading="multiply-adds"),
        Column("layers", int, "learned layers on the longest path through it"),
        Column("paths", int, "paths through it, in layers"),
        Column("branches", str, "names of parallel branches"),
        Column("inside", str, "of a block that is no link of the chain: the unit that it is a part of"),
    ),
    question="What is the network made of?",
    facts="resnet_probe.analyses.inspect:facts",
    headline="parameters",
    claims=(
        Claim(
            1, "Number of parameters of a CIFAR ResNet", "by depth",
            "He et al. 2015 (arXiv 1512.03385), section 4.2 and Table 6; computed",
            "resnet_probe.claims.sizes:parameters",
        ),
    ),
    printed=("unit", "kind", "stage", "shortcut", "out_shape", "parameters", "multiply_adds", "paths", "branches"),
)  # fmt: skip

ANALYSIS = Analysis(
    "inspect",
    help="List units, blocks, stages, parameters and paths.",
    needs=Needs(images="none"),
    tables=(INSPECT,),
    command="resnet_probe.commands.inspect:command",
)


def run(network: UnraveledNetwork, *, name: str) -> Result:
    """One row per unit, from input to output.

    Parameters that several units share are counted in each of them; the settings hold the network's own total.

    Args:
        network: the unraveled network; if its weights are on the meta device, nothing is computed but shapes.
    """
    from resnet_probe.anatomy import tensors_in  # noqa: PLC0415
    from resnet_probe.anatomy.multiply_adds import counted  # noqa: PLC0415 - importing this module must not import torch

    order = {unit.name: i for i, unit in enumerate(network.surgical)}
    x = network.zeros(1)
    rows = []
    for unit in network.units:
        before = x
        x, multiply_adds = counted(unit.module(), before)
        rows.append({"network": name, **_row(unit, order), "multiply_adds": multiply_adds})
        if unit is network.units[0]:
            rows[0]["in_shape"] = ", ".join(_by(tuple(tensor.shape[1:])) for tensor in tensors_in(before))
        for block in (each for each in network.blocks if each.plan.inside == unit.name):
            _, without = counted(unit.module(factors=((block.name, 0.0),)), before)
            rows.append({"network": name, **_row(block, order), "multiply_adds": multiply_adds - without})
    total = sum(p.numel() for p in network.anatomy.traced.module.parameters())
    others = Counter(each.reason for each in network.anatomy.sums.values() if each.reason)
    others |= Counter({"a way around other blocks": sum(bool(each.holds) for each in network.anatomy.sums.values())})
    unseen: dict[str, Any] = {
        "other_sums": {k: n for k, n in others.items() if n},
        "unopened": network.anatomy.unopened,
    }
    if (traced := network.anatomy.traced).way == "export":
        unseen["traced"] = {"way": "export", "why": traced.why}
    known = {name: found for name, found in unseen.items() if found}
    return INSPECT.result(rows, parameters=total, blocks=len(network.blocks), **known)


def _row(unit: Unit, order: dict[str, int]) -> dict[str, Any]:
    plan = unit.plan
    return {
        "unit": plan.name,
        "kind": plan.kind,
        "index": order.get(plan.name),
        "stage": plan.stage,
        "shortcut": plan.shortcut or None,
        "resizes": plan.resizes,
        "in_shape": _by(plan.in_shape),
        "out_shape": _by(plan.out_shape),
        "parameters": unit.parameters,
        "layers": len(plan.layer_polynomial) - 1,
        "paths": sum(plan.layer_polynomial),
        "branches": ", ".join(plan.branches) or None,
        "inside": plan.inside or None,
    }


def _by(shape: tuple[int, ...]) -> str:
    return "x".join(map(str, shape))


def facts(table: Result, network: str) -> list[Fact]:
    """Totals: the input, units by kind, residual blocks, parameters, multiply-adds."""
    rows = table.of(network)
    counts = {kind: sum(row["kind"] == kind and not row.get("inside") for row in rows) for kind in KINDS}
    blocks = [row for row in rows if row["kind"] == "block"]
    resizing, stages = sum(bool(row["resizes"]) for row in blocks), max(row["stage"] for row in rows)
    about = table.about(network)
    chain = [row for row in rows if not row.get("inside")]
    total = about.get("parameters", sum(row["parameters"] for row in chain))
    adds = sum(row["multiply_adds"] for row in chain)
    kinds = ", ".join(f"{count} {KINDS[kind]}" for kind, count in counts.items() if count)
    return [
        Fact("input", rows[0]["in_shape"].replace("x", " x ")),
        Fact("units", f"{len(chain)}: {kinds}", len(chain)),
        Fact(
            "residual blocks",
            f"{len(blocks)} in {stages} stage{'s' * (stages > 1)}, {resizing} of which resize" if blocks else "none",
            len(blocks),
        ),
        Fact("parameters", f"{total:,}", total),
        Fact("multiply-adds", f"{adds:,} for one input", adds),
        *_unseen(about),
    ]


def _unseen(about: Mapping[str, Any]) -> list[Fact]:
    """How it was traced if not with torch.fx, sums that are no residual blocks, and modules that were not opened."""
    found = []
    if traced := about.get("traced"):
        found.append(Fact("traced with", ": ".join(filter(None, ("torch.export", traced["why"])))))
    if others := about.get("other_sums"):
        text = "; ".join(f"{count} x {reason}" for reason, count in others.items())
        found.append(Fact("other sums", text, sum(others.values())))
    if closed := about.get("unopened"):
        parameters = sum(closed.values())
        names = ", ".join(list(closed)[:3]) + (", ..." if len(closed) > 3 else "")
        text = f"{parameters:,} parameters in {len(closed)} modules are not opened: {names}"
        found.append(Fact("not opened", text, parameters))
    return found
