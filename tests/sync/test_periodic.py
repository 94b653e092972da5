from __future__ import annotations

import threading

from gansweep.sync.periodic import PeriodicTask
from gansweep.sync.storage import StorageError


def test_an_outage_and_its_end_are_reported_once_each() -> None:
    notices: list[str] = []
    answers = iter([True, False, False, True, True])
    over = threading.Event()

    def make() -> bool:
        answer = next(answers, None)
        if answer is False:
            raise StorageError("refused")
        if answer is None:
            over.set()
        return True

    task = PeriodicTask(make, 0.01, notices.append, "work continues")
    task.start()
    assert over.wait(5)
    task.stop()
    assert notices == ["the storage does not answer (refused); work continues", "the storage is available again"]


def test_it_ends_when_a_call_returns_false_and_when_it_is_stopped() -> None:
    made: list[int] = []

    def make() -> bool:
        made.append(1)
        return len(made) < 3

    task = PeriodicTask(make, 0.01, lambda _: None, "")
    assert not task.started
    task.stop()  # harmless
    task = PeriodicTask(make, 0.01, lambda _: None, "")
    task.start()
    task._thread.join(5)
    assert (len(made), task.started) == (3, True)
    task.stop()
