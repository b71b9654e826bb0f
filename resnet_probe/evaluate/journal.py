"""Finished work, kept in SQLite: what is in the journal counts, and is never computed again.

One row per (variant, shard of images); all variants of a shard are committed in one transaction. The journal knows what
it belongs to (checkpoint, data, settings) and refuses anything else by name. Every row and every decision carries a
digest of itself and of what the journal belongs to, so that a flipped bit is noticed and never becomes a number.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import Any

from resnet_probe.files import alone, database, transaction

__all__ = ["Journal", "JournalError", "Row"]

FORMAT = 3

_SCHEMA = """
CREATE TABLE IF NOT EXISTS about (key TEXT PRIMARY KEY, value TEXT NOT NULL, digest BLOB) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS outcome (
    shard INTEGER NOT NULL, variant INTEGER NOT NULL, examples INTEGER NOT NULL, sums TEXT NOT NULL, kept BLOB NOT NULL,
    digest BLOB NOT NULL, PRIMARY KEY (shard, variant)
) WITHOUT ROWID
"""

_COLUMNS = "shard, variant, examples, sums, kept"  # of `Row`


class JournalError(ValueError):
    """The journal belongs to something else, or cannot be read or written.

    Args:
        message: in one line.
        different: what it belongs to otherwise, by the names of `Journal.open`.
    """

    def __init__(self, message: str, different: Iterable[str] = ()) -> None:
        super().__init__(message)
        self.different = frozenset(different)


@dataclass(frozen=True)
class Row:
    """Outcome of one variant on one shard of examples, by the columns of the task.

    Attributes:
        shard, variant: their numbers.
        examples: in the shard.
        sums: per column the sum over the examples, but for values; of numbers in 2^-24, so that sums are exact.
        kept: what is kept of each example: per column of flags one bit, most significant first, padded to whole bytes;
            per column of values a little-endian float64.
    """

    shard: int
    variant: int
    examples: int
    sums: Mapping[str, int]
    kept: bytes


class Journal:
    """An open journal. Made by `Journal.open`; several processes may have the same one open."""

    def __init__(self, connection: sqlite3.Connection, path: Path) -> None:
        self._connection, self.path = connection, path

    @classmethod
    def open(cls, path: Path, about: Mapping[str, Any], *, fresh: bool = False) -> Journal:
        """Open or begin the journal at `path`.

        Args:
            path: the file.
            about: what the results belong to; JSON values by name.
            fresh: start over, whatever is there.

        Raises:
            JournalError: there is a journal of something else; the message names what differs. Or the file is no
                journal, or is damaged.
        """
        expected = {key: json.dumps(value, sort_keys=True) for key, value in {**about, "format": FORMAT}.items()}
        with alone(path.parent):  # or one would remove the files that another is just opening
            if fresh:
                for file in (path, *(path.with_name(path.name + end) for end in ("-wal", "-shm"))):
                    file.unlink(missing_ok=True)
            journal, found = cls._begun(path, expected)
        different = [key for key in expected | found if expected.get(key) != found.get(key)]
        if different:
            key = different[0]
            journal.close()
            raise JournalError(
                f"{path} holds results of another {key.replace('_', ' ')} ({found.get(key)}, now {expected.get(key)}); "
                "give another --out, or --fresh to start over",
                different,
            )
        try:
            damage = journal._damage()
        except (sqlite3.Error, ValueError) as error:
            damage = " ".join(str(error).split())
        if damage:
            journal.close()
            raise JournalError(f"{path} is damaged ({damage}); give another --out, or --fresh to start over")
        return journal

    @classmethod
    def _begun(cls, path: Path, expected: dict[str, str]) -> tuple[Journal, dict[str, str]]:
        """The journal, and what it belongs to: what is expected where it has no results yet."""
        try:
            connection = database(path, _SCHEMA)
            journal = cls(connection, path)
            with transaction(connection):
                found = journal._about()
                empty = connection.execute("SELECT 1 FROM outcome LIMIT 1").fetchone() is None
                if empty and found != expected and (not found or "format" in found):  # there is nothing to lose
                    connection.execute("DELETE FROM about")
                    connection.executemany("INSERT INTO about VALUES (?, ?, NULL)", expected.items())
                    found = expected
        except (sqlite3.Error, UnicodeDecodeError) as error:  # some of SQLite's own messages are not UTF-8
            raise _explained(path, error) from error
        return journal, found

    def _damage(self) -> str:
        """What is not as it was written, in a few words; empty if all is."""
        if (found := self._connection.execute("PRAGMA quick_check(1)").fetchone()) != ("ok",):
            return " ".join(str(found[0]).split())
        belongs = self._belongs()
        # Columns by their names: those of a damaged schema may have others.
        decisions = "SELECT key, value, digest FROM about WHERE key LIKE 'plan:%'"
        for key, value, digest in self._connection.execute(decisions):
            if digest != _digest(belongs, key, value):
                return f"the decision {key.removeprefix('plan:')}"
        for shard, variant, *content, digest in self._connection.execute(f"SELECT {_COLUMNS}, digest FROM outcome"):
            if digest != _digest(belongs, shard, variant, *content):
                return f"the outcome of variant {variant} on shard {shard}"
        return ""

    def _belongs(self) -> str:
        return json.dumps(self._about(), sort_keys=True)

    def remember(self, key: str, value: Any) -> Any:
        """Keep a decision with the results; if one was kept before, return that one."""
        name, new = f"plan:{key}", json.dumps(value)
        with self._transaction():
            digest = _digest(self._belongs(), name, new)
            self._connection.execute("INSERT OR IGNORE INTO about VALUES (?, ?, ?)", (name, new, digest))
            (text,) = self._connection.execute("SELECT value FROM about WHERE key = ?", (f"plan:{key}",)).fetchone()
        return json.loads(text)

    def require(self, key: str, value: Any) -> None:
        """Keep what the results depend on, or find it kept.

        Raises:
            JournalError: something else was kept.
        """
        if self.remember(key, value) != value:
            raise JournalError(
                f"{self.path} holds results of another {key}; give another --out, or --fresh to start over"
            )

    def recall(self, key: str) -> Any:
        """A decision that was kept, or None."""
        found = self._connection.execute("SELECT value FROM about WHERE key = ?", (f"plan:{key}",)).fetchone()
        return json.loads(found[0]) if found else None

    def forget(self) -> None:
        """Drop all results, and how their shards were cut."""
        with self._transaction():
            self._connection.execute("DELETE FROM outcome")
            self._connection.execute("DELETE FROM about WHERE key = 'plan:budget'")

    def adopt(self, path: Path) -> None:
        """Take over what another process's journal of the same sweep holds, if it was decided alike how to run it."""
        other = Journal.open(path, {key: json.loads(text) for key, text in self._about().items() if key != "format"})
        try:
            theirs = other._decisions()
            if all(self.recall(key) in (None, value) for key, value in theirs.items()):
                for key, value in theirs.items():
                    self.remember(key, value)
                self.commit(other.rows())
        finally:
            other.close()

    def _about(self) -> dict[str, str]:
        return dict(self._connection.execute("SELECT key, value FROM about WHERE key NOT LIKE 'plan:%'"))

    def _decisions(self) -> dict[str, Any]:
        """What was remembered."""
        found = self._connection.execute("SELECT key, value FROM about WHERE key LIKE 'plan:%'")
        return {key.removeprefix("plan:"): json.loads(text) for key, text in found}

    def done(self) -> set[int]:
        """Numbers of the finished shards."""
        return {shard for (shard,) in self._connection.execute("SELECT DISTINCT shard FROM outcome")}

    def commit(self, rows: Iterable[Row]) -> None:
        """Write the rows of one shard; they count from then on. Rows that are there already stay as they are."""
        belongs = self._belongs()
        plain = [(r.shard, r.variant, r.examples, json.dumps(r.sums), r.kept) for r in rows]
        values = [(*each, _digest(belongs, *each)) for each in plain]
        with self._transaction():
            self._connection.executemany(
                "INSERT INTO outcome VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT (shard, variant) DO NOTHING", values
            )

    def rows(self) -> Iterator[Row]:
        """All rows, by shard and variant."""
        found = self._connection.execute(f"SELECT {_COLUMNS} FROM outcome ORDER BY shard, variant")
        for shard, variant, examples, sums, kept in found:
            yield Row(shard, variant, examples, json.loads(sums), kept)

    def close(self) -> None:
        """Close the file; what was committed stays."""
        self._connection.close()

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        try:
            with transaction(self._connection):
                yield
        except sqlite3.OperationalError as error:
            raise OSError(f"cannot write to {self.path} ({error}); finished work is kept") from error


def _digest(*content: Any) -> bytes:
    """Of texts, numbers and bytes, each with its kind and length."""
    digest = blake2b(digest_size=16)
    for each in content:
        text = each if isinstance(each, bytes) else str(each).encode()
        digest.update(f"{type(each).__name__} {len(text)} ".encode() + text)
    return digest.digest()


def _explained(path: Path, error: Exception) -> Exception:
    code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR)  # of a statement: the schema has no such column
    if isinstance(error, sqlite3.OperationalError) and code != sqlite3.SQLITE_ERROR:
        return OSError(f"cannot open {path} ({error}); give --out a folder that can be written to")
    return JournalError(f"{path} is no journal of resnet-probe ({error}); give another --out, or --fresh to start over")
