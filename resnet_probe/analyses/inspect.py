"""What a network is made of: its units with stage, shortcut, shapes, parameters, multiply-adds and paths."""

from __future__ import annotations

from typing import TYPE_CHECKING

from resnet_probe.tables import Result

if TYPE_CHECKING:
    from resnet_probe.unraveled import UnraveledNetwork

__all__ = ["COLUMNS", "run"]

COLUMNS = (
    *("network", "unit", "kind", "index", "stage", "shortcut", "resizes", "in_shape", "out_shape"),
    *("parameters", "multiply_adds", "layers", "paths", "branches"),
)


def run(network: UnraveledNetwork, *, name: str) -> Result:
    """One row per unit, from input to output.

    Columns: `index` counts units of surgery from 0; `shortcut` of a block is `identity`, `zero-pad`, `conv1x1`, ...;
    shapes are without the batch dimension; `multiply_adds` are for one input (see `counting`); `layers` is the
    number of learned layers on the longest path through the unit; `paths` the number of paths through it. Parameters
    that several units share are counted in each of them; the settings hold the network's own total.

    Args:
        network: the unraveled network; if its weights are on the meta device, nothing is computed but shapes.
        name: name of the network in the table.
    """
    import torch  # noqa: PLC0415 - importing this module must not import torch

    from resnet_probe.anatomy.multiply_adds import counted  # noqa: PLC0415

    order = {unit.name: i for i, unit in enumerate(network.surgical)}
    traced = network.anatomy.traced.module
    like = next(traced.parameters(), torch.empty(0))
    x = torch.zeros((1, *network.input_shape), dtype=like.dtype, device=like.device)
    rows = []
    for unit in network.units:
        x, multiply_adds = counted(unit.module(), x)
        plan = unit.plan
        rows.append(
            {
                "network": name,
                "unit": plan.name,
                "kind": plan.kind,
                "index": order.get(plan.name),
                "stage": plan.stage,
                "shortcut": plan.shortcut or None,
                "resizes": plan.resizes,
                "in_shape": _by(plan.in_shape),
                "out_shape": _by(plan.out_shape),
                "parameters": unit.parameters,
                "multiply_adds": multiply_adds,
                "layers": len(plan.layer_polynomial) - 1,
                "paths": sum(plan.layer_polynomial),
                "branches": ", ".join(plan.branches) or None,
            }
        )
    total = sum(p.numel() for p in traced.parameters())
    return Result("inspect", COLUMNS, tuple(rows), {"parameters": total, "blocks": len(network.blocks)})


def _by(shape: tuple[int, ...]) -> str:
    return "x".join(map(str, shape))
