"""Phases of a start and the lines that `run --verbose` prints of them."""

from __future__ import annotations

import time

import psutil
import pytest

from gansweep.stopwatch import Stopwatch


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Clock that a test sets: [now]."""
    now = [100.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    return now


def test_each_phase_ends_where_the_next_begins(clock: list[float]) -> None:
    lines: list[str] = []
    stopwatch = Stopwatch(98.0, lines.append)
    stopwatch.lap("imports")
    clock[0] += 3.25
    stopwatch.lap("plan")
    assert stopwatch.laps == [("imports", 2.0), ("plan", 3.25)]
    assert lines == ["   2.0 s  imports 2.0 s", "   5.2 s  plan 3.2 s"]


def test_a_phase_that_ends_many_times_counts_once_even_if_it_was_taken(clock: list[float]) -> None:
    stopwatch = Stopwatch()
    for _ in range(3):
        clock[0] += 1
        stopwatch.lap_once("first steps")
        assert stopwatch.take() in ([("first steps", 1.0)], [])
    assert stopwatch.take() == []
    stopwatch.lap("rest")
    assert stopwatch.laps == [("rest", 2.0)]


def test_a_timed_function_is_a_phase_within_another(clock: list[float]) -> None:
    def capture(seconds: float) -> str:
        clock[0] += seconds
        return "graph"

    stopwatch = Stopwatch()
    assert stopwatch.timed("capture", capture)(0.5) == "graph"
    stopwatch.lap("first steps")
    assert stopwatch.laps == [("capture", 0.5), ("first steps", 0.5)]


def test_phases_of_another_process_are_one_line(clock: list[float]) -> None:
    lines: list[str] = []
    stopwatch = Stopwatch(99.0, lines.append)
    stopwatch.tell_of("process of 0123", [("start", 1.0), ("device", 0.25)])
    stopwatch.tell_of("process of 0123", [])
    assert lines == ["   1.0 s  process of 0123: start 1.0 s, device 0.2 s"]
    assert stopwatch.laps == []


def test_the_stopwatch_of_a_process_began_with_it() -> None:
    age = time.time() - psutil.Process().create_time()
    assert time.monotonic() - Stopwatch.of_process().began == pytest.approx(age, abs=0.5)
