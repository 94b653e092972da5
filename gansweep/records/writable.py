"""Whether a home folder can be written, asked before any work."""

from __future__ import annotations

import os

from gansweep.errors import UserError
from gansweep.records import lock
from gansweep.records.layout import Home


def check_writable(home: Home) -> None:
    """Create the home folder. Raises UserError where it cannot be written or locked, or SQLite cannot name it."""
    if bad := [c for c in "%?#" if c in str(home.path)]:
        raise UserError(f"{home.path}: the home folder's path holds {bad[0]!r}, which database URIs cannot; rename it")
    try:
        home.path.mkdir(parents=True, exist_ok=True)
        probe = home.path / f".writable-{os.getpid()}"
        try:
            lock.acquire(probe).close()
        finally:
            probe.unlink(missing_ok=True)
    except OSError as error:
        copy = "copy it, or " if home.sweeps() else ""
        mend = f"{copy}name another folder with --home or GANSWEEP_HOME"
        raise UserError(f"{home.path}: cannot be written ({error.strerror}); {mend}") from None
