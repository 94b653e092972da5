"""Temporary folders, including the removal of those that killed processes left behind."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from gansweep.errors import UserError
from gansweep.records import lock

PREFIX = "gsw-"
SETTLE_S = 60
# Maximum bytes of the path of a folder for Ray's sockets: their paths, such as
# BASE/gsw-12345678/ray/session_DATE_PID/sockets/plasma_store, are limited to 107 bytes by the system.
SHORT = 24
SHORT_PLACES = ("/tmp", "/var/tmp", "/dev/shm")


@contextmanager
def scratch(longest: int = sys.maxsize) -> Iterator[Path]:
    """Yield a temporary folder, and remove it after the block.

    If the process is killed, a process that calls this function later removes the folder.

    Args:
        longest: Maximum length of the path of the parent folder, in bytes.

    Raises:
        UserError: No parent folder with such a path can be written.
    """
    base = place(longest)
    for old in base.glob(f"{PREFIX}*"):
        with suppress(OSError):
            young = time.time() - old.stat().st_mtime < SETTLE_S  # may not be locked yet
            if old.stat().st_uid == os.getuid() and not young and not lock.is_held(old / "lock"):
                shutil.rmtree(old, ignore_errors=True)
    made = Path(tempfile.mkdtemp(prefix=PREFIX, dir=base))
    held = lock.acquire(made / "lock")
    try:
        yield made
    finally:
        held.close()
        shutil.rmtree(made, ignore_errors=True)


def place(longest: int = sys.maxsize) -> Path:
    """Return the parent folder of temporary folders: TMPDIR, TEMP or TMP, else one of SHORT_PLACES.

    Args:
        longest: Maximum length of the path of the parent folder, in bytes.

    Raises:
        UserError: No folder with such a path can be written.
    """
    named = [os.environ.get(name) for name in ("TMPDIR", "TEMP", "TMP")]
    problems = []
    for folder in dict.fromkeys(Path(name).absolute() for name in (*named, *SHORT_PLACES) if name):
        if len(os.fsencode(folder)) > longest:
            problems.append(f"{folder}: a path of more than {longest} bytes, too long for Ray's sockets")
            continue
        try:
            with tempfile.TemporaryFile(dir=folder):
                return folder
        except OSError as error:
            problems.append(f"{folder}: {error.strerror}")
    short = f", with a path of at most {longest} bytes" if longest < sys.maxsize else ""
    raise UserError(
        f"no folder for scratch files ({'; '.join(problems)}); set TMPDIR to one that can be written{short}"
    )
