"""Run folders: the tables that stand in them, and what is broken or unfinished. Nothing here needs torch.

- `read_run`: every table of one or several folders (and of the folders right in them) as a `Run`.
- `Run`: its tables by name, files that are no tables, sweeps that did not come to their end.
- `SavedTable`: a result with the folder it stands in, and what its settings say about a network and its images.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from resnet_probe.tables import Result, altered, read

__all__ = ["MALFORMED", "Run", "SavedTable", "Unfinished", "read_run"]

# What comes of a table that has other columns or values than one of its name.
MALFORMED = (KeyError, IndexError, TypeError, ValueError, AttributeError, ArithmeticError, StopIteration)
UNNAMED = "a data set that the settings do not name"


@dataclass(frozen=True)
class SavedTable:
    """A result that was found in a folder; `saved` is as it stands there, where networks go by another name here."""

    folder: Path
    result: Result
    saved: Result | None = None

    @property
    def name(self) -> str:
        """The name of the result, such as `lesion`."""
        return self.result.name

    @property
    def path(self) -> Path:
        """The CSV file."""
        return self.folder / f"{self.name}.csv"

    @property
    def networks(self) -> list[str]:
        """The networks in the table, in its order."""
        return self.result.networks

    def rows(self, network: str) -> list[dict[str, Any]]:
        """The rows of one network."""
        return self.result.of(network)

    def about(self, network: str) -> Mapping[str, Any]:
        """What the settings say of one network."""
        return self.result.about(network)

    def arch(self, network: str) -> str:
        """Name of the architecture, or an empty text where the settings do not say it."""
        return str(self.about(network).get("arch") or "")

    def argument(self, name: str) -> Any:
        """An option of the command that made the table, or None."""
        arguments = self.result.settings.get("arguments")
        return arguments.get(name) if isinstance(arguments, Mapping) else None

    def checkpoint(self, network: str) -> str:
        """The SHA-256 of the file that the network's weights came from, or an empty text where that is not known."""
        found = str(self.about(network).get("checkpoint_sha256") or "")
        return found if re.fullmatch("[0-9a-f]{64}", found) else ""

    def is_named(self) -> bool:
        """Whether the settings say which data set it is."""
        return self.images() != UNNAMED

    def images(self, network: str = "") -> str:
        """The data set in a word or two, as far as it is known: `digits`, `the folder cifar10`.

        Args:
            network: whose images, where the networks of the table have images of their own.
        """
        described = self.about(network).get("data_set")
        if isinstance(described, Mapping) and described.get("name"):
            name = str(described["name"])
            return f"the folder {name}" if described.get("folder") else name
        given = self.argument("data")
        if not isinstance(given, str) or not given:
            return UNNAMED
        return f"the folder {Path(given).name or given}" if re.search(r"[/\\.]", given) else given


@dataclass(frozen=True)
class Unfinished:
    """A sweep that has a journal and no table: the name of the table, and the journal."""

    table: str
    journal: Path


@dataclass(frozen=True)
class Run:
    """What stands in the folders of a run.

    Attributes:
        folders: the folders that were asked for.
        tables: readable tables, in the order of the folders and their names.
        broken: files that should be tables and are not, each with the reason in one line.
        unfinished: sweeps whose table is not there.
    """

    folders: tuple[Path, ...]
    tables: tuple[SavedTable, ...]
    broken: tuple[tuple[Path, str], ...] = ()
    unfinished: tuple[Unfinished, ...] = ()

    @cached_property
    def altered(self) -> tuple[Path, ...]:
        """The CSV files that are not what was written, by the digest in the settings beside them."""
        return tuple(table.path for table in self.tables if altered(table.path))

    def named(self, name: str) -> list[SavedTable]:
        """The tables of that name."""
        return [table for table in self.tables if table.name == name]

    def each(self, name: str) -> Iterator[tuple[SavedTable, str]]:
        """The tables of that name, each with every network in it."""
        return ((table, network) for table in self.named(name) for network in table.networks)

    def names(self) -> list[str]:
        """The names of the tables, each once."""
        return list(dict.fromkeys(table.name for table in self.tables))

    def networks(self) -> list[str]:
        """The networks of all tables, each once; not the architectures that checkpoints were averaged under."""
        named = (
            network
            for table in self.tables
            for network in table.networks
            if not table.about(network).get("checkpoints")
        )
        return list(dict.fromkeys(named))


def read_run(folders: Iterable[Path], *, ignore: Iterable[str] = ("claims",)) -> Run:
    """Read all tables in folders and in the folders right in them; a run of several networks has one for each.

    A table whose settings are missing is read without them. Two copies of one table, as a folder that is named twice,
    count once. Where one name stands for several checkpoints, their folder (or hash) is added to it: `model (A)`.

    Args:
        folders: folders that commands wrote to.
        ignore: names of tables to leave out: what is made from the others.

    Raises:
        ValueError: there is no table in any of them, and no unfinished one.
    """
    folders = tuple(dict.fromkeys(Path(folder) for folder in folders))
    ignored = set(ignore)
    tables: list[SavedTable] = []
    broken: list[tuple[Path, str]] = []
    unfinished: dict[tuple[Path, str], Unfinished] = {}
    seen: set[Path] = set()
    for folder in folders:
        within = sorted(path for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))
        for place in (folder, *within):
            if place.resolve() in seen:
                continue
            seen.add(place.resolve())
            for path in sorted(place.glob("*.csv")):
                if path.stem not in ignored and not path.name.startswith("."):
                    _take(path, tables, broken)
            for path in sorted(place.glob("*.journal")):
                name = path.name.partition(".")[0]  # what follows says which network, or which part of the sweep
                if not (place / f"{name}.csv").is_file():
                    unfinished.setdefault((place, name), Unfinished(name, path))
    if not tables and not unfinished and not broken:
        given = ", ".join(str(folder) for folder in folders)
        raise ValueError(
            f"no table in {given or 'no folder'} or in the folders in it; "
            "give a folder that another command wrote with --out"
        )
    return Run(folders, _told_apart(tables, folders), tuple(broken), tuple(unfinished.values()))


def _told_apart(tables: list[SavedTable], folders: tuple[Path, ...]) -> tuple[SavedTable, ...]:
    """The same tables; names that stand for several checkpoints say which."""
    known: dict[str, dict[str, set[Path]]] = {}  # name -> checkpoint -> which of the folders it was found in
    for table in tables:
        for name in table.networks:
            if found := table.checkpoint(name):
                known.setdefault(name, {}).setdefault(found, set()).add(_given(table, folders))
    labels: dict[tuple[str, str], str] = {}
    for name, checkpoints in known.items():
        if len(checkpoints) < 2:
            continue
        places = [{folder.name for folder in found} for found in checkpoints.values()]
        apart = all(len(found) == 1 for found in places) and len(set.union(*places)) == len(places)
        for checkpoint, around in checkpoints.items():
            labels[name, checkpoint] = f"{name} ({min(around).name if apart else checkpoint[:8]})"

    def label(table: SavedTable, name: str) -> str:
        here = [
            checkpoint for checkpoint, found in known.get(name, {}).items() if _given(table, folders) in found
        ]  # a table that does not say goes with its folder
        checkpoint = table.checkpoint(name) or (here[0] if len(here) == 1 else "")
        return labels.get((name, checkpoint), name)

    return tuple(_renamed(table, {name: label(table, name) for name in table.networks}) for table in tables)


def _given(table: SavedTable, folders: tuple[Path, ...]) -> Path:
    """Which of the folders that were asked for the table was found in."""
    return next((folder for folder in folders if folder == table.folder), table.folder.parent)


def _renamed(table: SavedTable, names: Mapping[str, str]) -> SavedTable:
    if all(old == new for old, new in names.items()):
        return table
    result = table.result
    rows = tuple({**row, "network": names.get(str(row["network"]), row["network"])} for row in result.rows)
    settings = {
        key: {names.get(name, name): about for name, about in value.items()}
        if key == "networks" and isinstance(value, Mapping)
        else value
        for key, value in result.settings.items()
    }
    return replace(table, result=replace(result, rows=rows, settings=settings), saved=result)


def _take(path: Path, tables: list[SavedTable], broken: list[tuple[Path, str]]) -> None:
    try:
        result = read(path.parent, path.stem)
    except (ValueError, OSError, csv.Error) as error:
        broken.append((path, " ".join(str(error).split())))
        return
    if not result.rows:
        broken.append((path, f"{path} has no rows"))
    elif "network" not in result.columns and not result.settings:
        broken.append((path, f"{path} is no table of this program: no column network, and no settings beside it"))
    else:
        tables.append(SavedTable(path.parent, result))
