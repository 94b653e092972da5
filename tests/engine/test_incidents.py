"""Deaths on a GPU shared under MPS: a table of what follows, and the queue that acts on it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import psutil
import pytest
from ray.tune.search import Searcher

from gansweep.engine.incidents import BLAMED, DOUBT_S, Incident, Incidents, Place
from gansweep.engine.queue import MAX_RETRIES, TrialQueue


@dataclass(frozen=True)
class FalseProcess:
    pid: int

    def kill(self) -> None:
        killed.append(self.pid)
        if self.pid < 0:
            raise psutil.NoSuchProcess(self.pid)


killed: list[int] = []


@pytest.fixture(autouse=True)
def _none_killed() -> None:
    killed.clear()


def incidents(*trials: tuple[str, int, str, float]) -> Incidents:
    """(trial, process, GPU, time of its last message)."""
    found = Incidents()
    for trial, pid, gpu, at in trials:
        found.started(trial, trial, Place(FalseProcess(pid), gpu), 0.0)
        found.heard(trial, at)
    return found


def pids(incident: Incident | None) -> list[int]:
    assert incident is not None
    return sorted(process.pid for process in incident.processes)  # type: ignore[attr-defined]


def test_all_that_run_on_its_gpu_restart_from_before_its_last_message() -> None:
    found = incidents(("a", 1, "0", 10), ("b", 2, "0", 11), ("c", 3, "1", 12), ("d", 4, "0", 9))
    incident = found.died("a")
    assert incident is not None
    assert (incident.since, incident.running, incident.ended) == (10 - DOUBT_S, ("b", "d"), ())
    assert pids(incident) == [1, 2, 4], "its own may live on with a lost context"
    assert (found.ended("b"), found.ended("d"), found.ended("c")) == (9, 9, None)


def test_the_time_is_that_of_its_start_if_it_never_reported() -> None:
    found = Incidents()
    found.started("a", "a", Place(FalseProcess(1), "0"), 100.0)
    incident = found.died("a")
    assert incident is not None
    assert incident.since == 100 - DOUBT_S


def test_one_that_ended_since_counts_as_running_and_an_earlier_one_does_not() -> None:
    found = incidents(("a", 1, "0", 10), ("late", 2, "0", 9.5), ("early", 3, "0", 8.5), ("b", 4, "0", 11))
    assert (found.ended("late"), found.ended("early")) == (None, None)
    incident = found.died("a")
    assert incident is not None
    assert (incident.running, incident.ended) == (("b",), ("late",))
    assert pids(incident) == [1, 2, 3, 4], "a process that waits for another trial ends as well"


def test_without_mps_or_on_the_cpu_nothing_follows() -> None:
    found = incidents(("a", 1, "", 10), ("b", 2, "", 11))
    assert (found.died("a"), found.died("never started"), found.ended("b")) == (None, None, None)


def test_the_suspect_runs_alone_after_its_second_common_death() -> None:
    found = Incidents()
    answers = []
    for attempt in range(3):
        found.started(f"a{attempt}", "a", Place(FalseProcess(attempt), "0"), attempt)
        if attempt != 1:  # this time it dies by itself
            found.started(f"b{attempt}", "b", Place(FalseProcess(10 + attempt), "0"), attempt)
        incident = found.died(f"a{attempt}")
        assert incident is not None
        answers.append(incident.alone)
    assert BLAMED == 2
    assert answers == [False, False, True]


def test_another_suspect_is_not_blamed_for_the_first() -> None:
    found = incidents(("a", 1, "0", 1), ("b", 2, "0", 1))
    found.died("a")
    again = [("a", 3), ("b", 4)]
    for job, pid in again:
        found.started(f"{job}2", job, Place(FalseProcess(pid), "0"), 2.0)
    incident = found.died("b2")
    assert incident is not None
    assert not incident.alone


@dataclass
class Log:
    """What the queue tells of: (what, job, figure)."""

    lines: list[tuple[str, str, float]] = field(default_factory=list)

    def begun(self, job: dict[str, Any]) -> None: ...

    def failed(self, job: dict[str, Any], failure: object) -> None: ...

    def crowded(self, job: dict[str, Any]) -> None: ...

    def ended(self, job: dict[str, Any]) -> list[dict[str, Any]]:
        self.lines.append(("ended", job["id"], job["gpus"]))
        return []

    def died(self, job: dict[str, Any], deaths: int) -> None:
        self.lines.append(("died", job["id"], deaths))

    def given_up(self, job: dict[str, Any], deaths: int) -> None:
        self.lines.append(("given up", job["id"], deaths))

    def struck(self, job: dict[str, Any], restarted: int) -> None:
        self.lines.append(("struck", job["id"], restarted))

    def withdrawn(self, job: dict[str, Any], since: float) -> None:
        self.lines.append(("withdrawn", job["id"], since))

    def isolated(self, job: dict[str, Any]) -> None:
        self.lines.append(("isolated", job["id"], job["gpus"]))


@pytest.fixture
def log() -> Log:
    return Log()


def begun(log: Log, *ids: str) -> TrialQueue:
    """A queue whose jobs all run: trial "a0" trains job "a" on GPU 0, in process 1, 2, …"""
    queue = TrialQueue([{"id": i, "gpus": 0.25} for i in ids], log)
    for pid, job in enumerate(ids, 1):
        begin(queue, job, 0, pid)
    return queue


def begin(queue: TrialQueue, job: str, attempt: int, pid: int, gpus: float = 0.25) -> None:
    trial = f"{job}{attempt}"
    assert queue.suggest(trial) == {"id": job, "gpus": gpus}
    queue.started(trial, Place(FalseProcess(pid), "0"), 100.0 * attempt)


def test_only_the_first_death_counts_and_all_wait_again(log: Log) -> None:
    queue = begun(log, "a", "b", "c")
    queue.on_trial_result("a0", {"timestamp": 50})
    queue.on_trial_complete("a0", error=True)
    assert sorted(killed) == [1, 2, 3]
    queue.on_trial_complete("b0", error=True)
    queue.on_trial_complete("c0", {"outcome": "completed", "timestamp": 51})  # its message was under way
    since = 50 - DOUBT_S
    assert log.lines == [
        ("died", "a", 1), ("withdrawn", "a", since), ("struck", "a", 2), ("withdrawn", "b", since),
        ("withdrawn", "c", since),
    ]  # fmt: skip
    for job in "abc":
        begin(queue, job, 1, 10)


def test_one_that_has_ended_in_the_meantime_is_handed_out_again(log: Log) -> None:
    queue = begun(log, "a", "b", "c")
    queue.on_trial_result("a0", {"timestamp": 50})
    queue.on_trial_complete("b0", {"outcome": "completed", "timestamp": 48})
    queue.on_trial_complete("c0", {"outcome": "crashed", "timestamp": 50})
    queue.on_trial_complete("a0", error=True)
    assert [line[:2] for line in log.lines] == [
        ("ended", "b"), ("ended", "c"), ("died", "a"), ("withdrawn", "a"), ("withdrawn", "c"), ("struck", "a"),
    ]  # fmt: skip
    begin(queue, "c", 1, 4)
    begin(queue, "a", 1, 5)
    assert queue.suggest("none") is None


def test_one_without_room_that_waits_is_withdrawn_and_waits_once(log: Log) -> None:
    queue = begun(log, "a", "b")
    queue.on_trial_complete("b0", {"outcome": "pending", "crowded": True, "timestamp": 50})
    queue.on_trial_complete("a0", error=True)
    assert ("withdrawn", "b", -DOUBT_S) in log.lines
    begin(queue, "b", 1, 3, gpus=0.5)
    begin(queue, "a", 1, 4)
    assert queue.suggest("none") is None


def test_the_suspect_gets_a_gpu_of_its_own_and_is_given_up_like_any(log: Log) -> None:
    queue = begun(log, "a", "b")
    for attempt in range(1 + MAX_RETRIES):
        queue.on_trial_complete(f"a{attempt}", error=True)
        queue.on_trial_complete(f"b{attempt}", error=True)
        if attempt < MAX_RETRIES:
            begin(queue, "a", attempt + 1, 3, gpus=1.0 if attempt else 0.25)
            begin(queue, "b", attempt + 1, 4)
    assert [line for line in log.lines if line[0] in ("isolated", "given up", "ended")] == [
        ("isolated", "a", 1.0), ("given up", "a", 1 + MAX_RETRIES), ("ended", "a", 1.0),
    ]  # fmt: skip
    assert sum(line[0] == "died" for line in log.lines) == 1 + MAX_RETRIES, "of the suspect only"


def test_processes_that_have_ended_are_no_error(log: Log) -> None:
    queue = begun(log, "a")
    queue.started("a0", Place(FalseProcess(-1), "0"), 0.0)
    queue.on_trial_complete("a0", error=True)
    assert killed == [-1]
    assert [line[0] for line in log.lines] == ["died", "withdrawn"]


def test_without_mps_a_death_is_only_its_own(log: Log) -> None:
    queue = TrialQueue([{"id": i, "gpus": 0.5} for i in "ab"], log)
    for job in "ab":
        queue.suggest(job)
        queue.on_trial_result(job, {"timestamp": 1})
    queue.on_trial_complete("a", error=True)
    queue.on_trial_complete("b", {"outcome": "completed", "timestamp": 2})
    assert (log.lines, killed) == ([("died", "a", 1), ("ended", "b", 0.5)], [])
    assert queue.suggest("a again") == {"id": "a", "gpus": 0.5}
    queue.on_trial_complete("a again", {"outcome": "completed", "timestamp": 3})
    assert queue.suggest("none") == Searcher.FINISHED
