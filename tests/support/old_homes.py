"""Home folders that earlier versions of gansweep recorded: tests/old_homes/VERSION.tar.xz (made by record.sh there).

Each holds the sweep `old` of three trials: COMPLETED, INTERRUPTED (its last checkpoint is at step 37 of 200) and
PENDING. The paths that were recorded in it do not exist on this machine.
"""

from __future__ import annotations

import tarfile
from pathlib import Path

from gansweep.records.layout import Home

FOLDER = Path(__file__).parents[1] / "old_homes"
COMPLETED, INTERRUPTED, PENDING = "08b076dfef17", "4021de1964ea", "50335c412db2"


def unpack(place: Path, version: str = "0.1.0") -> Home:
    """Unpack a recorded home to place/home; place is made where it is missing."""
    with tarfile.open(FOLDER / f"{version}.tar.xz") as archive:
        archive.extractall(place, filter="data")
    return Home(place / "home")
