"""Statistics: intervals and tests, each with its source. Nothing here imports torch.

intervals.py   of an error over images, of a mean over draws, of a rank correlation
paired.py      whether two networks differ on the same images, and by how much
two_way.py     of a mean over draws and images at once
ratios.py      of a ratio of two means
games.py       what each player of a game adds: Shapley, Banzhaf, interactions
seeds.py       of a mean over trainings, and whether it agrees with a published value
multiple.py    many tests at once
methods.py     all of them in words, for the docs and the report
"""

from resnet_probe.statistics.intervals import RankCorrelation, bootstrap_mean, spearman, wilson
from resnet_probe.statistics.methods import METHODS, Method, for_task
from resnet_probe.statistics.multiple import bonferroni, false_discovery
from resnet_probe.statistics.paired import Paired, confidence_sequence, mcnemar, paired, paired_difference
from resnet_probe.statistics.ratios import ratio_of_means
from resnet_probe.statistics.seeds import Replication, Seeds, over_seeds, replication
from resnet_probe.statistics.two_way import TwoWay, two_way, two_way_mean

__all__ = [
    "METHODS",
    "Method",
    "Paired",
    "RankCorrelation",
    "Replication",
    "Seeds",
    "TwoWay",
    "bonferroni",
    "bootstrap_mean",
    "confidence_sequence",
    "false_discovery",
    "for_task",
    "mcnemar",
    "over_seeds",
    "paired",
    "paired_difference",
    "ratio_of_means",
    "replication",
    "spearman",
    "two_way",
    "two_way_mean",
    "wilson",
]
