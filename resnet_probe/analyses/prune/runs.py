"""Every run of consecutive blocks on the images that report: is a late one missed less than an early one?

Source: Gromov et al. 2024 (arXiv 2403.17887), section 3: of language models, deep layers in a row go first.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from resnet_probe.analyses.columns import DIFFERENCE, against_intact, measured
from resnet_probe.analyses.prune import RUNS
from resnet_probe.statistics import two_way_mean

if TYPE_CHECKING:
    from resnet_probe.analyses.prune.sets import Sets
    from resnet_probe.evaluate import Score
    from resnet_probe.tables import Result


def spans(sets: Sets) -> dict[tuple[int, int], int]:
    """Length and first place of each run -> the set that is kept without it; the shortest first, none at length 0."""
    blocks = len(sets.names)
    places = [(length, start) for length in range(1, blocks + 1) for start in range(blocks - length + 1)]
    runs = {(length, start): sets.without(*range(start, start + length)) for length, start in places}
    return {(0, 0): sets.all} | runs


def table(sets: Sets, scores: Mapping[str, Score], settings: Mapping[str, Any]) -> Result:
    """Table `prune_runs`, the intact network first.

    The settings hold late against early runs of each length (`halves`), and the length to judge by: a quarter of the
    blocks.
    """
    rows: list[dict[str, Any]] = []
    found = {place: scores[str(kept)] for place, kept in spans(sets).items()}
    intact = found[0, 0]
    for (length, start), score in found.items():
        compared = against_intact(intact if length else None, score)
        rows.append(
            {
                "network": sets.subject.name,
                "length": length,
                "start": start if length else None,
                "blocks": " ".join(sets.names[start : start + length]) or None,
                **measured(score),
                **{column.key: compared[column.key] for column in DIFFERENCE},
            }
        )
    flags = {place: score.flags if score.flagged else score.errors / 100 for place, score in found.items()}
    blocks = len(sets.names)
    halves = [late_against_early(flags, length, blocks) for length in range(1, blocks)]
    return RUNS.result(rows, **settings, halves=halves, length=max(2, blocks // 4))


def late_against_early(flags: Mapping[tuple[int, int], Any], length: int, blocks: int) -> dict[str, Any]:
    """Mean error of the runs of one length in the later half of the network less that of those in the earlier half.

    A run belongs to the half that its middle lies in; one in the very middle belongs to neither.

    Args:
        flags: of length and first place of each run which images are wrong, `(images,)`.
        length: of the runs, less than the blocks.
        blocks: how many there are.

    Returns:
        `length`, `late` and `early` (how many runs), `difference` (points) and its interval over images, `low`, `high`.
    """
    mine = {start: wrong for (of, start), wrong in flags.items() if of == length}
    late, early = (
        [wrong for start, wrong in mine.items() if sign * (2 * start + length - blocks) > 0] for sign in (1, -1)
    )
    each = two_way_mean(100 * (np.mean(late, axis=0) - np.mean(early, axis=0))[None], population=1)
    return {
        "length": length, "late": len(late), "early": len(early), "difference": each.mean, "low": each.low,
        "high": each.high,
    }  # fmt: skip
