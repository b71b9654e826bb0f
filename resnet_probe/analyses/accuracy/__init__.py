"""Errors of networks: top-1 and top-5, loss, calibration, per class; over several views, and of ensembles.

views.py     `single`, `ten_crop`, `multi_scale`: how each image is looked at
scoring.py   averages of scores, and the measures made of them
table.py     `run`: one pass over the images -> evaluate.csv, evaluate_classes.csv, evaluate_reliability.csv
figure.py    `plot`, `plot_classes`, `plot_reliability`

Source: He et al. 2015, section 3.4 and its last tables; Guo et al. 2017 (arXiv 1706.04599) for calibration.
"""

from resnet_probe.analyses.accuracy.figure import plot, plot_classes, plot_reliability
from resnet_probe.analyses.accuracy.table import (
    CLASS_COLUMNS,
    COLUMNS,
    ENSEMBLE,
    RELIABILITY_COLUMNS,
    Accuracy,
    run,
)
from resnet_probe.analyses.accuracy.views import View, multi_scale, scales_for, single, ten_crop

__all__ = [
    "CLASS_COLUMNS",
    "COLUMNS",
    "ENSEMBLE",
    "RELIABILITY_COLUMNS",
    "Accuracy",
    "View",
    "multi_scale",
    "plot",
    "plot_classes",
    "plot_reliability",
    "run",
    "scales_for",
    "single",
    "ten_crop",
]
