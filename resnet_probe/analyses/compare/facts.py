"""What the table that compares networks says."""

from __future__ import annotations

from resnet_probe.analyses.declaration import Fact
from resnet_probe.analyses.facts import paired_words
from resnet_probe.tables import Result


def facts(table: Result, network: str) -> list[Fact]:
    """Of a network: its error, what a deletion does to it, its paths, and how its times were taken."""
    (row,) = table.of(network)
    count = f"{row['paths']:,}" if row["paths"] < 10**9 else f"about 10^{len(str(row['paths'])) - 1}"
    paths = f"{count} path{'' if row['paths'] == 1 else 's'}, {row['mean_path_length']:.4g} layers long on average"
    lesion = (
        f"{row['median_lesion']:.4g} % error with one of its {row['units']} units deleted (median), "
        f"{row['worst_lesion']:.4g} % at worst ({row['worst_unit']})"
    )
    told = [
        Fact("size", f"{row['parameters']:,} parameters, {row['flops']:,} multiply-adds", row["parameters"]),
        Fact("error", f"{row['error']:.4g} %", row["error"], row["error_low"], row["error_high"], "%"),
        Fact("deletion", lesion, row["median_lesion"], unit="%"),
        Fact("paths", paths, row["paths"]),
    ]
    if row.get("against"):
        interval = row["increase_low"], row["increase_high"]
        told.append(Fact("paired error", paired_words(row), row["increase"], *interval, "points"))
    if row["forward_ms"] is not None:
        text = (
            f"{row['forward_ms']:.4g} ms forward, {row['backward_ms']:.4g} ms forward and backward: means over "
            f"{row['timed_batches']} batches of {row['batch_size']} on {table.settings.get('device')}"
        )
        told.append(Fact("time", text, row["forward_ms"], unit="ms"))
    return told
