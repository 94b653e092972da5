"""Check that a home folder can be written, before any work begins."""

from __future__ import annotations

import os

from gansweep.errors import UserError
from gansweep.records import lock
from gansweep.records.layout import Home


def check_writable(home: Home) -> None:
    """Create the home folder, and check that files in it can be written and locked.

    Raises:
        UserError: The folder cannot be written or locked, or its path cannot be part of a database URI.
    """
    if bad := [c for c in "%?#" if c in str(home.path)]:
        raise UserError(
            f"{home.path}: the path of the home folder contains {bad[0]!r}, which database URIs do not allow; rename it"
        )
    try:
        home.path.mkdir(parents=True, exist_ok=True)
        probe = home.path / f".writable-{os.getpid()}"
        try:
            lock.acquire(probe).close()
        finally:
            probe.unlink(missing_ok=True)
    except OSError as error:
        copy = "copy it, or " if home.sweeps() else ""
        remedy = f"{copy}name another folder with --home or GANSWEEP_HOME"
        raise UserError(f"{home.path}: cannot be written ({error.strerror}); {remedy}") from None
