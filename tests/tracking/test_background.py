"""How long the end of a sweep waits for its tracking store."""

from __future__ import annotations

import time

import pytest

from gansweep.tracking import background
from gansweep.tracking.background import Background
from gansweep.tracking.publisher import NotAllSentError


class Slow:
    """Accepts `trials` trials per pass, one every 0.1 s; then nothing for `silence_s`."""

    def __init__(self, trials: int, silence_s: float = 0.0) -> None:
        self.taken, self.passes = 0, 0
        self._trials, self._silence_s = trials, silence_s

    def publish(self, *, running: bool) -> None:
        self.passes += 1
        if running:
            for _ in range(self._trials):
                time.sleep(0.1)
                self.taken += 1
            time.sleep(self._silence_s)


def finished(publisher: Slow, *, hurry: bool = False) -> tuple[bool, float, list[str]]:
    """Whether all was sent, after how many seconds, and the notices."""
    notices: list[str] = []
    behind = Background(publisher, notices.append)  # type: ignore[arg-type]
    behind.start()
    time.sleep(0.05)  # until its pass has begun
    began = time.monotonic()
    return behind.finish(0.4, hurry=hurry), time.monotonic() - began, notices


def test_a_store_that_goes_on_taking_records_is_given_all_of_them() -> None:
    publisher = Slow(12)
    sent, seconds, notices = finished(publisher)
    assert (sent, publisher.taken, publisher.passes, notices) == (True, 12, 2, [])
    assert seconds > 1


def test_a_store_that_takes_nothing_any_more_is_left() -> None:
    sent, seconds, _ = finished(Slow(3, silence_s=3))
    assert not sent
    assert 0.6 < seconds < 2


def test_in_a_hurry_nobody_waits_longer_than_was_announced() -> None:
    sent, seconds, _ = finished(Slow(12), hurry=True)
    assert not sent
    assert seconds < 0.9


def test_a_long_wait_is_explained_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(background, "SILENCE_S", 0.2)
    _, _, notices = finished(Slow(12))
    assert notices == ["training has ended; sending the last records to the tracking store"]


class Troubled(Slow):
    """Takes all trials but one."""

    def publish(self, *, running: bool) -> None:
        super().publish(running=running)
        raise NotAllSentError("s", "sqlite:///m.db", {"abc": ValueError("no number")})


def test_a_trial_that_cannot_be_sent_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(background, "RETRIES_S", 0.0)
    sent, _, notices = finished(Troubled(1))
    assert not sent
    assert notices == [
        "s: 1 trial could not be sent to sqlite:///m.db (abc: ValueError: no number); training continues, and all other"
        " trials are sent"
    ]


class Healing(Troubled):
    """Takes all trials from the third pass on."""

    def publish(self, *, running: bool) -> None:
        try:
            super().publish(running=running)
        except NotAllSentError:
            if self.passes < 3:
                raise


class Failing(Slow):
    """Fails with these errors, one after the other, then accepts everything."""

    def __init__(self, *errors: Exception) -> None:
        super().__init__(0)
        self._errors = [*errors]

    def publish(self, *, running: bool) -> None:
        super().publish(running=running)
        if self._errors:
            raise self._errors.pop(0)


def test_a_store_that_goes_away_while_a_trial_cannot_be_sent_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(background, "PAUSE_S", 0.02)
    one, notices = NotAllSentError("s", "http://m", {"abc": ValueError("no number")}), list[str]()
    behind = Background(Failing(one, one, OSError("refused"), OSError("refused"), one), notices.append)  # type: ignore[arg-type]
    behind.start()
    time.sleep(0.5)
    assert behind.finish(0.4, hurry=False)
    assert notices == [
        "s: 1 trial could not be sent to http://m (abc: ValueError: no number); training continues, and all other"
        " trials are sent",
        "the tracking store does not accept records (refused); training continues, and they are kept",
        notices[0],
        "the tracking store now accepts all trials",
    ]


def test_one_trial_in_trouble_does_not_slow_down_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(background, "PAUSE_S", 0.02)
    publisher, notices = Troubled(0), list[str]()
    behind = Background(publisher, notices.append)  # type: ignore[arg-type]
    behind.start()
    time.sleep(1)
    assert publisher.passes > 15
    monkeypatch.setattr(background, "RETRIES_S", 0.0)
    behind.finish(0.4, hurry=False)
    assert len(notices) == 1


def test_the_end_of_a_trials_trouble_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(background, "PAUSE_S", 0.02)
    notices: list[str] = []
    behind = Background(Healing(0), notices.append)  # type: ignore[arg-type]
    behind.start()
    time.sleep(0.3)
    assert behind.finish(0.4, hurry=False)
    assert notices[1:] == ["the tracking store now accepts all trials"]
