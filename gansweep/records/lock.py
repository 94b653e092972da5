"""Exclusive locks that die with their process.

They are flock's. Where a file system has none (some network mounts), record locks of the open file take their place:
they have the same lifetime, unlike POSIX record locks, which any close of the file would drop.
"""

from __future__ import annotations

import errno
import fcntl
import os
import struct
import time
from contextlib import suppress
from pathlib import Path
from typing import IO

from gansweep.errors import UserError
from gansweep.records.disk import writing

MISSING = (errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP, errno.EINVAL)


class Locked(Exception):  # noqa: N818  # a state of the folder, not a fault
    """Somebody else holds the lock; the message is what they wrote into it."""


class NoLocksError(UserError):
    """A file system without locks: two processes could not be kept apart there."""


def acquire(path: Path, note: str = "", wait_s: float = 0.0) -> IO[str]:
    """Take the lock and write a note into it for others; keep the returned file open to keep the lock.

    Raises Locked when it is still held after wait_s seconds, NoLocksError where the file system has no locks.
    """
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        file = path.open("a+")  # close-on-exec: children do not inherit the lock
    deadline = time.monotonic() + wait_s
    while True:
        try:
            _lock(file, exclusive=True)
            break
        except BlockingIOError:
            if not is_held(path):  # somebody only asked, and held it for that instant
                time.sleep(0.001)
                continue
            if time.monotonic() >= deadline:
                file.seek(0)
                held_by = file.read()
                file.close()
                raise Locked(held_by) from None
            time.sleep(0.05)
        except NoLocksError:
            file.close()
            raise
    file.seek(0)
    file.truncate()
    with suppress(OSError):  # of a full disk: the lock holds without a note
        os.write(file.fileno(), (note or str(os.getpid())).encode())
    return file


def is_held(path: Path) -> bool:
    """Whether some process holds the lock now. Nobody does on a file system without locks."""
    with suppress(FileNotFoundError, NoLocksError), path.open() as file:
        try:
            _lock(file, exclusive=False)
        except BlockingIOError:
            return True
    return False


def _lock(file: IO[str], *, exclusive: bool) -> None:
    """Raises BlockingIOError where another open file holds it, NoLocksError where neither kind of lock exists."""
    try:
        fcntl.flock(file, (fcntl.LOCK_EX if exclusive else fcntl.LOCK_SH) | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno not in MISSING:
            raise
        _lock_record(file, exclusive)


def _lock_record(file: IO[str], exclusive: bool) -> None:
    """The whole file by a record lock that belongs to the open file, not to the process."""
    whole = struct.pack("hhqqi0q", fcntl.F_WRLCK if exclusive else fcntl.F_RDLCK, os.SEEK_SET, 0, 0, 0)
    try:
        fcntl.fcntl(file, fcntl.F_OFD_SETLK, whole)
    except OSError as error:
        if error.errno not in MISSING:
            raise
        raise NoLocksError(
            f"{Path(file.name).parent}: its file system has no file locks ({error.strerror}), and without them two"
            " processes could write the same records; name a folder on another one (--home, or TMPDIR for scratch"
            " files), or have it mounted with locks (Lustre: -o flock)"
        ) from None
