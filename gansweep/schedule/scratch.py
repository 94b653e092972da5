"""Short-lived folders of our processes, and none left behind by those that were killed."""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from gansweep.records import lock

PREFIX = "gsw-"
SETTLE_S = 60


@contextmanager
def scratch() -> Iterator[Path]:
    """A folder with a short name (Ray's sockets' paths may have 107 bytes). It goes with the process, or with the
    next one after that was killed."""
    base = Path("/tmp") if Path("/tmp").is_dir() else Path(tempfile.gettempdir())
    for old in base.glob(f"{PREFIX}*"):
        with suppress(OSError):
            young = time.time() - old.stat().st_mtime < SETTLE_S  # perhaps not locked yet
            if old.stat().st_uid == os.getuid() and not young and not lock.is_held(old / "lock"):
                shutil.rmtree(old, ignore_errors=True)
    made = Path(tempfile.mkdtemp(prefix=PREFIX, dir=base))
    held = lock.acquire(made / "lock")
    try:
        yield made
    finally:
        held.close()
        shutil.rmtree(made, ignore_errors=True)
