"""The tables of trainings: `grid` with a row per cell, `curves` with a row per cell and epoch, and means over seeds."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from statistics import mean, stdev
from typing import Any

from resnet_probe.analyses.grid import CURVES, GRID, LESIONS, SUMMARY
from resnet_probe.tables import Result

DONE = "done"  # status of a cell that was trained to its end; any other says why it was not


def grid_table(rows: Iterable[Mapping[str, Any]], settings: Mapping[str, Any]) -> Result:
    """Table `grid`: what each cell ended with. Errors are in percent, those of training as the images came by."""
    return GRID.result(rows, **settings)


def curves_table(rows: Iterable[Mapping[str, Any]], settings: Mapping[str, Any]) -> Result:
    """Table `curves`: loss and error of each cell after each epoch."""
    return CURVES.result(rows, **settings)


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
    return LESIONS.result(rows, **settings)


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
    return SUMMARY.result(found, **settings)
