"""Places that cannot be written any more: which errors say so, and what can be done about it."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from errno import EDQUOT, EFBIG, EIO, ENOSPC, EROFS
from pathlib import Path

# errno → what is wrong with a file on the disk mounted at {mount}, and what mends it
WORDS = {
    ENOSPC: "no space is left on {mount}; free some there",
    EDQUOT: "your quota on {mount} is used up; remove files of yours there",
    EFBIG: "may not grow any more; raise the limit of file sizes (`ulimit -f`)",
    EROFS: "{mount} is mounted read-only; `dmesg` may say since when and why, mount it writable again",
    EIO: "{mount} has an input/output error; `dmesg` may say more, check the disk or its connection",
}
NO_INODES = "no inode is left on {mount}; remove some files there"
SQLITE = {sqlite3.SQLITE_FULL: ENOSPC, sqlite3.SQLITE_IOERR: EIO}
NEXT_TO_NOTHING = 2**16  # bytes
DATABASE = "the tracking store's database"


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Errors of the block name the file: those of write() and fsync() do not by themselves."""
    try:
        yield
    except OSError as error:
        error.filename = str(path)
        raise


def lack(error: BaseException) -> str | None:
    """A sentence that says which place cannot be written and what to do; None where the error says something else.

    Looks at what caused the error as well: SQLAlchemy and MLflow wrap what SQLite reports.
    """
    if isinstance(error, OSError) and error.errno in WORDS:
        return _sentence(error.errno, error.filename)
    if isinstance(error, sqlite3.Error):
        code = SQLITE.get(getattr(error, "sqlite_errorcode", 0) & 0xFF)
        return f"{DATABASE}: {WORDS[code].format(mount='its disk')}" if code else None
    inner = error.__cause__ or error.__context__
    return lack(inner) if inner else None


def full(place: Path) -> str | None:
    """A sentence where next to nothing is left on the disk of an existing folder; None otherwise."""
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
    """Not of file systems that make inodes as they are needed (btrfs): these count none."""
    found = os.statvfs(mount)
    return found.f_files > 0 and found.f_favail == 0
