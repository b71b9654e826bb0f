"""Which cheap measure predicts what deletion does: rank correlation over the blocks of a network."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from resnet_probe.analyses.iterative import MEASURES, RANKS
from resnet_probe.tables import Result

if TYPE_CHECKING:
    import numpy

DAMAGES = {"error": "lesion_error", "loss": "lesion_loss"}
SUBSETS = ("all", "keep shape")
FEWEST = 5  # blocks below which a rank correlation says nothing


def rank(result: Result, *, draws: int = 2000, seed: int = 0) -> Result:
    """Spearman's rank correlation of every measure with the measured damage, over the blocks.

    Args:
        result: a table `iterative` with damage (`with_damage`).

    Returns:
        Table `iterative_ranks`: per measure, kind of damage (`error` or `loss`) and subset of blocks (`all`, or those
        that `keep shape`) the correlation `rho` over so many `blocks`, and the 95 % percentile interval `low`, `high`
        of a bootstrap over blocks. A measure that has fewer than 5 blocks, or one value for all, is left out.

    Raises:
        ValueError: the table has no damage.
    """
    import numpy as np  # noqa: PLC0415

    if not result.rows or all(row["lesion_error"] is None for row in result.rows):
        raise ValueError("the table has no measured damage; give a lesion table with --lesion FILE")
    generator = np.random.default_rng(seed)
    rows: list[dict[str, Any]] = []
    for network in dict.fromkeys(row["network"] for row in result.rows):
        blocks = [row for row in result.rows if row["network"] == network]
        for damage, column in DAMAGES.items():
            for subset in SUBSETS:
                chosen = [row for row in blocks if subset == "all" or not row["resizes"]]
                for measure in MEASURES:
                    pairs = np.array(
                        [(row[measure], row[column]) for row in chosen if row[measure] is not None], dtype=float
                    ).reshape(-1, 2)
                    if len(pairs) < FEWEST or np.ptp(pairs[:, 0]) == 0 or np.ptp(pairs[:, 1]) == 0:
                        continue
                    picks = generator.integers(len(pairs), size=(draws, len(pairs)))
                    low, high = np.nanpercentile(_spearman(pairs[picks]), (2.5, 97.5))
                    values = (measure, damage, subset, len(pairs), _spearman(pairs[None])[0], low, high)
                    rows.append(dict(zip(RANKS.keys, (network, *values), strict=True)))
    return RANKS.result(rows, draws=draws, bootstrap_seed=seed)


def _spearman(pairs: numpy.ndarray) -> numpy.ndarray:
    """(samples, n, 2) -> (samples,): Pearson's correlation of average ranks; NaN where one side is constant."""
    import numpy as np  # noqa: PLC0415
    from scipy.stats import rankdata  # noqa: PLC0415

    ranks = rankdata(pairs, axis=1)
    centred = ranks - ranks.mean(1, keepdims=True)
    products = (centred[..., 0] * centred[..., 1]).sum(1)
    norms = np.sqrt((centred**2).sum(1).prod(1))
    return np.divide(products, norms, out=np.full(len(pairs), np.nan), where=norms > 0)
