"""`resnet-probe report`: one page that tells the story of a run."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import rich_click as click

from resnet_probe.commands import claims, options, output
from resnet_probe.files import write_text


@click.command("report")
@claims.runs
@options.out_to("FILE.html|DIR", "Where the page goes.  [default: report.html in the first DIR]")
@options.quiet
def command(*, folders: Sequence[Path], out: Path | None, quiet: bool) -> None:
    """Write one HTML page with figures, tables, explanations and the published claims, from the tables of a run.

    The page is one file and needs no network; it can be printed. It says what is missing, with the command to make it.
    torch is not needed.
    """
    path = write(folders, out)
    screen = output.console(quiet)
    screen.print(f"report: {path} ({path.stat().st_size / 1e6:.2g} MB)")


def write(folders: Sequence[Path], out: Path | None = None) -> Path:
    """Write the page on these folders, and say where it is.

    Raises:
        click.UsageError: the place cannot be written to.
        ValueError: there is no table in the folders.
    """
    from resnet_probe.report import build
    from resnet_probe.tables import read_run

    path = out or folders[0] / "report.html"
    if path.is_dir() or not path.suffix:
        path = path / "report.html"
    run = read_run(folders)
    page = build(run, claims=claims.judged(run))
    output.run_folder(path.parent, "report", "")
    write_text(path, page)
    return path
