"""File systems whose locks do not exist, as this process and those that it starts see them."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

import pytest

SITE = """
import errno, fcntl, os
def no(error):
    def call(*arguments):
        raise OSError(error, os.strerror(error))
    return call
"""


def without_locks(site: Path, monkeypatch: pytest.MonkeyPatch, **errors: str) -> None:
    """Make functions of the module fcntl fail. errors: function → name of its errno. site: a new folder, for a
    sitecustomize that child processes load."""
    code = SITE + "".join(f"fcntl.{name} = no(errno.{error})\n" for name, error in errors.items())
    site.mkdir()
    (site / "sitecustomize.py").write_text(code)
    monkeypatch.setenv("PYTHONPATH", str(site), prepend=os.pathsep)
    for name in errors:
        monkeypatch.setattr(fcntl, name, getattr(fcntl, name))  # put back at the end
    exec(code, {})
