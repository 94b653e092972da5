from __future__ import annotations

import threading

from gansweep.records.rounds import Rounds
from gansweep.records.storage import StorageError


def test_an_absence_is_said_once_and_so_is_its_end() -> None:
    said: list[str] = []
    answers = iter([True, False, False, True, True])
    over = threading.Event()

    def make() -> bool:
        answer = next(answers, None)
        if answer is False:
            raise StorageError("refused")
        if answer is None:
            over.set()
        return True

    rounds = Rounds(make, 0.01, said.append, "work goes on")
    rounds.start()
    assert over.wait(5)
    rounds.stop()
    assert said == ["the storage does not answer (refused); work goes on", "the storage is available again"]


def test_it_ends_when_a_round_says_so_and_when_it_is_asked_to() -> None:
    made: list[int] = []

    def make() -> bool:
        made.append(1)
        return len(made) < 3

    rounds = Rounds(make, 0.01, lambda _: None, "")
    assert not rounds.begun
    rounds.stop()  # harmless
    rounds = Rounds(make, 0.01, lambda _: None, "")
    rounds.start()
    rounds._thread.join(5)
    assert (len(made), rounds.begun) == (3, True)
    rounds.stop()
