"""The tables of trainings: `grid` with a row per cell, `curves` with a row per cell and epoch, and means over seeds."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from statistics import mean, stdev
from typing import Any

from resnet_probe.tables import Result

DONE = "done"  # status of a cell that was trained to its end; any other says why it was not
GRID_COLUMNS = (
    "cell", "arch", "family", "depth", "variant", "style", "seed", "parameters", "epochs", "train_error", "train_loss",
    "test_error", "test_loss", "seconds", "iterations", "status",
)  # fmt: skip
CURVE_COLUMNS = (
    "cell", "epoch", "iteration", "learning_rate", "train_loss", "train_error", "test_loss", "test_error", "arch",
    "family", "depth", "variant", "style", "seed", "seconds", "images",
)  # fmt: skip
LESION_COLUMNS = (
    "cell", "arch", "style", "seed", "block", "index", "resizes", "images", "error", "intact_error", "increase",
)  # fmt: skip
SUMMARY_COLUMNS = (
    "arch", "family", "depth", "variant", "style", "seeds", "parameters", "train_error", "train_error_std",
    "test_error", "test_error_std", "test_error_median", "seconds",
)  # fmt: skip


def grid_table(rows: Iterable[Mapping[str, Any]], settings: Mapping[str, Any]) -> Result:
    """Table `grid`: what each cell ended with. Errors are in percent, those of training as the images came by."""
    return Result("grid", GRID_COLUMNS, tuple(dict(row) for row in rows), dict(settings))


def curves_table(rows: Iterable[Mapping[str, Any]], settings: Mapping[str, Any]) -> Result:
    """Table `curves`: loss and error of each cell after each epoch."""
    return Result("curves", CURVE_COLUMNS, tuple(dict(row) for row in rows), dict(settings))


def lesions_table(
    lesions: Iterable[Mapping[str, Any]], cells: Mapping[str, Mapping[str, Any]], settings: Mapping[str, Any]
) -> Result:
    """Table `grid_lesions`: per cell and deleted block the error in percent, and how much of it the deletion added.

    Args:
        lesions: rows of the table `lesion`, `network` naming the cell; the intact row of a network comes first.
        cells: per cell its row of the table `grid`.
    """
    rows, intact = [], {}
    for row in lesions:
        cell = cells[row["network"]]
        if row["index"] is None:
            intact[row["network"]] = row["error"]
            continue
        before = intact[row["network"]]
        found = {"cell": row["network"], **{key: cell[key] for key in ("arch", "style", "seed")}}
        found |= {key: row[key] for key in ("block", "index", "resizes", "images", "error")}
        rows.append(found | {"intact_error": before, "increase": row["error"] - before})
    return Result("grid_lesions", LESION_COLUMNS, tuple(rows), dict(settings))


def summary_table(rows: Sequence[Mapping[str, Any]], settings: Mapping[str, Any]) -> Result:
    """Table `grid_summary`: mean, standard deviation (n - 1) and median over the seeds of cells that were finished."""
    found = []
    keys = ("arch", "family", "depth", "variant", "style")
    for key in dict.fromkeys(tuple(row[column] for column in keys) for row in rows):
        mine = [r for r in rows if tuple(r[column] for column in keys) == key and r["test_error"] is not None]
        if not mine:
            continue
        entry: dict[str, Any] = dict(zip(keys, key, strict=True))
        entry |= {"seeds": len(mine), "parameters": mine[0]["parameters"]}
        for name in ("train_error", "test_error"):
            values = [row[name] for row in mine]
            entry[name] = mean(values)
            entry[f"{name}_std"] = stdev(values) if len(values) > 1 else None
        tested = sorted(row["test_error"] for row in mine)
        entry["test_error_median"] = (tested[(len(tested) - 1) // 2] + tested[len(tested) // 2]) / 2
        entry["seconds"] = math.fsum(row["seconds"] for row in mine)
        found.append(entry)
    return Result("grid_summary", SUMMARY_COLUMNS, tuple(found), dict(settings))
