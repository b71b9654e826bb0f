"""`resnet-probe claims`: what the papers claim, tested against the tables of a run."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import rich_click as click

from resnet_probe.analyses.registry import claims as known
from resnet_probe.commands import options, output

if TYPE_CHECKING:
    from rich.console import Console

    from resnet_probe.tables import Result, Run

IN_A_PAPER = ("claim", "statement", "network", "published", "measured", "low", "high", "verdict")
OTHERS = "says nothing of these networks"  # though its table is there

runs = click.option(
    "--run",
    "folders",
    multiple=True,
    required=True,
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    metavar="DIR",
    help="Folder with tables (in it, or in folders in it); give several to judge them together.",
)


@click.command("claims")
@runs
@click.option(
    "--format",
    "form",
    type=click.Choice(("table", "json")),
    default="table",
    show_default=True,
    help="For people or for scripts.",
)
@options.out_to("DIR", "Also write claims.csv and claims.json.")
@options.tables
@options.quiet
def command(*, folders: Sequence[Path], form: str, out: Path | None, quiet: bool) -> None:
    """Test the published claims that the tables of a run can speak to.

    Each verdict (holds, does not hold, cannot say) comes with the published and the measured value, a 95 % interval and
    the reason. It is about this network on these images.
    """
    from resnet_probe.tables import read_run

    output.refuse_tables_nowhere(out)
    screen = output.console(quiet)
    run = read_run(folders)
    result = judged(run)
    if form == "json":
        import json

        about = {"verdicts": list(result.rows), **result.settings}
        screen.print(json.dumps(about, indent=2, ensure_ascii=False))
    else:
        _print(screen, result, run)
    if out is not None:
        files = output.save(result, output.run_folder(out, "claims", ""), IN_A_PAPER, intervals=("low",))
        if form == "table":
            output.summarise(screen, "", [("written", output.listing(files))])


def judged(run: Run) -> Result:
    """The verdicts on a run, with what made them in the settings."""
    from resnet_probe.claims import judge
    from resnet_probe.tables import provenance

    found = judge(run)
    return found.with_settings(
        provenance(
            arguments=options.arguments(),
            command=options.command_line(),
            tables=[str(table.path) for table in run.tables],
        )
    )


def _print(screen: Console, result: Result, run: Run) -> None:
    claim: Any = None
    for row in result.rows:
        if (row["claim"], row["statement"]) != claim:
            claim = (row["claim"], row["statement"])
            screen.print(f"{row['claim']}. {row['statement']}", style="bold")
            screen.print(f"   {row['source']}")
        screen.print(f"   {row['verdict'].upper()}  {row['network']}: {row['why']}")
    if not result.rows:
        screen.print("None of the claims can be tested with these tables.")
    facts = [(verdict, str(count)) for verdict, count in result.settings["counts"].items()]
    if silent := result.settings["silent"]:
        there = {table.name for table in run.tables}
        needed = {
            number: f"needs {claim.needs or about.command}" if claim.needs or about.name not in there else OTHERS
            for number, (claim, about) in known().items()
        }
        facts.append(("not tested", "; ".join(f"{number} ({needed[number]})" for number in silent)))
    facts += [("left out", note) for note in result.settings["unusable"]]
    facts += [("altered", f"{path} is not the table that was written with its settings") for path in run.altered]
    facts += [("not read", reason) for _, reason in run.broken]
    facts += [("unfinished", f"{each.journal} has no table yet: run its command again") for each in run.unfinished]
    tested = len({row["claim"] for row in result.rows})
    output.summarise(screen, f"{len(result.rows)} verdicts on {tested} of {len(known())} claims", facts)
