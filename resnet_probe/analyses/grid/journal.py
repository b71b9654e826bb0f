"""What has become of each cell of a grid, in SQLite: an explicit status, the row and the curve."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from resnet_probe.files import database

SCHEMA = """
CREATE TABLE IF NOT EXISTS cell (
    name TEXT PRIMARY KEY, identity TEXT NOT NULL, status TEXT NOT NULL, row TEXT NOT NULL, curve TEXT NOT NULL
) WITHOUT ROWID
"""


class GridError(ValueError):
    """A grid that cannot begin or go on; the message is one line."""


class GridJournal:
    """The journal `grid.journal` of a folder; several processes may have it open."""

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            self._connection = database(path, SCHEMA)
        except sqlite3.Error as error:
            raise GridError(f"{path} is no journal of a grid that can be used ({error}); give another --out") from error

    def finished(self, name: str, identity: Mapping[str, Any]) -> dict[str, Any] | None:
        """Row and curve of a cell that was finished, or None.

        Raises:
            GridError: a cell of this name was another training.
        """
        found = self._connection.execute("SELECT identity, row, curve FROM cell WHERE name = ?", (name,)).fetchone()
        if found is None:
            return None
        theirs, ours = json.loads(found[0]), json.loads(json.dumps(identity))
        different = [key for key in ours if theirs.get(key) != ours[key]]
        if different:
            raise GridError(
                f"{self.path.parent} has the cell {name} of another training (another {different[0].replace('_', ' ')})"
                "; give another --out, or --fresh to train it again"
            )
        return {"row": json.loads(found[1]), "curve": json.loads(found[2])}

    def commit(self, name: str, identity: Mapping[str, Any], status: str, made: Mapping[str, Any]) -> None:
        """Keep what became of a cell; from here on it counts."""
        try:
            self._connection.execute(
                "INSERT OR REPLACE INTO cell VALUES (?, ?, ?, ?, ?)",
                (name, json.dumps(identity), status, json.dumps(made["row"]), json.dumps(made["curve"])),
            )
        except sqlite3.Error as error:
            raise GridError(f"cannot write {self.path} ({error}); the weights of {name} are saved") from error

    def forget(self, name: str) -> None:
        """Train this cell again."""
        self._connection.execute("DELETE FROM cell WHERE name = ?", (name,))

    def close(self) -> None:
        """Close the file."""
        self._connection.close()
