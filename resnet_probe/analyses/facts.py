"""Facts that tables have in common."""

from __future__ import annotations

from resnet_probe.analyses.declaration import Fact
from resnet_probe.tables import Result

__all__ = ["rank_correlation"]


def rank_correlation(table: Result, network: str, of: str) -> list[Fact]:
    """Spearman's rank correlation with its interval over draws, where the settings have one."""
    about = table.about(network)
    rank, low, high = (about.get(key) for key in ("spearman", "spearman_low", "spearman_high"))
    if rank is None or low is None or high is None:
        return []
    text = f"{rank:.3f} between {of} (95 % interval {low:.3f} to {high:.3f} over draws)"
    return [Fact("rank correlation", text, rank, low, high, "Spearman's rank correlation")]
