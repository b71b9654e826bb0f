"""What the table of responses says."""

from __future__ import annotations

from statistics import median

from resnet_probe.analyses.declaration import Fact
from resnet_probe.tables import Result


def facts(table: Result, network: str) -> list[Fact]:
    """The typical, the strongest and the weakest layer, and where they were measured."""
    rows = table.of(network)
    strongest, weakest = (pick(rows, key=lambda row: row["std"]) for pick in (max, min))
    middle = median(row["std"] for row in rows)
    told = [
        Fact("median response", f"{middle:.4g} (standard deviation) over {len(rows)} layers", middle),
        Fact("strongest response", f"{strongest['std']:.4g} ({strongest['layer']})", strongest["std"]),
        Fact("weakest response", f"{weakest['std']:.4g} ({weakest['layer']})", weakest["std"]),
    ]
    measured = table.about(network).get("measured")
    reason = measured.get(network) if isinstance(measured, dict) else measured
    return [*told, Fact("where", str(reason))] if reason else told
