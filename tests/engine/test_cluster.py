"""Leaving a cluster, with Ray's functions replaced: what happens in a moment of a real one cannot be timed."""

from __future__ import annotations

import gc
import socket
import weakref
from pathlib import Path

import pytest
import ray

from gansweep.engine.cluster import cluster


class Referring:
    """Garbage in a cycle, which holds a reference to an object of Ray."""

    def __init__(self) -> None:
        self.me = self


def test_no_thread_drops_references_while_ray_shuts_down(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Ray exits a process that does."""
    found: list[tuple[bool, bool]] = []
    garbage = weakref.ref(Referring())
    monkeypatch.setattr(ray, "init", lambda **_: None)
    monkeypatch.setattr(ray, "cluster_resources", lambda: {"CPU": 1.0})
    monkeypatch.setattr(ray, "shutdown", lambda: found.append((garbage() is None, gc.isenabled())))
    with socket.create_server(("127.0.0.1", 0)) as head:
        port = head.getsockname()[1]
        with pytest.raises(ZeroDivisionError), cluster(tmp_path, f"127.0.0.1:{port}"):
            raise ZeroDivisionError
    assert found == [(True, False)]
    assert gc.isenabled()
