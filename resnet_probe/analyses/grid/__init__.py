"""Train a grid of networks, and see how they learn (He et al. 2015, Figs. 1 and 6).

Grid         the engine: cells, images, folder, jobs
Cell         one training; `train_cell` runs it
PRESETS      the grids of the papers; `cells_of` makes their cells
plot         training and test error over iterations, from the table `curves` alone
plot_grid    final error against depth, from the table `grid` alone
plot_lesions what deleting each block adds, by style, from the table `grid_lesions` alone
"""

from typing import TYPE_CHECKING, Any

from resnet_probe.analyses.grid.figure import plot, plot_grid, plot_lesions
from resnet_probe.analyses.grid.presets import PRESETS, Preset, adapted, cells_of
from resnet_probe.analyses.grid.table import DONE, curves_table, grid_table, lesions_table, summary_table

if TYPE_CHECKING:
    from resnet_probe.analyses.grid.cells import Cell, Images, curve_rows, describe, identity, train_cell
    from resnet_probe.analyses.grid.engine import Grid
    from resnet_probe.analyses.grid.errors import GridError

__all__ = [
    "DONE",
    "PRESETS",
    "Cell",
    "Grid",
    "GridError",
    "Images",
    "Preset",
    "adapted",
    "cells_of",
    "curve_rows",
    "curves_table",
    "describe",
    "grid_table",
    "identity",
    "lesions_table",
    "plot",
    "plot_grid",
    "plot_lesions",
    "summary_table",
    "train_cell",
]

_WHERE = {
    "Cell": "cells", "Images": "cells", "curve_rows": "cells", "describe": "cells", "identity": "cells",
    "train_cell": "cells", "Grid": "engine", "GridError": "errors",
}  # fmt: skip


def __getattr__(name: str) -> Any:
    """What needs torch to train is imported when it is asked for; the figures do without."""
    from importlib import import_module  # noqa: PLC0415

    if name not in _WHERE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_WHERE[name]}"), name)
