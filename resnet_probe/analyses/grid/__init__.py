"""Train a grid of networks, and see how they learn (He et al. 2015, Figs. 1 and 6).

Grid         the engine: cells, images, folder, jobs
Cell         one training; `train_cell` runs it
PRESETS      the grids of the papers; `cells_of` makes their cells
plot         training and test error over iterations, from the table `curves` alone
plot_grid    final error against depth, from the table `grid` alone
plot_lesions what deleting each block adds, by style, from the table `grid_lesions` alone
"""

from __future__ import annotations

from resnet_probe.analyses import columns as c
from resnet_probe.analyses.declaration import Analysis, Claim, Column, Plot, Table
from resnet_probe.lazy import lazily

HE_2015, HE_2016 = "He et al. 2015 (arXiv 1512.03385)", "He et al. 2016 (arXiv 1603.05027)"
VEIT = "Veit et al. 2016 (arXiv 1605.06431)"
RULES = "resnet_probe.claims.training"
CELL = Column("cell", str, "name of the cell: network, style and seed")
ARCH = Column("arch", str, "name of the architecture")
FAMILY = Column("family", str, "`resnet`, `plain`, `vgg` or `lenet`")
DEPTH = Column("depth", int, "layers on the longest path")
VARIANT = Column("variant", str, "what follows the depth in the name")
STYLE = Column("style", str, "of training: `normal`, `stochastic-depth` or `effective-paths`")
SEED = Column("seed", int, "of weights and images")
SECONDS = Column("seconds", float, "that training took", "s")
TRAIN_ERROR = Column("train_error", float, "of the training images as they came by", "%")
TRAIN_LOSS = Column("train_loss", float, "of the training images as they came by", "nats")
TEST_ERROR = Column("test_error", float, "of the held-out images", "%")
TEST_LOSS = Column("test_loss", float, "of the held-out images", "nats")
PARAMETERS = Column("parameters", int, "learned values")

GRID = Table(
    "grid", "Trained grid",
    (
        *(CELL, ARCH, FAMILY, DEPTH, VARIANT, STYLE, SEED, PARAMETERS),
        Column("epochs", float, "that were trained"),
        *(TRAIN_ERROR, TRAIN_LOSS, TEST_ERROR, TEST_LOSS, SECONDS),
        Column("iterations", int, "that were trained"),
        Column("status", str, "`done`, or why the cell was not trained to its end"),
    ),
    question="What errors do the trained networks reach?", source="He et al. 2015, Fig. 6",
    plots=(Plot("grid", "resnet_probe.analyses.grid.figure:plot_grid"),),
    facts="resnet_probe.analyses.grid.facts:cells",
    claims=(
        Claim(
            3, "Deeper plain networks train worse", "training error rises with depth", f"{HE_2015}, Figs. 1 and 6",
            f"{RULES}:degradation",
            methods=("trainings",),
        ),
        Claim(
            5, "Test error of shortcut and activation variants", "by variant", f"{HE_2016}, Tables 1 and 2",
            f"{RULES}:variants",
            methods=("agreement",),
        ),
        Claim(
            13, "Training on effective paths only is as good", "5.96 % against 6.10 % test error", f"{VEIT}, section 5",
            f"{RULES}:effective_training",
            methods=("trainings",),
        ),
        Claim(
            15, "Deeper residual networks train better", "training error falls with depth",
            f"{HE_2015}, section 4.2 and Fig. 6", f"{RULES}:deeper",
            methods=("trainings",),
        ),
        Claim(
            16, "Shortcut options A, B and C differ little", "25.03, 24.52 and 24.19 % on ImageNet (ResNet-34)",
            f"{HE_2015}, section 4.1 and Table 3", f"{RULES}:options",
            methods=("trainings",),
        ),
    ),
)  # fmt: skip

SUMMARY = Table(
    "grid_summary",
    "Means over seeds",
    (
        *(ARCH, FAMILY, DEPTH, VARIANT, STYLE),
        Column("seeds", int, "that were trained to their end"),
        *(PARAMETERS, TRAIN_ERROR),
        Column("train_error_std", float, "standard deviation over seeds (n - 1)", "%"),
        TEST_ERROR,
        Column("test_error_std", float, "standard deviation over seeds (n - 1)", "%"),
        Column("test_error_median", float, "median over seeds", "%"),
        SECONDS,
    ),
    facts="resnet_probe.analyses.grid.facts:means",
    parent="grid",
)

CURVES = Table(
    "curves",
    "Training curves",
    (
        CELL,
        Column("epoch", int, "counted from 1"),
        Column("iteration", int, "after the epoch"),
        Column("learning_rate", float, "in the epoch's last iteration"),
        *(TRAIN_LOSS, TRAIN_ERROR, TEST_LOSS, TEST_ERROR, ARCH, FAMILY, DEPTH, VARIANT, STYLE, SEED, SECONDS),
        Column("images", int, "training images in the epoch"),
    ),
    question="How do the errors fall during training?",
    source="He et al. 2015, Figs. 1 and 6",
    plots=(Plot("curves", "resnet_probe.analyses.grid.figure:plot"),),
)

LESIONS = Table(
    "grid_lesions", "Lesions by style",
    (
        *(CELL, ARCH, STYLE, SEED, c.BLOCK, c.INDEX, c.RESIZES, c.IMAGES, c.ERROR),
        Column("intact_error", float, "error of the intact network", "%"),
        Column("increase", float, "what deleting the block adds to it", "points"),
    ),
    plots=(Plot("grid_lesions", "resnet_probe.analyses.grid.figure:plot_lesions"),),
    claims=(
        Claim(
            20, "Stochastic depth makes a network more resilient to deletions", "slightly", f"{VEIT}, Fig. 7",
            f"{RULES}:resilience", needs="grid --preset styles",
            methods=("trainings",),
        ),
    ),
)  # fmt: skip

ANALYSIS = Analysis(
    "grid",
    help="Train a grid of networks and draw their learning curves.",
    tables=(GRID, SUMMARY, CURVES, LESIONS),
    command="resnet_probe.commands.grid:command",
)

__getattr__, __dir__ = lazily(
    __name__,
    cells=("Cell", "Images", "curve_rows", "describe", "identity", "train_cell"),
    engine=("Grid",),
    figure=("plot", "plot_grid", "plot_lesions"),
    journal=("GridError",),
    presets=("PRESETS", "Preset", "adapted", "cells_of"),
    table=("DONE", "curves_table", "grid_table", "lesions_table", "summary_table"),
)
