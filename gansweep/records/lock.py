"""Exclusive locks that die with their process."""

from __future__ import annotations

import fcntl
import os
import time
from pathlib import Path
from typing import IO


class Locked(Exception):  # noqa: N818  # a state of the folder, not a fault
    """Somebody else holds the lock; the message is what they wrote into it."""


def acquire(path: Path, note: str = "", wait_s: float = 0.0) -> IO[str]:
    """Take the lock and write a note into it for others; keep the returned file open to keep the lock.

    Raises Locked when it is still held after wait_s seconds.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    file = path.open("a+")  # close-on-exec: children do not inherit the lock
    deadline = time.monotonic() + wait_s
    while True:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
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
    file.seek(0)
    file.truncate()
    file.write(note or str(os.getpid()))
    file.flush()
    return file


def is_held(path: Path) -> bool:
    """Whether some process holds the lock now."""
    try:
        with path.open() as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except FileNotFoundError:
        return False
    return False
