"""Statistics: intervals and tests, each with its source. Nothing here imports torch.

intervals.py   of an error over images, of a mean over draws, of a rank correlation
rank_sum.py    whether one group of numbers lies above another
"""

from resnet_probe.statistics.intervals import RankCorrelation, bootstrap_mean, spearman, wilson
from resnet_probe.statistics.rank_sum import RankSum, rank_sum

__all__ = ["RankCorrelation", "RankSum", "bootstrap_mean", "rank_sum", "spearman", "wilson"]
