"""Facts that tables have in common."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from resnet_probe.analyses.declaration import Fact
from resnet_probe.tables import Result

LEVEL = 0.05


def paired_words(row: Mapping[str, Any]) -> str:
    """The increase of a row's error over that of the row it is paired with, its interval and its test."""
    low, high, p = row["increase_low"], row["increase_high"], row["p"]
    text = (
        f"{row['increase']:+.3g} points against {row['against']} on the same images (95 % interval {low:.3g} to "
        f"{high:.3g}; {row['newly_wrong']} newly wrong, {row['newly_right']} newly right, p = {p:.2g})"
    )
    apart = low > 0 or high < 0
    return f"{text}; few images changed: the exact test is the stricter" if apart and p >= LEVEL else text


def rank_correlation(table: Result, network: str, of: str) -> list[Fact]:
    """Spearman's rank correlation with its interval over draws, where the settings have one."""
    about = table.about(network)
    rank, low, high = (about.get(key) for key in ("spearman", "spearman_low", "spearman_high"))
    if rank is None or low is None or high is None:
        return []
    text = f"{rank:.3f} between {of} (95 % interval {low:.3f} to {high:.3f} over draws)"
    return [Fact("rank correlation", text, rank, low, high, "Spearman's rank correlation")]
