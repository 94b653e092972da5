"""Environment of this process and its children, corrected before anything else is imported."""

from __future__ import annotations

import os
import sys
import warnings
from contextlib import suppress
from pathlib import Path

HERE = ("localhost", "127.0.0.1", "::1")


def settle() -> None:
    """Remove effects of the working directory, PYTHONWARNINGS and proxies on this process and its children.

    It can be called repeatedly.
    """
    _search_installed_code()
    _let_libraries_warn()
    _reach_this_machine_directly()


def _search_installed_code() -> None:
    """Remove the working directory from the search path, so that a `torch.py` in it is not imported.

    `python -m` adds the working directory, and so does an empty entry of PYTHONPATH (PYTHONPATH=$PYTHONPATH:/more). If
    an entry of PYTHONPATH names the directory, this is deliberate, and it stays in the search path.
    """
    given = os.environ.get("PYTHONPATH", "")
    named = [entry for entry in given.split(os.pathsep) if entry]
    if given:
        os.environ["PYTHONPATH"] = os.pathsep.join(named)
    with suppress(FileNotFoundError):  # the directory was deleted
        here = Path.cwd()
        if here not in map(Path.absolute, map(Path, named)):
            sys.path[:] = [entry for entry in sys.path if entry not in ("", str(here))]


def _let_libraries_warn() -> None:
    """Ignore all warnings if PYTHONWARNINGS makes them errors.

    The user means their own code by it; a deprecation in a library must not end a sweep.
    """
    if "error" in os.environ.get("PYTHONWARNINGS", ""):
        os.environ["PYTHONWARNINGS"] = "ignore"
        warnings.simplefilter("ignore")


def _reach_this_machine_directly() -> None:
    """Exclude this machine from proxies: requests to a local MLflow server would be sent to the proxy."""
    if any(name.lower().endswith("_proxy") for name in os.environ):
        given = os.environ.get("no_proxy") or os.environ.get("NO_PROXY") or ""
        names = [name.strip() for name in given.split(",") if name.strip()]
        missing = [name for name in HERE if name not in names]
        os.environ["no_proxy"] = os.environ["NO_PROXY"] = ",".join([*names, *missing])
