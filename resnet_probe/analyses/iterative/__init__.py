"""Iterative inference: what each residual block does to its input and to the loss, and which of it predicts damage.

adapter.py    early exits from earlier stages, through a least-squares map
table.py      `run` makes iterative.csv, with the measured damage of a lesion study where there is one
ranks.py      `rank`: Spearman correlation of each measure with the damage -> iterative_ranks.csv
figure.py     `plot`, `plot_ranks`
facts.py      what the tables say

Source: Jastrzebski et al. 2018, "Residual Connections Encourage Iterative Inference" (arXiv 1710.04773); Greff et al.
2017 (arXiv 1612.07771); Men et al. 2024, ShortGPT (arXiv 2403.03853); Gromov et al. 2024 (arXiv 2403.17887).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from resnet_probe.analyses import columns as c
from resnet_probe.analyses.declaration import Analysis, Claim, Column, Needs, Plot, Spread, StudyStep, Table, option
from resnet_probe.lazy import lazily

RULES = "resnet_probe.claims.iterative"

# Column -> what it measures, in words for figures and reports.
MEASURES = {
    "ratio": "|F(h)| / |h|",
    "cos_input": "cos(F(h), h)",
    "cos_gradient": "cos(F(h), dL/dh)",
    "cos_gradient_out": "cos(F(h), dL/dh) at output",
    "first_order": "first-order damage",
    "influence": "block influence",
    "angular": "angular distance",
    "estimation": "estimation error, mean",
    "estimation_std": "estimation error, std",
    "exit_accuracy": "early-exit accuracy",
    "adapter_accuracy": "adapted-exit accuracy",
}
# Measures that every image has of its own, as they are accumulated; each has its spread over images beside it.
SPREADS = (
    "ratio",
    "cos_input",
    "cos_gradient",
    "cos_gradient_out",
    "first_order",
    "influence",
    "angular",
    "cos_exit",
    "agreement",
)


@dataclass(frozen=True)
class Parameters:
    """The damage to be predicted, and whether early exits are adapted."""

    lesion: Path | None = option(  # noqa: RUF009 - a field, as the others
        None,
        "Lesion table of the same network.",
        metavar="FILE",
        shown="lesion.csv in the folder of --out, if it is there",
    )
    adapter: bool = option(False, "Also early exits from every stage, through a least-squares adapter.")


def _measured() -> tuple[Column, ...]:
    meanings = {
        "ratio": Column("ratio", float, "|F(h)| / |S(h)|: size of the update", heading="|F| / |h|"),
        "cos_input": Column("cos_input", float, "cosine of update and input", heading="cos(F, h)"),
        "cos_gradient": Column(
            "cos_gradient", float, "cosine of update and gradient of the loss; empty where the block resizes",
            heading="cos(F, dL/dh)",
        ),
        "cos_gradient_out": Column(
            "cos_gradient_out", float, "the same with the gradient at the block's output",
            heading="cos(F, dL/dh) at output",
        ),
        "first_order": Column("first_order", float, "-<dL/dh_out, F(h)>: predicted rise of the loss", "nats"),
        "influence": Column("influence", float, "1 - cos(S(h), h_next): block influence"),
        "angular": Column("angular", float, "arccos(cos(S(h), h_next)) / pi: angular distance"),
    }  # fmt: skip
    spread = "standard deviation of that over images"
    return tuple(
        each
        for name in meanings
        for each in (meanings[name], Column(f"{name}_std", float, spread, meanings[name].unit))
    )


ITERATIVE = Table(
    "iterative", "Iterative inference",
    (
        *(c.NETWORK, c.BLOCK, c.INDEX, c.STAGE, c.RESIZES, c.IMAGES),
        *_measured(),
        Column("estimation", float, "h_next less the value after the last block of the stage, mean over all numbers"),
        Column("estimation_std", float, "standard deviation of that over all numbers"),
        Column("exit_accuracy", float, "share right when the classifier reads this block's output", "%"),
        Column("adapter_accuracy", float, "the same through a least-squares map", "%"),
        Column("gradients", int, "images that have a gradient at all"),
        Column("lesion_error", float, "what deleting the block adds to the error", "points"),
        Column("lesion_loss", float, "what it adds to the loss", "nats"),
        Column(
            "cos_exit", float, "cosine of update and gradient of the loss of a classifier that reads h (last stage)",
            heading="cos(F, dL/dh) of the exit",
        ),
        Column("cos_exit_std", float, "standard deviation of that over images"),
        Column("estimation_bias", float, "root mean square over features of each feature's mean estimation error"),
        Column("estimation_spread", float, "root mean square over features of its standard deviation"),
        Column("agreement", float, "cosine, of two random images, of the gradient of the first class's score at h"),
        Column("agreement_std", float, "standard deviation of that over pairs of images"),
    ),
    question="What does each block do to its input and to the loss?",
    source="Jastrzebski et al. 2018; Greff et al. 2017",
    plots=(Plot("iterative", "resnet_probe.analyses.iterative.figure:plot"),),
    facts="resnet_probe.analyses.iterative.facts:blocks",
    headline="gradient at the input",
    claims=(
        Claim(
            14, "The branch of a block opposes the gradient of the loss", "cos(F(h), dL/dh) below 0 in every block",
            "Jastrzebski et al. 2018, eqs. 2 to 4 and section 4.1", f"{RULES}:branches",
            methods=("bonferroni",),
        ),
        Claim(
            17, "The branch opposes the gradient more in higher blocks", "cos(F(h), dL/dh) falls with the block",
            "Jastrzebski et al. 2018, section 4.1", f"{RULES}:higher_blocks",
            methods=("groups",),
        ),
        Claim(
            18, "Early exits get better step by step", "accuracy rises gradually over the last stage",
            "Jastrzebski et al. 2018, section 4.2", f"{RULES}:exits",
            methods=("groups", "bonferroni"),
        ),
        Claim(
            21, "Blocks of a stage estimate its last representation, better and better",
            "mean error near 0, falling deviation", "Greff et al. 2017 (arXiv 1612.07771), section 3",
            f"{RULES}:estimation",
        ),
        Claim(
            23, "Gradients of different images agree less with depth, but not exponentially less",
            "correlation 1 / sqrt(depth) with batch norm, at initialisation",
            "Balduzzi et al. 2017 (arXiv 1702.08591), section 3", f"{RULES}:agreement",
            methods=("bend",),
        ),
    ),
    blocks=True,
    spread=Spread(
        ("block", "index"),
        ("influence", "ratio", "cos_gradient", "cos_exit", "first_order", "exit_accuracy", "estimation_spread"),
    ),
)  # fmt: skip

RANKS = Table(
    "iterative_ranks", "What predicts the damage",
    (
        c.NETWORK,
        Column("measure", str, "column of `iterative.csv`"),
        Column("damage", str, "`error` or `loss`: what the deletion adds to"),
        Column("subset", str, "`all` blocks, or those that `keep shape`"),
        Column("blocks", int, "how many there are"),
        Column("rho", float, "Spearman's rank correlation of measure and damage", heading="rank correlation"),
        *c.interval("", "its 95 % bootstrap interval over blocks", method="rank"),
    ),
    question="Which measure tells beforehand what a deletion will do?",
    plots=(Plot("iterative_ranks", "resnet_probe.analyses.iterative.figure:plot_ranks"),),
    facts="resnet_probe.analyses.iterative.facts:ranks",
    claims=(
        Claim(
            19, "Block influence ranks the damage of deletion", "blocks of low influence can go",
            "Men et al. 2024, ShortGPT (arXiv 2403.03853)", f"{RULES}:influence",
            needs="iterative, after lesion into the same folder",
            methods=("rank",),
        ),
    ),
    parent="iterative",
)  # fmt: skip


ANALYSIS = Analysis(
    "iterative",
    help="Measure what each block does to its input and the loss.",
    description="""Measure how each block refines its input: size and direction of its update, influence, early exits.

    Where the damage of deleting each block has been measured (`resnet-probe lesion`), every measure's rank correlation
    with it tells which of them predicts it. Writes iterative.csv, iterative.json and the figure, and with a lesion
    table iterative_ranks as well.""",
    parameters=Parameters,
    needs=Needs(batches=True, blocks=True),
    run="resnet_probe.analyses.iterative.table:run",
    check="resnet_probe.analyses.iterative.table:check",
    tables=(ITERATIVE, RANKS),
    study=(
        StudyStep(
            "Iterative inference in {network}",
            "iterative",
            lambda amount, census: (
                {"lesion": census.lesions if census.lesions.is_file() else None} if census.blocks else None
            ),
        ),
    ),
)

__getattr__, __dir__ = lazily(__name__, figure=("plot", "plot_ranks"), ranks=("rank",), table=("run", "with_damage"))
