"""The files of `--draw`: the unraveled view, the blocks of each network, and its graph."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from resnet_probe.analyses.paths import Parameters
from resnet_probe.tables import Result, read

if TYPE_CHECKING:
    from resnet_probe.analyses.subject import Subject

UNITS = {"error": "error after deletion (%)", "loss": "loss after deletion (nats)"}


def draw(
    subjects: Sequence[Subject], parameters: Parameters, folder: Path, formats: Sequence[str], tables: Sequence[Result]
) -> list[Path]:
    """Draw the unraveled view where it is small enough, and the anatomy of each network that is there.

    Raises:
        ValueError: the network is too large to be drawn and there is no anatomy, or the colours are of another one.
    """
    if not parameters.draw:
        return []
    from resnet_probe.analyses.paths.graph import anatomy_graph, values_by_unit, write_graph  # noqa: PLC0415
    from resnet_probe.analyses.paths.picture import MOST_DRAWN, draw_anatomy, draw_unraveled  # noqa: PLC0415
    from resnet_probe.figures import save  # noqa: PLC0415

    chains = []  # as the networks of the table: each intact, then without its deleted blocks
    for subject in subjects:
        chains.append(subject.network)
        if parameters.deleted:
            chains.append(subject.network.delete(*parameters.deleted))
    names = tables[0].networks
    blocks = int(tables[0].about(names[0])["blocks"])
    origin = tables[0].origin()
    files: list[Path] = []
    if not chains or 1 <= blocks <= MOST_DRAWN:  # of a network by its depth that is too large this says why
        files += save(draw_unraveled(blocks, names[0]), folder, "unraveled", formats, metadata=origin)
    values, column = None, ""
    if parameters.colour is not None:
        table, _, key = parameters.colour.rpartition(":")
        path = Path(table)
        values = values_by_unit(read(path.parent, path.stem), key)
        column = (UNITS.get(key) if path.stem == "lesion" else None) or key.replace("_", " ")
    for number, (label, chain) in enumerate(zip(names if chains else (), chains, strict=True)):
        stem = "anatomy" if not number else f"anatomy-{number + 1}"
        graph = anatomy_graph(chain, values)
        if values and not any("value" in data for _, data in graph.nodes(data=True)):
            raise ValueError(
                f"none of the units in {parameters.colour} is one of {label}; give a table of this network"
            )
        figure = draw_anatomy(graph, name=label, column=column)
        files += [*save(figure, folder, stem, formats, metadata=origin), *write_graph(graph, folder, stem)]
    return files
