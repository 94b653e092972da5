"""Monitor of disk space for Ray's own files. It reports a full disk once, since Ray's messages do not name the disk."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from pathlib import Path

from gansweep.records import disk

CHECK_S = 2.0  # between two checks


class DiskMonitor:
    """Monitor of the disks of the folders that Ray writes to.

    Folders on the disk of the home folder are left out: trials report when that disk is full.

    Args:
        places: Folders that Ray writes to; missing ones are ignored.
        home: A folder on the disk of the home folder.
        notify: Called with messages for the user.
    """

    def __init__(self, places: Iterable[Path], home: Path, notify: Callable[[str], None]) -> None:
        device = home.stat().st_dev
        self._places = [place for place in places if place.is_dir() and place.stat().st_dev != device]
        self._notify, self._due = notify, 0.0

    def check(self) -> None:
        """Report each folder whose disk has become full. Does nothing within CHECK_S seconds of the last check."""
        if time.monotonic() < self._due:
            return
        self._due = time.monotonic() + CHECK_S
        for place in [*self._places]:
            if sentence := disk.full(place):
                self._places.remove(place)
                self._notify(f"{sentence} (for Ray's own files; training continues)")
