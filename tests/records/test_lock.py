from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from no_locks import without_locks

from gansweep.errors import UserError
from gansweep.records import lock

HOLD = """
import sys, time
from pathlib import Path
from gansweep.records import lock
held = lock.acquire(Path(sys.argv[1]), "another process")
print("held", flush=True)
time.sleep(60)
"""


@pytest.fixture(autouse=True, params=["", "ENOSYS", "ENOLCK", "EOPNOTSUPP", "EINVAL"], ids=lambda e: e or "flock")
def _file_system(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With flock, or with what flock says where it does not exist."""
    if request.param:
        without_locks(tmp_path / "site", monkeypatch, flock=request.param)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "trial" / "lock"


@contextmanager
def another_process_holds(file: Path) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen([sys.executable, "-c", HOLD, str(file)], stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        yield process
    finally:
        process.kill()
        process.communicate()


def test_is_held_until_it_is_closed(file: Path) -> None:
    assert not lock.is_held(file)
    held = lock.acquire(file)
    assert lock.is_held(file)
    held.close()
    assert not lock.is_held(file)
    assert file.exists()


def test_a_second_is_refused_with_the_note_of_the_first(file: Path) -> None:
    with lock.acquire(file, "process 7: gansweep run"):
        with pytest.raises(lock.Locked) as caught:
            lock.acquire(file, "mine")
        assert str(caught.value) == "process 7: gansweep run"
    with lock.acquire(file, "mine"):
        assert file.read_text() == "mine"
    with lock.acquire(file):
        assert file.read_text() == str(os.getpid())


def test_dies_with_its_killed_process(file: Path) -> None:
    with another_process_holds(file) as process:
        assert lock.is_held(file)
        with pytest.raises(lock.Locked, match=r"^another process$"):
            lock.acquire(file)
        process.kill()
        process.wait()
        assert not lock.is_held(file)
        lock.acquire(file).close()


def test_waits_for_the_lock_as_long_as_it_was_told(file: Path) -> None:
    with another_process_holds(file) as process:
        began = time.monotonic()
        with pytest.raises(lock.Locked):
            lock.acquire(file, wait_s=0.2)
        assert 0.2 <= time.monotonic() - began < 2
        process.terminate()
        lock.acquire(file, wait_s=10).close()


def test_a_child_does_not_inherit_it(file: Path) -> None:
    held = lock.acquire(file)
    child = subprocess.Popen([sys.executable, "-c", "import sys; sys.stdin.read()"], stdin=subprocess.PIPE)
    try:
        held.close()
        assert not lock.is_held(file)
    finally:
        child.communicate()


def test_asking_never_makes_a_taker_fail(file: Path) -> None:
    lock.acquire(file).close()
    done = threading.Event()

    def ask() -> None:
        while not done.is_set():
            lock.is_held(file)

    asking = threading.Thread(target=ask)
    asking.start()
    try:
        for _ in range(300):
            lock.acquire(file).close()
    finally:
        done.set()
        asking.join()


def test_a_file_system_without_any_locks(file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    without_locks(tmp_path / "none", monkeypatch, flock="ENOSYS", fcntl="ENOSYS")
    with pytest.raises(UserError, match=rf"^{file.parent}: its file system has no file locks \(.*(Lustre: -o flock)"):
        lock.acquire(file)
    assert not lock.is_held(file), "what cannot be locked can be read"
