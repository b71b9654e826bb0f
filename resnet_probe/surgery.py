"""Save an edited network: its weights, and the recipe that made it.

The file holds the tensors that the edited network still uses, and in its header the architecture and the edits.
`checkpoint.load` rebuilds the network from it; a recipe beside it says the same to people.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from resnet_probe.checkpoint import Checkpoint, save
from resnet_probe.files import write_text
from resnet_probe.unraveled import UnraveledNetwork

__all__ = ["Exported", "export"]


@dataclass(frozen=True)
class Exported:
    """Files that `export` wrote, and what the edit saved."""

    weights: Path
    recipe: Path
    parameters_before: int
    parameters_after: int


def export(
    source: Checkpoint,
    network: UnraveledNetwork,
    edits: Sequence[Mapping[str, Any]],
    path: str | Path,
    *,
    leaves: Sequence[str] = (),
    trace: Literal["fx", "export"] | None = None,
) -> Exported:
    """Write the edited network as safetensors at `path` and the recipe beside it, as `<stem>.recipe.json`.

    Args:
        source: the checkpoint that was edited.
        network: its unraveled network, before the edits; of a checkpoint that was edited before, its `chain`.
        edits: as `UnraveledNetwork.edit` takes them.
        path: file to write; `.safetensors` is appended if it has another ending.
        leaves: paths of the modules that were kept as one operation when `network` was unraveled.
        trace: the way of tracing that was asked for then.

    Raises:
        LookupError, ValueError: an edit is not possible.
        CheckpointError: the file cannot be written.
    """
    if source.chain is not None and network.anatomy is not source.chain.anatomy:
        raise ValueError(
            f"{source.name} was edited before, and its edits name the units of its chain; give source.chain"
        )
    gone = {network.units[step.unit].name for step in network.steps if step.mode in ("shortcut", "bypass")}
    gone |= {name for step in network.steps for name, factor in step.factors if factor == 0}
    if again := [name for edit in edits for names in edit.values() for name in names if name in gone]:
        raise ValueError(f"{again[0]} was deleted from {source.name} before; `resnet-probe inspect` lists what is left")
    gone = {name for edit in edits for name in edit.get("delete", ())}
    places = {network.units[step.unit].name: place for place, step in enumerate(network.steps)}
    for edit in edits:
        if idle := [name for name in edit.get("scale", {}) if name in gone]:
            raise ValueError(f"{idle[0]} is deleted and scaled; give one of the two")
        if (order := edit.get("reorder")) and order == sorted(set(order), key=lambda name: places.get(name, 0)):
            raise ValueError(f"the blocks {', '.join(order)} are in this order already; give them in another one")
    path = Path(path)
    if path.suffix != ".safetensors":
        path = path.with_name(path.name + ".safetensors")
    edited = network.edit(edits).to_module()
    before, after = source.model.state_dict(), edited.state_dict()
    kept = {name: tensor for name, tensor in before.items() if name in after}
    removed = [name for name in before if name not in after]
    recipe = {
        "arch": source.arch,
        "edits": [*source.metadata.get("edits", []), *map(dict, edits)],
        "source": {"name": source.name, "sha256": source.sha256},
        "input_shape": list(network.input_shape),
        **({"leaves": kept_whole} if (kept_whole := [*source.metadata.get("leaves", []), *leaves]) else {}),
        **({"trace": way} if (way := trace or source.metadata.get("trace")) else {}),
    }
    described = {k: v for k, v in source.metadata.items() if k in ("normalize", "data", "recipe", "input_size")}
    described.setdefault("input_size", network.input_shape[-1])
    removed = [*source.metadata.get("removed", []), *removed]
    named = {"names": dict(source.names)} if source.names else {}
    save(path, kept, arch=source.arch, metadata={**described, **recipe, **named, "removed": removed})
    counts = [sum(p.numel() for p in model.parameters()) for model in (source.model, edited)]
    recipe_path = path.with_suffix(".recipe.json")
    text = json.dumps({**recipe, "parameters": {"before": counts[0], "after": counts[1]}}, indent=2)
    write_text(recipe_path, text + "\n")
    return Exported(path, recipe_path, *counts)
