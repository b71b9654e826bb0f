"""Regular files, files that appear whole or not at all, and SQLite databases that several processes write to."""

from __future__ import annotations

import os
import sqlite3
import stat
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

PATIENCE_S = 60.0  # how long to wait for another process that writes

HOLES = 2**30  # bytes; of a larger file a part must be on the disk

_KINDS = {
    stat.S_IFDIR: "a folder", stat.S_IFIFO: "a named pipe", stat.S_IFSOCK: "a socket", stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}  # fmt: skip


def regular(path: Path) -> Path:
    """The same path, of a file that has an end and can be read without waiting.

    Raises:
        ValueError: it is a folder, pipe, socket or device, of the kernel, or has terabytes of nothing.
        OSError: it is not there, or its links lead nowhere.
    """
    about = path.stat()
    if kind := _KINDS.get(stat.S_IFMT(about.st_mode)):
        raise ValueError(f"{path} is {kind}; give a regular file")
    if about.st_size == 0 and is_kernel(path):
        raise ValueError(f"{path} is a file of the kernel; give a regular file")
    thin = 512 * getattr(about, "st_blocks", about.st_size) < about.st_size // 64  # some file systems count no blocks
    if about.st_size > HOLES and thin and _has_holes(path):
        raise ValueError(f"{path} is {about.st_size:,} bytes of holes; give a file with content")
    return path


def _has_holes(path: Path) -> bool:
    """Whether a file has a hole before its end; a file system that does not tell says no."""
    with path.open("rb") as file:
        size = file.seek(0, os.SEEK_END)
        return file.seek(0, getattr(os, "SEEK_HOLE", os.SEEK_END)) < size


def is_kernel(path: Path) -> bool:
    """Whether a path leads to what the kernel makes up as it is read, which may have no end."""
    return os.path.realpath(path).startswith(("/proc/", "/sys/")) or str(path) in ("/proc", "/sys")


@contextmanager
def whole(path: Path, *, lasting: bool = False) -> Iterator[Path]:
    """A path beside `path` to write to; at the end it takes the place of `path`, after an error it is gone.

    Args:
        path: of the file that is to appear.
        lasting: wait until the disk has it, so that it survives a loss of power.
    """
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        yield part
        if lasting:
            with part.open("rb") as file:
                os.fsync(file.fileno())
        part.replace(path)
    finally:
        with suppress(OSError):  # a disk that cannot be written to has told so before
            part.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Write a text as UTF-8 with lines that end in a line feed; bytes of names that are not UTF-8 are spelled."""
    with whole(path) as part:
        part.write_text(text, encoding="utf-8", errors="backslashreplace", newline="\n")


def database(path: Path, schema: str) -> sqlite3.Connection:
    """Open an SQLite database, in which what is committed survives a kill; the schema's statements make its tables.

    Raises:
        sqlite3.Error: it cannot be opened, or is no database.
        ValueError: it is no regular file.
    """
    if path.exists():
        regular(path)
    connection = sqlite3.connect(path, timeout=PATIENCE_S, isolation_level=None)
    try:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        with transaction(connection):
            for statement in schema.split(";"):
                connection.execute(statement)
    except BaseException:
        connection.close()
        raise
    return connection


@contextmanager
def alone(folder: Path) -> Iterator[None]:
    """One process at a time in this part of the program, for a folder; all at once where there are no such locks."""
    try:
        import fcntl  # noqa: PLC0415 - Windows has none
    except ImportError:
        yield
        return
    with ExitStack() as held:
        with suppress(OSError):  # some network file systems lock no folders
            opened = os.open(folder, os.O_RDONLY)
            held.callback(os.close, opened)
            fcntl.flock(opened, fcntl.LOCK_EX)
        yield


@contextmanager
def transaction(connection: sqlite3.Connection) -> Iterator[None]:
    """All or nothing of what is executed within; another writer is waited for."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise
