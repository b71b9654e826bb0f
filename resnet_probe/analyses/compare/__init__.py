"""Networks side by side: what they cost, what they are worth, and how they take the loss of a unit.

costs.py         `costs`: parameters, multiply-adds, depth
timing.py        `time_steps`: milliseconds per batch, forward and forward plus backward
memory.py        `peak_memory`: bytes at the peak of a training step
table.py         `run`: one row per network -> compare.csv
figure.py        `plot`: lesions, responses and path lengths overlaid
costs_figure.py  `plot_costs`: error, multiply-adds and times
published.py     `ZOO`: the papers' networks and the numbers that were printed about them
variants.py      the networks that papers counted, where those in use differ
zoo.py           `run_zoo`: both side by side -> zoo.csv
zoo_figure.py    `plot_zoo`, `plot_zoo_scatter`

Lesions, responses and path lengths are measured by the analyses of these names; here are their tables only.
"""

from resnet_probe.analyses.compare.costs import Costs, costs
from resnet_probe.analyses.compare.costs_figure import plot_costs
from resnet_probe.analyses.compare.figure import plot
from resnet_probe.analyses.compare.published import ZOO, Published
from resnet_probe.analyses.compare.table import COLUMNS, SMALL_BATCH, Measured, run
from resnet_probe.analyses.compare.timing import Times, Timing, time_steps
from resnet_probe.analyses.compare.zoo import ZOO_COLUMNS, run_zoo
from resnet_probe.analyses.compare.zoo_figure import plot_zoo, plot_zoo_scatter

__all__ = [
    "COLUMNS",
    "SMALL_BATCH",
    "ZOO",
    "ZOO_COLUMNS",
    "Costs",
    "Measured",
    "Published",
    "Times",
    "Timing",
    "costs",
    "plot",
    "plot_costs",
    "plot_zoo",
    "plot_zoo_scatter",
    "run",
    "run_zoo",
    "time_steps",
]
