"""Check that trials run the same code as the driver: the same files, or files of equal content on another machine.

Python imports the first match on sys.path, so a stray `torch.py` or a second checkout can silently replace an installed
package. The driver keeps its working directory off sys.path, and each trial checks its packages before it is opened.
"""

from __future__ import annotations

import hashlib
import importlib.util
import socket
import sys
from collections.abc import Mapping
from functools import cache
from pathlib import Path

from gansweep.errors import UserError

THIS = str(Path(__file__).parents[1] / "__init__.py")  # the gansweep that this process has imported
# Packages that a trial computes with: a difference in one of them may change numbers or pixels.
PACKAGES = ("gansweep", "numpy", "PIL", "safetensors", "scipy", "sklearn", "torch")


def origins() -> dict[str, str]:
    """Return package → "FILE DIGEST" of the file that this process would import, without importing it.

    Packages that are not found are left out.
    """
    found = {name: _file(name) for name in PACKAGES}
    return {name: f"{file} {_digest(file)}" for name, file in found.items() if file}


def check(expected: Mapping[str, str]) -> None:
    """Check that this process would import the same packages as the driver.

    Args:
        expected: Result of `origins` in the driver.

    Raises:
        UserError: A package is missing, or neither the path nor the content of its file is the driver's.
    """
    for name, origin in expected.items():
        there, digest = origin.rsplit(" ", 1)
        here = _file(name)
        if here != there and (here is None or _digest(here) != digest):
            raise UserError(
                f"{name}: the trial's process on {socket.gethostname()} imports {here or 'none'}, the command imports"
                f" {there}; remove the one that is not meant, or install the same version on both"
            )


def check_installed() -> None:
    """Check that other processes of this Python import this gansweep.

    Raises:
        UserError: They would import another gansweep, or find none.
    """
    specs = (finder.find_spec("gansweep", None) for finder in sys.meta_path)
    installed = next((spec.origin for spec in specs if spec), None)
    if installed != THIS:
        raise UserError(
            f"gansweep: this is {THIS}, but trials would import {installed or 'none'};"
            f" install this one: pip install -e {Path(THIS).parents[1]}"
        )


def _file(name: str) -> str | None:
    spec = importlib.util.find_spec(name)
    return spec.origin if spec else None


@cache
def _digest(file: str) -> str:
    """Return a digest of all modules of gansweep, or of `file` alone for another package.

    Builds of a package for CPU and for CUDA have the same digest, because `file` is equal in both.

    Args:
        file: Path of the file that Python loads first when it imports the package.
    """
    path = Path(file)
    files = sorted(path.parent.rglob("*.py")) if path.parent.name == "gansweep" else [path]
    content = hashlib.sha256()
    for one in files:
        content.update(one.name.encode() + one.read_bytes())
    return content.hexdigest()[:16]
