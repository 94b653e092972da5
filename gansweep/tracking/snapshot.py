"""Read-only SQLite stores: another user's home, an archive, a read-only mount.

A database in WAL mode needs further files in its folder even to be read. If these cannot be created, the database is
copied to a temporary folder with the transactions in its `-wal` file, and read there. `immutable=1` would ignore those
transactions.
"""

from __future__ import annotations

import os
import shutil
import sqlite3
from contextlib import closing
from functools import lru_cache
from pathlib import Path
from tempfile import TemporaryDirectory

WAIT_S = 120  # maximum wait for a lock on the database
TRIES = 5  # attempts to copy the files of a database while nothing writes to them
SUFFIXES = ("", "-wal", "-journal")  # files that contain a database; -shm is recreated from them
Stamp = tuple[tuple[int, int, int] | None, ...]


def readable(database: Path) -> Path:
    """Return the database itself if it can be written, else a copy of its current state, kept until this process ends.

    Raises:
        OSError: The files cannot be read.
        sqlite3.Error: The database cannot be read.
    """
    if is_writable(database):
        return database
    return Path(_copy(database, _stamp(database)).name, database.name)


def connect(database: Path) -> sqlite3.Connection:
    """Return a read-only connection to a database. Raises OSError or sqlite3.Error if the database cannot be read."""
    return sqlite3.connect(f"{readable(database).absolute().as_uri()}?mode=ro", uri=True, timeout=WAIT_S)


def is_writable(database: Path) -> bool:
    """Whether SQLite may write to the database and create files in its folder."""
    return os.access(database, os.W_OK) and os.access(database.parent, os.W_OK)


@lru_cache(4)
def _copy(database: Path, stamp: Stamp) -> TemporaryDirectory[str]:
    """Return a temporary folder with a copy of a database.

    `stamp`: Current stamp of the database. It is part of the cache's key, so that a changed database is copied again.
    """
    scratch = TemporaryDirectory(prefix="gansweep-")
    copy = Path(scratch.name, database.name)
    try:
        with (
            closing(sqlite3.connect(f"{database.absolute().as_uri()}?mode=ro", uri=True, timeout=WAIT_S)) as source,
            closing(sqlite3.connect(copy)) as target,
        ):
            source.backup(target)  # one transaction, even if another process writes meanwhile
    except sqlite3.OperationalError:  # a database in WAL mode without -shm, which cannot be created
        _copy_files(database, copy)
    return scratch


def _copy_files(database: Path, copy: Path) -> None:
    """Copy the files of a database, again if they have changed meanwhile.

    Raises:
        sqlite3.OperationalError: The files changed at each of TRIES attempts.
    """
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
    """Return a value that changes with the content of the database."""
    return tuple(_of_file(beside(database, suffix)) for suffix in SUFFIXES)


def _of_file(path: Path) -> tuple[int, int, int] | None:
    try:
        found = path.stat()
    except FileNotFoundError:
        return None
    return found.st_ino, found.st_size, found.st_mtime_ns


def beside(database: Path, suffix: str) -> Path:
    """Return the path of the file that SQLite keeps beside a database, such as the one with the suffix `-wal`."""
    return database.with_name(database.name + suffix)
