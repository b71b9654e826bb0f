"""What a command writes and prints: the folder of a run, its files, a short summary."""

import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryFile
from typing import TYPE_CHECKING, Any

import rich_click as click
from click import get_current_context

from resnet_probe.analyses.registry import declared
from resnet_probe.figures.colours import noted, remembered
from resnet_probe.files import regular
from resnet_probe.lazy import named
from resnet_probe.tables.cells import visible

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from rich.console import Console

    from resnet_probe.analyses.declaration import Table
    from resnet_probe.tables import Result


def run_folder(out: Path | None, command: str, network: str) -> Path:
    """The folder for a run, made and checked for writing, so that a long run does not fail at its end.

    Args:
        out: the option `--out`; without it, `results/<command>-<network>`.
        network: name of the checkpoint or the architecture; what cannot stand in a file name becomes `-`.

    Raises:
        click.UsageError: the folder cannot be made or written to.
    """
    folder = out or Path("results") / f"{command}-{file_name(network)}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with TemporaryFile(dir=folder):
            pass
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise click.UsageError(
            f"cannot write to the folder {folder} ({reason}); give --out a folder that can be written to"
        ) from error
    if get_current_context(silent=True):
        keep_colours(folder)
    return folder


def keep_colours(folder: Path) -> None:
    """Until the command ends, networks that tables in this folder gave a colour keep it."""
    import json

    known: dict[str, str] = {}
    for path in sorted(folder.glob("*.json")):
        try:
            found = json.loads(regular(path).read_text(encoding="utf-8")).get("colours")
        except (OSError, ValueError, AttributeError):
            continue
        if isinstance(found, dict) and len(found) > len(known):  # the longest list has all the others in it
            known = found | {name: colour for name, colour in known.items() if name not in found}
        elif isinstance(found, dict):
            known |= {name: colour for name, colour in found.items() if name not in known}
    get_current_context().with_resource(remembered(known))


def colours(result: "Result") -> dict[str, dict[str, str]]:
    """The setting `colours` of a table with networks in it."""
    found = noted(str(row["network"]) for row in result.rows if row.get("network") is not None)
    return {"colours": found} if found else {}


def other_options(settings: Mapping[str, object], arguments: Mapping[str, object]) -> set[str]:
    """The options that change numbers and differ between a table's settings and these arguments."""
    from resnet_probe.commands.request import SAME_ANYWAY
    from resnet_probe.tables import provenance

    known, asked = settings.get("arguments"), provenance(arguments=arguments)["arguments"]
    if not isinstance(known, dict):
        return set(asked)
    return {key for key in asked.keys() | known.keys() if asked.get(key) != known.get(key)} - set(SAME_ANYWAY)


def settings_in(folder: Path, tables: Sequence["Table"]) -> dict[str, dict[str, object]]:
    """Table -> the settings that stand in the folder, of the tables that are there."""
    import json

    found = {}
    for table in tables:
        try:
            settings = json.loads(regular(folder / f"{table.name}.json").read_text(encoding="utf-8"))
        except (OSError, ValueError):
            continue
        if isinstance(settings, dict):
            found[table.name] = settings
    return found


def refuse_others(
    folder: Path, tables: Mapping[str, Mapping[str, object]], identities: Sequence[str], *, again: bool, fresh: bool
) -> None:
    """Refuse a folder that holds one of these tables of other networks, so that no finished work is lost.

    A run that stopped at one of several networks can be repeated.

    Args:
        tables: that are to be written and are there, with their settings.
        identities: of the networks: hash of the file, or what stands for it.
        again: whether the command has the option --fresh.

    Raises:
        click.UsageError: it does, and `fresh` does not allow to replace it.
    """
    ours = set(identities)
    for table, settings in tables.items():
        found, stopped = settings.get("checkpoint_sha256"), "not_measured" in settings
        theirs = set(found.split(", ")) if isinstance(found, str) else ours
        if theirs != ours and not (stopped and theirs < ours) and not fresh:
            raise click.UsageError(
                f"{folder} holds {table}.csv of other networks; give another --out, or "
                f"{'--fresh to replace it' if again else 'remove it first'}"
            )


def file_name(text: str) -> str:
    """A name as part of a file name: `torchvision:resnet50` becomes `torchvision-resnet50`.

    Of a file of Python its name is enough: `models/mine.py:build` becomes `mine-build`.
    """
    file, _, function = text.rpartition(":")
    if file.endswith(".py"):
        text = f"{Path(file).stem}-{function}"
    kept = "".join(letter if letter.isalnum() or letter in "-_." else "-" for letter in text)
    return kept.strip(".-") or "network"


def write(tables: Sequence["Result"], folder: Path, formats: Sequence[str]) -> list[Path]:
    """Save tables with their settings, and their figures, which say where they come from.

    The settings say which colours the networks have, so that every later figure of a table gives them the same.
    """
    paths = []
    figures = []
    by_name = {table.name: table for table in tables}
    for table in tables:
        for plot in declared(table.name).plots if formats and table.rows else ():
            others = [by_name.get(name) for name in plot.takes]
            figures.append((plot.name, named(plot.draw)(table, *others), table.origin()))
        by_name[table.name] = coloured = table.with_settings(colours(table))
        paths += save(coloured, folder)
    return [*paths, *save_figures(figures, folder, formats)]


def refuse_tables_nowhere(out: Path | None) -> None:
    """Refuse `--table` where nothing is written.

    Raises:
        click.UsageError: there is no folder.
    """
    if out is None and get_current_context().meta["tables"]:
        raise click.UsageError("--table given without --out; give the folder for the tables")


def save(table: "Result", folder: Path, keys: Sequence[str] = (), intervals: Sequence[str] = ()) -> list[Path]:
    """Save a table as CSV with its settings, and as what `--table` asks for."""
    return [*table.save(folder), *save_as(table, folder, keys, intervals)]


def save_as(table: "Result", folder: Path, keys: Sequence[str] = (), intervals: Sequence[str] = ()) -> list[Path]:
    """Save a table as what `--table` asks for: those columns of it, or the ones that the terminal shows.

    `intervals`: lower ends of 95 % intervals beside the declared ones.
    """
    context = get_current_context(silent=True)
    kinds = context.meta.get("tables", ()) if context else ()
    if not kinds:
        return []
    from resnet_probe.tables.formats import Layout
    from resnet_probe.tables.formats import write as write_as

    about = declared(table.name)
    titles = {column.key: column.title for column in about.columns}
    intervals = [*intervals, *(each.key for each in about.columns if each.method and each.key.endswith("low"))]
    return write_as(table, folder, kinds, Layout(titles, keys or about.paper or about.printed, intervals))


def save_figures(
    figures: Iterable[tuple[str, "Figure", Mapping[str, str]]], folder: Path, formats: Sequence[str]
) -> list[Path]:
    """Save figures by their names, each with the origin of its table."""
    from resnet_probe.figures import save

    return [path for name, figure, origin in figures for path in save(figure, folder, name, formats, metadata=origin)]


def shown(text: str) -> str:
    """A text as it may be shown: nothing in it moves the cursor or changes a terminal in another way."""
    return visible(text).replace("\r", "\\r")


def console(quiet: bool = False) -> "Console":
    """Where a command prints. Plain text, never cut or wrapped, where the output is not a terminal."""
    from rich.console import Console

    class Screen(Console):
        def print(self, *objects: Any, **how: Any) -> None:
            super().print(*(shown(each) if isinstance(each, str) else each for each in objects), **how)

    return Screen(quiet=quiet, highlight=False, markup=False, emoji=False, soft_wrap=True)


def summarise(screen: "Console", title: str, facts: Iterable[tuple[str, str]]) -> None:
    """Print a title, then one line per fact, with the values below one another."""
    facts = list(facts)
    width = max((len(name) for name, _ in facts), default=0)
    if title:
        screen.print(title, style="bold")
    for name, value in facts:
        screen.print(f"  {name:<{width}}  {value}")


def columns(screen: "Console", headings: Sequence[str], lines: Sequence[Sequence[str]], right: int = 0) -> None:
    """Print lines of cells below their headings, the last `right` columns aligned to the right."""
    widths = [max(len(line[i]) for line in (headings, *lines)) for i in range(len(headings))]
    for number, line in enumerate((headings, *lines)):
        cells = [
            cell.rjust(width) if i >= len(headings) - right else cell.ljust(width)
            for i, (cell, width) in enumerate(zip(line, widths, strict=True))
        ]
        screen.print("  ".join(cells).rstrip(), style="bold" if number == 0 else None)


def rows(screen: "Console", table: "Result", keys: Sequence[str]) -> None:
    """Print some columns of a table, numbers aligned to the right; of several networks, which one a row is about."""
    from resnet_probe.tables.cells import written

    keys = [*(["network"] if len(table.networks) > 1 and "network" not in keys else []), *keys]
    titles = {column.key: column.title for column in declared(table.name).columns}
    lines = [[visible(written(row[key]), line=True) for key in keys] for row in table.rows]
    columns(screen, [titles[key] for key in keys], lines, right=len(keys) - 1)


def listing(paths: Sequence[Path]) -> str:
    """Files that were written: their folder, and what is in it."""
    folder = os.path.commonpath([path.parent for path in paths])
    return f"{Path(folder)}{os.sep}: {', '.join(path.name for path in paths)}"
