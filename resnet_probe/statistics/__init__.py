"""Statistics: intervals and tests, each with its source. Nothing here imports torch.

intervals.py   of an error over images, of a mean over draws, of a rank correlation
paired.py      whether two networks differ on the same images, and by how much
two_way.py     of a mean over draws and images at once
seeds.py       of a mean over trainings, and whether it agrees with a published value
rank_sum.py    whether one group of numbers lies above another
multiple.py    many tests at once
"""

from resnet_probe.statistics.intervals import RankCorrelation, bootstrap_mean, spearman, wilson
from resnet_probe.statistics.multiple import bonferroni, false_discovery
from resnet_probe.statistics.paired import mcnemar, paired_difference
from resnet_probe.statistics.rank_sum import RankSum, rank_sum
from resnet_probe.statistics.seeds import Replication, Seeds, over_seeds, replication
from resnet_probe.statistics.two_way import TwoWay, two_way

__all__ = [
    "RankCorrelation",
    "RankSum",
    "Replication",
    "Seeds",
    "TwoWay",
    "bonferroni",
    "bootstrap_mean",
    "false_discovery",
    "mcnemar",
    "over_seeds",
    "paired_difference",
    "rank_sum",
    "replication",
    "spearman",
    "two_way",
    "wilson",
]
