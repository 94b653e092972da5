"""Where this command and its child processes look for modules."""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from pathlib import Path


def search_installed_code() -> None:
    """Take the working directory off the search path, so that no `torch.py` lying there is imported.

    `python -m` puts it first, and so does an empty entry of PYTHONPATH (as in PYTHONPATH=$PYTHONPATH:/more). An entry
    that names it is deliberate and stays.
    """
    given = os.environ.get("PYTHONPATH", "")
    named = [entry for entry in given.split(os.pathsep) if entry]
    if given:
        os.environ["PYTHONPATH"] = os.pathsep.join(named)
    with suppress(FileNotFoundError):  # the directory was deleted
        here = Path.cwd()
        if here not in map(Path.absolute, map(Path, named)):
            sys.path[:] = [entry for entry in sys.path if entry not in ("", str(here))]
