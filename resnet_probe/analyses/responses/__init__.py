"""Layer responses: how strongly each layer answers, as the standard deviation of its output.

points.py   which layers, and where each is measured
table.py    `run`: one pass over the images -> responses.csv
figure.py   `plot`: original order and sorted, several networks overlaid

Source: He et al. 2015, section 4.2 and Fig. 7.
"""

from resnet_probe.analyses.responses.figure import plot
from resnet_probe.analyses.responses.points import KINDS, MeasuredLayer, measured_layers
from resnet_probe.analyses.responses.table import CHANNEL_COLUMNS, COLUMNS, MODES, Responses, run, together

__all__ = [
    "CHANNEL_COLUMNS",
    "COLUMNS",
    "KINDS",
    "MODES",
    "MeasuredLayer",
    "Responses",
    "measured_layers",
    "plot",
    "run",
    "together",
]
