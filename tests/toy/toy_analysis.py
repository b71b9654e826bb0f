"""An analysis as a package of its own: every residual branch halved, one at a time."""

from dataclasses import dataclass
from statistics import fmean

from resnet_probe.analyses import columns as c
from resnet_probe.analyses.declaration import Analysis, Claim, Column, Fact, Needs, Plot, StudyStep, Table, option


@dataclass(frozen=True)
class Parameters:
    """By what the branches are multiplied."""

    factor: int = option(2, "Divide the branches by N.", least=1, metavar="N")


HALVED = Table(
    "halved",
    "Halving one branch",
    (c.NETWORK, c.BLOCK, c.IMAGES, c.WRONG, c.ERROR, Column("factor", float, "of the branch")),
    question="What happens to the error when one branch is halved?",
    plots=(Plot("halved", "toy_analysis:plot"),),
    facts="toy_analysis:facts",
    claims=(Claim(900, "Halving a branch changes little", "at most 10 points", "nobody", "toy_analysis:judge"),),
    blocks=True,
)
ANALYSIS = Analysis(
    "halve",
    help="Halve each branch and measure the error.",
    parameters=Parameters,
    needs=Needs(sweep=True, blocks=True),
    run="toy_analysis:run",
    tables=(HALVED,),
    study=(StudyStep("Halved branches of {network}", "halved"),),
)


def run(subject, parameters, runtime):
    factor = 1 / parameters.factor
    variants = {"(intact)": subject.network.steps}
    variants |= {unit.name: subject.network.scale({unit.name: factor}).steps for unit in subject.network.blocks}
    scores = runtime.evaluate(subject, variants, "halved", {"factor": factor})
    same = {"network": subject.name, "factor": factor}
    return [
        HALVED.result(
            {**same, "block": block, "images": score.images, "wrong": score.wrong, "error": score.error}
            for block, score in scores.items()
        )
    ]


def plot(table):
    from resnet_probe.figures import new_figure, style

    with style():
        figure, axes = new_figure("column")
        axes.plot([row["error"] for row in table.rows[1:]], marker="o")
    return figure


def facts(table, network):
    mean = fmean(row["error"] for row in table.of(network)[1:])
    return [Fact("mean error", f"{mean:.4g} % with one branch halved", mean, unit="%")]


def judge(run):
    from resnet_probe.claims import DOES_NOT_HOLD, HOLDS, Verdict

    for table in run.named("halved"):
        for network in table.networks:
            intact, *halved = table.rows(network)
            worst = max(row["error"] for row in halved) - intact["error"]
            yield Verdict(900, network, HOLDS if worst <= 10 else DOES_NOT_HOLD, f"{worst:+.3g} points at most")
