"""Room for Ray's own files. A place that fills up while a sweep runs is named once: Ray's messages do not name it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from pathlib import Path

from gansweep.records import disk

LOOK_S = 2.0  # between two looks


class Room:
    """Watches folders that Ray writes to, those left out that share a disk with the home: trials name that one.

    Args:
        places: the folders; one that does not exist is left out.
        home: folder of the records.
        tell: takes a sentence for the user.
    """

    def __init__(self, places: Iterable[Path], home: Path, tell: Callable[[str], None]) -> None:
        device = home.stat().st_dev
        self._places = [place for place in places if place.is_dir() and place.stat().st_dev != device]
        self._tell, self._due = tell, 0.0

    def look(self) -> None:
        """Name each place that has become full. May be called at any rate."""
        if time.monotonic() < self._due:
            return
        self._due = time.monotonic() + LOOK_S
        for place in [*self._places]:
            if sentence := disk.full(place):
                self._places.remove(place)
                self._tell(f"{sentence} (for Ray's own files; training continues)")
