"""Exclusive file locks that are released when their process ends.

They use flock. On a file system without it (some network mounts), open file description locks are used: they have the
same lifetime, unlike POSIX record locks, which any close of the file would release.
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
    """Another process holds the lock. The message is the note that it wrote to the file."""


class NoLocksError(UserError):
    """The file system has no locks, so that two processes could not be kept from writing the same files."""


def acquire(path: Path, note: str = "", wait_s: float = 0.0) -> IO[str]:
    """Acquire a lock, and write a note to its file for other processes.

    Args:
        path: File of the lock.
        note: Text that other processes get as the message of Locked; by default the id of this process.
        wait_s: How long to wait for the lock, in seconds.

    Returns:
        The open file. The lock is held until it is closed.

    Raises:
        Locked: The lock is still held after `wait_s` seconds.
        NoLocksError: The file system has no locks.
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
            if not is_held(path):  # another process only tested the lock, and has released it
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
    with suppress(OSError):  # if the disk is full, the lock holds without a note
        os.write(file.fileno(), (note or str(os.getpid())).encode())
    return file


def is_held(path: Path) -> bool:
    """Whether a process holds the lock. Always false on a file system without locks."""
    with suppress(FileNotFoundError, NoLocksError), path.open() as file:
        try:
            _lock(file, exclusive=False)
        except BlockingIOError:
            return True
    return False


def _lock(file: IO[str], *, exclusive: bool) -> None:
    """Lock a file without waiting: with flock, or with an open file description lock if flock is not available.

    Raises:
        BlockingIOError: Another open file holds the lock.
        NoLocksError: Neither kind of lock is available.
    """
    try:
        fcntl.flock(file, (fcntl.LOCK_EX if exclusive else fcntl.LOCK_SH) | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno not in MISSING:
            raise
        _lock_record(file, exclusive)


def _lock_record(file: IO[str], exclusive: bool) -> None:
    """Lock the whole file with a record lock that belongs to the open file, not to the process."""
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
