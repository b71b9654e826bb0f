"""How many paths of each length lead through a network, exactly, and how much gradient each length carries.

Unraveled, a network of n residual blocks is a set of 2^n paths: at each block a path goes through the residual branch
or around it. The paths of one unit are a polynomial, in which the coefficient of t^k is the number of its paths of
length k; a chain of units has the product of their polynomials. Length is counted in modules (residual branches on the
path) or in layers (convolutions and linear layers on the path).

measure.py     `run`: the tables of a network, intact and with blocks deleted
cifar.py       the units of a CIFAR ResNet, from its depth alone
lengths.py     the paths of a chain of units, in exact integers, and what their distribution is like
table.py       counts as paths.csv and back
figure.py      the distribution drawn
gradients.py   gradients.csv: the gradient that paths of each length carry
effective.py   which lengths carry most of it, and how the norm of a path decays with its length
panels.py      that drawn
deletion.py    survival.csv: the paths that survive when blocks are deleted
picture.py, graph.py, drawings.py   pictures of the unraveled network and of its blocks; export of the graph
facts.py       what the tables say

Source: Veit, Wilber, Belongie 2016, arXiv 1605.06431, sections 3 to 5, Fig. 6.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from resnet_probe.analyses import columns as c
from resnet_probe.analyses.declaration import Analysis, Claim, Column, Needs, Plot, Spread, StudyStep, Table, option
from resnet_probe.analyses.parsing import memory_size
from resnet_probe.lazy import lazily

VEIT = "Veit et al. 2016 (arXiv 1605.06431)"
RULES = "resnet_probe.claims.paths"
STATISTICS = ("eval", "train")


@dataclass(frozen=True)
class Parameters:
    """Of which network, with which blocks deleted, and how gradients are sampled."""

    depth: int | None = option(None, "A CIFAR ResNet by its depth: 6n+2, or else 9n+2 (bottleneck).", metavar="N")
    delete: tuple[str, ...] = option((), "Blocks to delete.", metavar="BLOCK[,BLOCK...]")
    samples: int = option(
        1000,
        "Sampled paths of each length, spread over the images; 0 for the exact classes alone.",
        least=0,
        metavar="N",
        needs=("data",),
    )
    batch_norm: str = option(
        "eval", "Statistics: the running ones, or each batch's own.", choices=STATISTICS, needs=("data",)
    )
    memory: int | None = option(
        None,
        "Memory that may be used, such as 800M.",
        metavar="SIZE",
        parse=memory_size,
        shown="2G",
        needs=("data",),
    )
    draw: bool = option(False, "Draw the unraveled network and its blocks; export the graph.")
    colour: str | None = option(
        None,
        "With --draw: colour the blocks by another table.",
        metavar="TABLE.csv:COLUMN",
        needs=("draw",),
    )

    def __post_init__(self) -> None:
        if self.depth is not None:
            from resnet_probe.analyses.paths.cifar import cifar_resnet  # noqa: PLC0415 - it is about this package

            cifar_resnet(self.depth)  # says which depths there are
        if self.colour is not None and self.depth is not None:
            raise ValueError("--colour without a network to draw; give --ckpt FILE or --arch NAME")
        if self.colour is not None:
            path = Path(self.colour.rpartition(":")[0])
            if path.suffix != ".csv" or not path.is_file():
                raise ValueError(
                    f"--colour {self.colour}: give a table and a column, such as results/lesion-x/lesion.csv:error"
                )

    @property
    def alone(self) -> str | None:
        """The network that `--depth` names; its paths are counted without loading anything."""
        return None if self.depth is None else f"resnet{self.depth}"

    @property
    def deleted(self) -> tuple[str, ...]:
        """Names of the blocks to delete, each once."""
        names = (name.strip() for group in self.delete for name in group.split(","))
        return tuple(dict.fromkeys(name for name in names if name))


UNIT = Column("unit", str, "what the length counts: `module` or `layer`")
LENGTH = Column("length", int, "residual branches (`module`) or learned layers (`layer`) on the path")

PATHS = Table(
    "paths", "Paths",
    (
        *(c.NETWORK, UNIT, LENGTH),
        Column("count", int, "paths of that length, exact"),
        Column("fraction", float, "of all paths"),
    ),
    question="How many paths of each length lead through the network?", source="Veit et al. 2016, Fig. 6a",
    plots=(Plot("paths", "resnet_probe.analyses.paths.figure:plot"),),
    facts="resnet_probe.analyses.paths.facts:lengths",
    claims=(
        Claim(
            10, "More than 95 % of the paths of ResNet-110 go through 19 to 35 blocks",
            "more than 95 % (98.02 % computed)", f"{VEIT}, section 5 and Fig. 6a", f"{RULES}:lengths",
        ),
    ),
)  # fmt: skip

GRADIENTS = Table(
    "gradients", "Gradient by path length",
    (
        c.NETWORK,
        Column("length", int, "residual branches on the path"),
        Column("count", int, "paths of that length, exact; parallel branches inside a unit count as one"),
        Column("class_norm", float, "norm at the input of the gradient that they all carry, mean over images; exact"),
        Column("class_share", float, "its projection on the whole gradient; the shares sum to 1; exact"),
        Column("path_norm", float, "norm of the gradient of a single sampled path, mean over samples"),
        Column("path_norm_std", float, "its standard deviation over samples"),
        Column("samples", int, "sampled paths"),
        Column("class_norm_std", float, "standard deviation of `class_norm` over images"),
        Column("class_mean_norm", float, "`class_norm` / `count`: norm of the mean over paths of the length; exact"),
        Column(
            "cancellation_ratio", float,
            "`class_mean_norm` of the sampled images / `path_norm`: 1 if all paths agree, 0 if they cancel",
        ),
        Column("effective_share", float, "`count` x `path_norm` as a share of its sum (Veit et al. 2016, Fig. 6c)"),
        c.IMAGES,
        Column("cancellation_error", float, "standard error of `cancellation_ratio`", method="ratio"),
    ),
    question="Which paths carry the gradient?", source="Veit et al. 2016, Figs. 6b and 6c",
    command="paths --data",
    spread=Spread(("length",), ("class_share", "class_norm", "path_norm")),
    plots=(Plot("gradients", "resnet_probe.analyses.paths.panels:plot_gradients"),),
    facts="resnet_probe.analyses.paths.facts:gradients",
    methods=("slope", "norms"),
    headline="exact shares",
    claims=(
        Claim(
            11, "The gradient of a path falls exponentially with its length",
            "straight line in the logarithm; slope about -1.35 implied for ResNet-110",
            f"{VEIT}, section 5 and Fig. 6b; slope computed", f"{RULES}:gradients",
            methods=("slope",),
        ),
        Claim(
            12, "Almost all gradient comes from short paths", "5 to 17 of 54 blocks, 0.45 % of all paths (ResNet-110)",
            f"{VEIT}, section 5 and Fig. 6c", f"{RULES}:gradients",
        ),
    ),
    blocks=True,
)  # fmt: skip

SURVIVAL = Table(
    "survival",
    "Surviving paths",
    (
        *(c.NETWORK, UNIT, LENGTH),
        Column("count", int, "paths of that length in the intact network, exact"),
        Column("surviving", int, "those that are left, exact"),
        Column("share", float, "of them"),
        Column("expected", float, "C(n-d, x) / C(n, x), in modules: the share for any d of n blocks"),
        Column("blocks", int, "residual blocks of the intact network"),
        Column("deleted", int, "how many of them are deleted"),
    ),
    question="Which paths does a deletion leave?",
    source="Veit et al. 2016, section 4.1",
    command="paths --delete BLOCK",
    plots=(Plot("survival", "resnet_probe.analyses.paths.deletion:plot_survival"),),
    facts="resnet_probe.analyses.paths.facts:survival",
)


ANALYSIS = Analysis(
    "paths",
    help="Count the paths of each length through a network.",
    description="""Count the paths of each length through a network, exactly, and measure the gradient they carry.

    Lengths (Veit et al. 2016, Fig. 6a) are counted in modules (residual branches on the path) and in layers
    (convolutions and linear layers on the path). Writes paths.csv, paths.json and the figure. Give --depth, which takes
    no time, or --arch or --ckpt, whose network is traced. With --ckpt, --arch settles what the weights leave open.

    With --data the gradient is split by path length as well (Figs. 6b and 6c): exactly, for all paths of a length
    together, and for single paths drawn at random. Writes gradients.csv, gradients.json and the figure.""",
    parameters=Parameters,
    needs=Needs(images="optional", batches=True, twins=True),
    run="resnet_probe.analyses.paths.measure:run",
    tables=(PATHS, GRADIENTS, SURVIVAL),
    study=(
        StudyStep("Paths of {network}", "paths", lambda amount, census: None if census.blocks else {}, images=False),
        StudyStep(
            "Paths and gradients of {network}",
            "gradients",
            lambda amount, census: {"samples": amount.samples} if census.blocks else None,
            few=True,
        ),
    ),
    also="resnet_probe.analyses.paths.drawings:draw",
)

__getattr__, __dir__ = lazily(
    __name__,
    cifar=("cifar_resnet", "resnet_polynomials"),
    deletion=("chain_polynomials", "plot_survival", "run_survival"),
    effective=("PAPER", "decay", "describe", "effective_shares", "smallest_interval", "survivors"),
    figure=("plot",),
    gradients=("run_gradients",),
    graph=("anatomy_graph", "values_by_unit", "write_graph"),
    lengths=("UNITS", "central_interval", "multiply", "share", "statistics"),
    measure=("run",),
    panels=("plot_gradients",),
    picture=("draw_anatomy", "draw_unraveled"),
    table=("counted", "distributions"),
)
