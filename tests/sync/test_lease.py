"""At most one driver runs a sweep that is in a storage, on any machine."""

from __future__ import annotations

import json
import threading
import time

import pytest

from gansweep.errors import UserError
from gansweep.sync import lease as module
from gansweep.sync.lease import Lease
from gansweep.sync.storage import Storage

NAME = "sweeps/s/driver"


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "BEAT_S", 0.1)
    monkeypatch.setattr(module, "SILENT_S", 1.2)


def lease(storage: Storage, holder: str, lost: threading.Event | None = None) -> Lease:
    return Lease(storage, NAME, holder, lost.set if lost else lambda: None)


def test_another_home_waits_its_turn(storage: Storage) -> None:
    with lease(storage, "host:a"), pytest.raises(UserError, match=r"is already running \(host:a\)"):
        lease(storage, "host:b").__enter__()
    with lease(storage, "host:b"):
        pass
    assert storage.get(NAME) is None


def test_a_driver_that_beats_no_more_is_taken_for_dead(storage: Storage) -> None:
    storage.put(NAME, json.dumps({"holder": "host:dead", "token": "x", "beats": 7}).encode())
    began = time.monotonic()
    with lease(storage, "host:b"):
        assert 1.2 <= time.monotonic() - began < 10
        found = storage.get(NAME)
        assert found is not None
        assert json.loads(found)["holder"] == "host:b"


def test_the_same_home_need_not_wait(storage: Storage) -> None:
    storage.put(NAME, json.dumps({"holder": "host:a", "token": "x", "beats": 7}).encode())
    began = time.monotonic()
    with lease(storage, "host:a"):
        assert time.monotonic() - began < 1


def test_whoever_lost_it_is_told_and_leaves_it_alone(storage: Storage) -> None:
    lost = threading.Event()
    with lease(storage, "host:a", lost):
        theirs = json.dumps({"holder": "host:b", "token": "y", "beats": 1}).encode()
        storage.put(NAME, theirs)
        assert lost.wait(5)
    assert storage.get(NAME) == theirs
