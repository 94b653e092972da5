"""Places of Ray's own files that fill up while a sweep runs."""

from __future__ import annotations

import errno
import logging
import os
from pathlib import Path
from types import SimpleNamespace

import pytest

from gansweep.engine import cluster, disk_monitor
from gansweep.engine.disk_monitor import DiskMonitor


def test_a_full_place_is_named_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ask, full, told = os.statvfs, set[str](), list[str]()

    def filled(place: Path) -> os.statvfs_result:
        found = ask(place)
        return SimpleNamespace(f_bavail=0, f_frsize=1, f_files=1, f_favail=1) if str(place) in full else found  # type: ignore[return-value]

    monkeypatch.setattr(disk_monitor, "CHECK_S", 0.0)
    monkeypatch.setattr(os, "statvfs", filled)
    other = Path("/dev/shm")
    assert other.stat().st_dev != tmp_path.stat().st_dev
    watch = DiskMonitor((tmp_path, other, tmp_path / "missing"), tmp_path, told.append)
    watch.check()
    assert told == []
    full |= {str(tmp_path), str(other)}
    for _ in range(3):
        watch.check()
    assert told == ["/dev/shm: no space is left on /dev/shm; free some (for Ray's own files; training continues)"], (
        "trials name the disk of the home"
    )


@pytest.mark.parametrize(
    ("error", "is_unreported"),
    [(OSError(errno.ENOSPC, "No space left"), False), (ValueError("a bug"), True), (None, True)],
)
def test_tracebacks_of_ray_tune_on_a_full_disk_are_left_out(error: Exception | None, is_unreported: bool) -> None:
    told = (type(error), error, None) if error else None
    assert (
        cluster._is_unreported(logging.makeLogRecord({"msg": "snapshotting failed", "exc_info": told})) == is_unreported
    )
