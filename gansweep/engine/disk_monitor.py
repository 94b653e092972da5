"""Disk space for Ray's own files. Each full disk is reported once: Ray's messages do not name it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from pathlib import Path

from gansweep.records import disk

CHECK_S = 2.0  # between two checks


class DiskMonitor:
    """Monitor of the folders that Ray writes to, except those on the disk of the home, which trials report.

    Args:
        places: The folders; missing ones are ignored.
        home: Folder of the records.
        notify: Called with messages for the user.
    """

    def __init__(self, places: Iterable[Path], home: Path, notify: Callable[[str], None]) -> None:
        device = home.stat().st_dev
        self._places = [place for place in places if place.is_dir() and place.stat().st_dev != device]
        self._notify, self._due = notify, 0.0

    def check(self) -> None:
        """Report each folder whose disk has become full. May be called at any rate."""
        if time.monotonic() < self._due:
            return
        self._due = time.monotonic() + CHECK_S
        for place in [*self._places]:
            if sentence := disk.full(place):
                self._places.remove(place)
                self._notify(f"{sentence} (for Ray's own files; training continues)")
