"""SQLite stores that may only be read: a home of somebody else, an archive, a read-only mount.

A database in WAL mode needs files beside it even to be read. Where these cannot be made, the database is copied to a
temporary folder with the transactions that its `-wal` holds, and read there. `immutable=1` would pass over those.
"""

from __future__ import annotations

import os
import shutil
import sqlite3
from contextlib import closing
from functools import lru_cache
from pathlib import Path
from tempfile import TemporaryDirectory

WAIT_S = 120  # for a lock on the database
TRIES = 5  # to copy the files of a database while nothing writes to them
SUFFIXES = ("", "-wal", "-journal")  # of the files that hold a database; -shm is made from them
Stamp = tuple[tuple[int, int, int] | None, ...]


def readable(database: Path) -> Path:
    """The database itself where it can be written; else a copy of its state now, kept until this process ends.

    Raises OSError and sqlite3.Error where it cannot be read.
    """
    if is_writable(database):
        return database
    return Path(_copy(database, _stamp(database)).name, database.name)


def connect(database: Path) -> sqlite3.Connection:
    """A connection for reading. Raises OSError and sqlite3.Error where it cannot be read."""
    return sqlite3.connect(f"{readable(database).absolute().as_uri()}?mode=ro", uri=True, timeout=WAIT_S)


def is_writable(database: Path) -> bool:
    """Whether SQLite may write to the database and make files beside it."""
    return os.access(database, os.W_OK) and os.access(database.parent, os.W_OK)


@lru_cache(4)
def _copy(database: Path, stamp: Stamp) -> TemporaryDirectory[str]:
    """A folder with a copy. stamp: of the database as it is, so that a changed one is copied again."""
    scratch = TemporaryDirectory(prefix="gansweep-")
    copy = Path(scratch.name, database.name)
    try:
        with (
            closing(sqlite3.connect(f"{database.absolute().as_uri()}?mode=ro", uri=True, timeout=WAIT_S)) as source,
            closing(sqlite3.connect(copy)) as target,
        ):
            source.backup(target)  # one transaction, whatever another process writes meanwhile
    except sqlite3.OperationalError:  # no -shm beside a database in WAL mode, and none can be made
        _copy_files(database, copy)
    return scratch


def _copy_files(database: Path, copy: Path) -> None:
    """Copy files of which none changes meanwhile. Raises sqlite3.OperationalError where they do at every try."""
    for _ in range(TRIES):
        before = _stamp(database)
        for suffix in SUFFIXES:
            beside(copy, suffix).unlink(missing_ok=True)
            if beside(database, suffix).exists():
                shutil.copyfile(beside(database, suffix), beside(copy, suffix))
        beside(copy, "-shm").unlink(missing_ok=True)
        if _stamp(database) == before:
            return
    raise sqlite3.OperationalError("another process keeps writing to it; try again")


def _stamp(database: Path) -> Stamp:
    """Changes with what the database holds."""
    return tuple(_of_file(beside(database, suffix)) for suffix in SUFFIXES)


def _of_file(path: Path) -> tuple[int, int, int] | None:
    try:
        found = path.stat()
    except FileNotFoundError:
        return None
    return found.st_ino, found.st_size, found.st_mtime_ns


def beside(database: Path, suffix: str) -> Path:
    """One of SQLite's files beside a database."""
    return database.with_name(database.name + suffix)
