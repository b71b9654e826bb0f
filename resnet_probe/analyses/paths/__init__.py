"""How many paths of each length lead through a network, exactly.

Unraveled, a network of n residual blocks is a set of 2^n paths: at each block a path goes through the
residual branch or around it. The paths of one unit are a polynomial, in which the coefficient of t^k is the
number of its paths of length k; a chain of units has the product of their polynomials.

- `cifar`: the units of a CIFAR ResNet, from its depth alone.
- `lengths`: the paths of a chain of units, in exact integers, and what their distribution is like.
- `table`: `run` makes `paths.csv`; `distributions` reads it back.
- `figure`: `plot` draws it.
- `gradients`: `run_gradients` makes `gradients.csv`, the gradient that paths of each length carry.
- `effective`: which lengths carry most of it, and how the norm of a path decays with its length.
- `panels`: `plot_gradients` draws that.
- `deletion`: the paths that survive when blocks are deleted.
- `picture`, `graph`: drawings of the unraveled network and of a network's blocks; export of the graph.

Length is counted in modules (residual branches on the path) or in layers (convolutions and linear layers on
the path). Source: Veit, Wilber, Belongie 2016, arXiv 1605.06431, sections 3 and 4.1, Fig. 6a.
"""

from resnet_probe.analyses.paths.cifar import CifarResNet, cifar_resnet, resnet_polynomials
from resnet_probe.analyses.paths.deletion import (
    SURVIVAL_COLUMNS,
    chain_polynomials,
    plot_survival,
    run_survival,
)
from resnet_probe.analyses.paths.effective import (
    PAPER,
    Decay,
    Interval,
    decay,
    describe,
    effective_shares,
    smallest_interval,
    survivors,
)
from resnet_probe.analyses.paths.figure import plot
from resnet_probe.analyses.paths.gradients import GRADIENT_COLUMNS, run_gradients, together
from resnet_probe.analyses.paths.graph import anatomy_graph, values_by_unit, write_graph
from resnet_probe.analyses.paths.lengths import (
    UNITS,
    Polynomial,
    Statistics,
    central_interval,
    multiply,
    share,
    statistics,
)
from resnet_probe.analyses.paths.panels import plot_gradients
from resnet_probe.analyses.paths.picture import MOST_DRAWN, draw_anatomy, draw_unraveled
from resnet_probe.analyses.paths.table import COLUMNS, distributions, run

__all__ = [
    "COLUMNS",
    "GRADIENT_COLUMNS",
    "MOST_DRAWN",
    "PAPER",
    "SURVIVAL_COLUMNS",
    "UNITS",
    "CifarResNet",
    "Decay",
    "Interval",
    "Polynomial",
    "Statistics",
    "anatomy_graph",
    "central_interval",
    "chain_polynomials",
    "cifar_resnet",
    "decay",
    "describe",
    "distributions",
    "draw_anatomy",
    "draw_unraveled",
    "effective_shares",
    "multiply",
    "plot",
    "plot_gradients",
    "plot_survival",
    "resnet_polynomials",
    "run",
    "run_gradients",
    "run_survival",
    "share",
    "smallest_interval",
    "statistics",
    "survivors",
    "together",
    "values_by_unit",
    "write_graph",
]
