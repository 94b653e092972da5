"""What `gansweep stop` asks of sweeps that run, each driven here by a thread that obeys."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from bad_calls import Call
from facts import assert_states

from gansweep.cli import upkeep
from gansweep.records import lock
from gansweep.records.layout import Home


@contextmanager
def driven(home: Home, name: str, obeys: bool = True) -> Iterator[None]:
    """A sweep whose driver ends when it is asked to."""
    folder, over = home.sweep(name), threading.Event()
    folder.path.mkdir(parents=True)
    folder.plan.write_text("{}")

    def drive() -> None:
        with lock.acquire(folder.lock):
            began.set()
            while not over.is_set() and not (obeys and folder.stop.exists()):
                time.sleep(0.02)

    began, thread = threading.Event(), threading.Thread(target=drive, daemon=True)
    thread.start()
    began.wait()
    try:
        yield
    finally:
        over.set()
        thread.join()


def test_all_sweeps_that_run_are_ended_and_no_others(call: Call, home: Home) -> None:
    with driven(home, "rests"):
        pass
    with driven(home, "one"), driven(home, "two"):
        output = call("stop", "--all", code=0)
    one, two = sorted(output.splitlines())
    assert_states(one, "stopped", "one", "`gansweep run`")
    assert_states(two, "stopped", "two", "`gansweep run`")
    assert not home.sweep("rests").stop.exists()
    assert call("stop", "--all", code=0) == ""


def test_a_sweep_that_goes_on_is_named_and_others_are_ended(
    call: Call, home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(upkeep, "STOP_S", 1.0)
    with driven(home, "deaf", obeys=False), driven(home, "obeys"):
        err = call("stop", "--all")
        assert_states(err, "deaf: ", "still running", "1 s")
        assert "obeys" not in err
        assert not lock.is_held(home.sweep("obeys").lock)


@pytest.mark.parametrize("words", [(), ("s", "--all"), ("--all", "--tracking-uri", "http://127.0.0.1:1")])
def test_what_to_end_is_asked_for(call: Call, words: tuple[str, ...]) -> None:
    assert "--all" in call("stop", *words, code=2).splitlines()[-1]
