"""The blocks of a network as a graph: for pictures, and for other programs as GraphML or JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from resnet_probe.files import write_text

if TYPE_CHECKING:
    import networkx as nx

    from resnet_probe.tables import Result
    from resnet_probe.unraveled import UnraveledNetwork

SOURCE = "input"


def anatomy_graph(network: UnraveledNetwork, values: Mapping[str, float] | None = None) -> nx.DiGraph:
    """The chain of a network as a directed graph, in which every path is one of the network's paths.

    A residual block is two nodes: its branch, under the block's name, and the addition, `<name> +`. From the value
    before it lead one edge to the branch and one, the shortcut, to the addition. Any other unit is one node; a unit
    with parallel branches inside (Inception, DenseNet) says in `paths` how many ways lead through it. The step of a
    deleted unit is a node of kind `deleted`.

    Args:
        network: the chain as it stands.
        values: a number per unit to keep with its node, such as the error after deleting it.

    Returns:
        Graph with node attributes `kind` (`input`, `block`, `add`, `layer`, `parallel`, `other`, `deleted`), `stage`,
        `shape` (of what the unit yields), `shortcut`, `paths`, `parameters` and, where known, `value`; edges have
        `part`: `branch`, `shortcut` or `trunk`.
    """
    import networkx as nx  # noqa: PLC0415 - slow to import, and only needed here

    graph: nx.DiGraph = nx.DiGraph()
    graph.add_node(SOURCE, kind="input", stage=0, shape=_shape(network.input_shape), paths="1")
    before = SOURCE
    blocks = {unit.name for unit in network.blocks}
    for step in network.steps:
        unit = network.units[step.unit]
        plan = unit.plan
        splits = unit.name in blocks and step.mode == "whole"
        kind = "deleted" if step.mode in ("shortcut", "bypass") else "block" if splits else plan.kind
        about: dict[str, Any] = {
            "kind": "other" if kind == "block" and not splits else kind,
            "stage": plan.stage,
            "shape": _shape(plan.out_shape),
            "shortcut": plan.shortcut,
            "paths": str(sum(plan.module_polynomial) if step.mode == "whole" and not splits else 1),
            "parameters": unit.parameters,
        }
        if values and unit.name in values:
            about["value"] = float(values[unit.name])
        graph.add_node(unit.name, **about)
        if not splits:
            graph.add_edge(before, unit.name, part="trunk")
            before = unit.name
            continue
        addition = f"{unit.name} +"
        graph.add_node(addition, kind="add", stage=plan.stage, shape=_shape(plan.out_shape), paths="1")
        graph.add_edge(before, unit.name, part="branch")
        graph.add_edge(unit.name, addition, part="branch")
        graph.add_edge(before, addition, part="shortcut")
        before = addition
    return graph


def write_graph(graph: nx.DiGraph, folder: Path, name: str = "anatomy") -> list[Path]:
    """Write a graph as `<name>.graphml` and as `<name>.graph.json` (networkx's node-link form).

    Returns:
        The paths of both files.

    Raises:
        OSError: the folder cannot be written to.
    """
    import networkx as nx  # noqa: PLC0415

    folder.mkdir(parents=True, exist_ok=True)
    contents = {
        folder / f"{name}.graphml": "\n".join(nx.generate_graphml(graph)) + "\n",
        folder / f"{name}.graph.json": json.dumps(nx.node_link_data(graph, edges="edges"), indent=1) + "\n",
    }
    for path, content in contents.items():
        write_text(path, content)
    return list(contents)


def values_by_unit(result: Result, column: str) -> dict[str, float]:
    """A number per unit from another table, to colour blocks by.

    Args:
        result: a table with a column of unit names: `block`, `unit` or `layer`.
        column: the column with the numbers; rows without one are left out, and so are rows that name no unit.

    Raises:
        LookupError: there is no such column, or none that names units.
        ValueError: the column holds no numbers, or a unit occurs twice.
    """
    named = next((name for name in ("block", "unit", "layer") if name in result.columns), None)
    if named is None:
        raise LookupError(f"table {result.name} names no units; it needs a column block, unit or layer")
    if column not in result.columns:
        raise LookupError(f"table {result.name} has no column {column!r}; choose one of {', '.join(result.columns)}")
    values: dict[str, float] = {}
    for row in result.rows:
        if isinstance(row[column], bool) or not isinstance(row[column], int | float):
            continue
        name = str(row[named])
        if name in values:
            raise ValueError(f"table {result.name} has several rows for {name}; give a table with one row per unit")
        values[name] = float(row[column])
    if not values:
        raise ValueError(f"column {column!r} of table {result.name} holds no numbers, so it gives no colours")
    return values


def _shape(shape: tuple[int, ...]) -> str:
    return "x".join(map(str, shape))
