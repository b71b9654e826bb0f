"""What a run does not have: sweeps that were interrupted, tables that cannot be read, analyses that were not run.

Each comes with the command that would make it, from the settings of the tables that are there.
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from resnet_probe.analyses.registry import analyses, analysis_of, declared, studied
from resnet_probe.files import regular
from resnet_probe.tables import Run, SavedTable

STUDY = "study.json"
ALTERED = "not the table that was written: it was changed since, or a run was stopped between table and settings"
IMAGES = ("data", "classes", "normalize", "limit")  # options that say which images


@dataclass(frozen=True)
class Missing:
    """Something that is not there: what, why, and the command that makes it (empty where none is known)."""

    what: str
    why: str
    command: str = ""


def missing(run: Run) -> list[Missing]:
    """What is missing, the interrupted first."""
    found: list[Missing] = []
    failed = {(step["table"], step["network"]): step["reason"] for step in _failed_steps(run.folders)}
    unfinished = {(each.table, each.journal.parent) for each in run.unfinished}
    for each in run.unfinished:
        folder = each.journal.parent
        why = "the sweep was interrupted; what it has finished is kept, and the same command goes on from there"
        network = _network_of(run, folder)
        command = _command(run, each.table, network, folder) if network else ""
        found.append(Missing(f"{declared(each.table).title} ({folder.name})", why, command))
    for path, reason in run.broken:
        found.append(Missing(f"{path.name} in {path.parent}", f"not read: {reason}"))
    for path in run.altered:
        found.append(Missing(f"{path.name} in {path.parent}", ALTERED))
    for (name, network), why in failed.items():
        if any(table.name == name and network in ("", *table.networks) for table in run.tables):
            what = f"{declared(name).title} of {network}" if network else declared(name).title
            found.append(Missing(what, f"the study failed here: {why}; the table that is there is of an earlier run"))
    for network in run.networks():
        tables = [table for table in run.tables if network in table.networks]
        if {table.name for table in tables} <= {"zoo", "compare"} or _of_grid(run, tables):
            continue
        blocks = _has_blocks(tables, network)
        task = any(table.about(network).get("task") for table in tables)
        folder = tables[0].folder
        for table in studied():
            name = table.name
            if any(each.name == name for each in tables) or (name, folder) in unfinished:
                continue
            if (table.blocks and blocks is False) or (task and not analysis_of(name).needs.tasks):
                continue
            why = failed.get((name, network), "this analysis has not been run")
            command = _command(run, name, network, folder)
            found.append(Missing(f"{table.title} of {network}", why, command))
    return found


def _of_grid(run: Run, tables: Iterable[SavedTable]) -> bool:
    """Whether the network is one of a grid, which trains many and measures one thing of each."""
    grids = {table.folder for table in run.named("grid")}
    return {table.folder for table in tables} <= grids


def _failed_steps(folders: Iterable[Path]) -> list[Mapping[str, Any]]:
    steps: list[Mapping[str, Any]] = []
    for folder in folders:
        try:
            noted = json.loads(regular(folder / STUDY).read_text(encoding="utf-8"))
            steps += [step for step in noted["steps"] if step["state"] == "failed"]
        except (OSError, ValueError, KeyError, TypeError):
            continue
    return steps


def _network_of(run: Run, folder: Path) -> str:
    """The network that the tables of a folder are about, if it is one."""
    names = {network for table in run.tables if table.folder == folder for network in table.networks}
    return names.pop() if len(names) == 1 else ""


def _has_blocks(tables: Iterable[SavedTable], network: str) -> bool | None:
    """Whether the network has residual blocks; None where no table says."""
    for table in tables:
        if declared(table.name).blocks:
            return True
        if any(row.get("kind") for row in table.rows(network)):
            return any(row.get("kind") == "block" for row in table.rows(network))
    return None


def _command(run: Run, name: str, network: str, folder: Path) -> str:
    """The command that makes a table of a network, with the options that its other tables were made with."""
    words = declared(name).command.replace(" --data", "").split()
    given = _options(run, network)
    if name == "inspect" and "ckpt" in given:
        words.append(given.pop("ckpt"))
    owner = next(each for each in analyses().values() if any(table.name == name for table in each.tables))
    taken = ("ckpt", "arch") if owner.needs.images == "none" or name == "paths" else ("ckpt", "arch", *IMAGES)
    if not given and name != "inspect":
        return " ".join(["resnet-probe", *words, "--ckpt FILE --data DATA --out", shlex.quote(str(folder))])
    for option in taken:
        if option in given:
            words += [f"--{option}", given[option]]
    return shlex.join(["resnet-probe", *words, "--out", str(folder)])


def _options(run: Run, network: str) -> dict[str, str]:
    """Network, images and normalisation, from the first table of this network alone that says them."""
    found: dict[str, str] = {}
    for table in run.tables:
        if table.networks != [network]:
            continue
        for option, argument in (("ckpt", "ckpts"), ("arch", "arch"), *((name, name) for name in IMAGES)):
            value = table.argument(argument)
            if isinstance(value, list):  # an option that can be given several times
                value = value[0] if len(value) == 1 else None
            if value is not None:
                found.setdefault(option, str(value))
    return found
