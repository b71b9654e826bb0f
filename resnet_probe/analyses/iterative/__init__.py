"""Iterative inference: what each residual block does to its input and to the loss, and which of it predicts damage.

measure.py    one forward and one backward pass per batch over the chain of units
adapter.py    early exits from earlier stages, through a least-squares map
table.py      `run` makes iterative.csv; `with_damage` adds the measured damage of a lesion study
ranks.py      `rank`: Spearman correlation of each measure with the damage -> iterative_ranks.csv
figure.py     `plot`, `plot_ranks`

Source: Jastrzebski et al. 2018, "Residual Connections Encourage Iterative Inference" (arXiv 1710.04773); Greff et al.
2017 (arXiv 1612.07771); Men et al. 2024, ShortGPT (arXiv 2403.03853); Gromov et al. 2024 (arXiv 2403.17887).
"""

from resnet_probe.analyses.iterative.figure import plot, plot_ranks
from resnet_probe.analyses.iterative.ranks import RANK_COLUMNS, rank
from resnet_probe.analyses.iterative.table import COLUMNS, MEASURES, run, with_damage

__all__ = ["COLUMNS", "MEASURES", "RANK_COLUMNS", "plot", "plot_ranks", "rank", "run", "with_damage"]
