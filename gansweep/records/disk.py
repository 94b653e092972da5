"""Errors of disks that can no longer be written, and their remedies."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from errno import EDQUOT, EFBIG, EIO, ENOSPC, EROFS
from pathlib import Path

# errno → problem with a file on the disk mounted at {mount}, and its remedy
WORDS = {
    ENOSPC: "no space is left on {mount}; free some",
    EDQUOT: "your quota on {mount} is exhausted; delete files there",
    EFBIG: "exceeds the limit on file sizes; raise it (`ulimit -f`)",
    EROFS: "{mount} is mounted read-only; see `dmesg` for the cause, and mount it writable again",
    EIO: "{mount} has an input/output error; see `dmesg`, and check the disk and its connection",
}
NO_INODES = "no inode is left on {mount}; delete some files"
SQLITE = {sqlite3.SQLITE_FULL: ENOSPC, sqlite3.SQLITE_IOERR: EIO}
NEXT_TO_NOTHING = 2**16  # bytes
DATABASE = "the tracking store's database"


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Add the name of a file to each OSError raised in the block: errors of write() and fsync() do not name it."""
    try:
        yield
    except OSError as error:
        error.filename = str(path)
        raise


def lack(error: BaseException) -> str | None:
    """Return a sentence that names the file or database that cannot be written, and the remedy; None for other errors.

    The causes of the error are examined as well, since SQLAlchemy and MLflow wrap SQLite's errors.
    """
    if isinstance(error, OSError) and error.errno in WORDS:
        return _sentence(error.errno, error.filename)
    if isinstance(error, sqlite3.Error):
        code = SQLITE.get(getattr(error, "sqlite_errorcode", 0) & 0xFF)
        return f"{DATABASE}: {WORDS[code].format(mount='its disk')}" if code else None
    inner = error.__cause__ or error.__context__
    return lack(inner) if inner else None


def full(place: Path) -> str | None:
    """Return a sentence if the disk of an existing folder has almost no space or inodes left; None otherwise."""
    found = os.statvfs(place)
    if found.f_bavail * found.f_frsize >= NEXT_TO_NOTHING and not _without_inodes(place):
        return None
    return _sentence(ENOSPC, str(place))


def _sentence(code: int, file: str | None) -> str:
    if file is None:
        return f"a file cannot be written: {WORDS[code].format(mount='its disk')}"
    mount = _mount(Path(file).absolute())
    words = NO_INODES if code == ENOSPC and _without_inodes(mount) else WORDS[code]
    return f"{file}: {words.format(mount=mount)}"


def _mount(path: Path) -> Path:
    return next(place for place in (path, *path.parents) if os.path.ismount(place))


def _without_inodes(mount: Path) -> bool:
    """Whether a file system has no inodes left. Some create inodes on demand and report a total of 0, such as btrfs."""
    found = os.statvfs(mount)
    return found.f_files > 0 and found.f_favail == 0
