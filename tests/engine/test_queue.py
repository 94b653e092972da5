"""The queue that hands trials to Ray Tune."""

from __future__ import annotations

import pickle
from typing import Any

import pytest
from ray.tune.search import Searcher

from gansweep.engine.failures import Failure
from gansweep.engine.queue import MAX_RETRIES, TrialQueue

FINISHED = Searcher.FINISHED


class Log:
    """What the queue told of: ids of jobs that began and ended, (job id, deaths), (job id, new share). new: the job
    that each gives rise to."""

    def __init__(self) -> None:
        self.begins: list[str] = []
        self.ends: list[str] = []
        self.new: dict[str, str] = {}
        self.deaths: list[tuple[str, int]] = []
        self.lost: list[tuple[str, int]] = []
        self.failures: list[tuple[str, str]] = []
        self.shares: list[tuple[str, float]] = []

    def queue(self, *ids: str, gpus: float = 0.0) -> TrialQueue:
        return TrialQueue([{"id": i, "gpus": gpus} for i in ids], self)

    def begun(self, job: dict[str, Any]) -> None:
        self.begins.append(job["id"])

    def died(self, job: dict[str, Any], deaths: int) -> None:
        self.deaths.append((job["id"], deaths))

    def given_up(self, job: dict[str, Any], deaths: int) -> None:
        self.lost.append((job["id"], deaths))

    def failed(self, job: dict[str, Any], failure: Failure) -> None:
        self.failures.append((job["id"], failure.reason))

    def ended(self, job: dict[str, Any]) -> list[dict[str, Any]]:
        self.ends.append(job["id"])
        return [{"id": self.new[job["id"]], "gpus": 0.0}] if job["id"] in self.new else []

    def crowded(self, job: dict[str, Any]) -> None:
        self.shares.append((job["id"], job["gpus"]))

    def struck(self, job: dict[str, Any], restarted: int) -> None: ...

    def withdrawn(self, job: dict[str, Any], since: float) -> None: ...

    def isolated(self, job: dict[str, Any]) -> None: ...


@pytest.fixture
def log() -> Log:
    return Log()


def suggested(queue: TrialQueue, trial: str) -> Any:
    job = queue.suggest(trial)
    return job["id"] if isinstance(job, dict) else job


def test_hands_out_each_job_once_in_order(log: Log) -> None:
    queue = log.queue("a", "b")
    assert [suggested(queue, t) for t in ("1", "2", "3")] == ["a", "b", None]
    queue.on_trial_complete("1", {"outcome": "completed"})
    assert queue.suggest("4") is None, "b may still die and come back"
    queue.on_trial_complete("2", {"outcome": "completed"})
    assert queue.suggest("5") == FINISHED
    assert (log.begins, log.deaths) == (["a", "b"], [])


def test_an_empty_queue_is_finished_at_once(log: Log) -> None:
    assert log.queue().suggest("1") == FINISHED


def test_a_death_is_tried_again_three_times_and_then_given_up(log: Log) -> None:
    queue = log.queue("a", "b")
    for attempt in range(1 + MAX_RETRIES):
        trial = f"a{attempt}"
        assert suggested(queue, trial) == "a"
        if attempt == 0:
            assert suggested(queue, "b0") == "b"  # a dead job goes to the end of the queue
            queue.on_trial_complete("b0", {"outcome": "completed"})
        assert log.lost == []
        queue.on_trial_complete(trial, error=True)
    assert MAX_RETRIES == 3
    assert log.deaths == [("a", 1), ("a", 2), ("a", 3), ("a", 4)]
    assert log.lost == [("a", 4)]
    assert queue.suggest("more") == FINISHED


def test_others_go_first(log: Log) -> None:
    queue = log.queue("a", "b", "c")
    assert suggested(queue, "1") == "a"
    queue.on_trial_complete("1", error=True)
    assert [suggested(queue, t) for t in ("2", "3", "4")] == ["b", "c", "a"]


def test_deaths_are_counted_job_by_job(log: Log) -> None:
    queue = log.queue("a", "b")
    for trial in ("1", "2"):
        queue.suggest(trial)
        queue.on_trial_complete(trial, error=True)
    assert log.deaths == [("a", 1), ("b", 1)]


def test_a_drained_queue_hands_out_nothing_even_while_trials_run(log: Log) -> None:
    queue = log.queue("a", "b")
    queue.suggest("1")
    queue.drain()
    assert queue.suggest("2") == FINISHED
    queue.on_trial_complete("1", error=True)
    assert queue.suggest("3") == FINISHED


def test_an_unknown_trial_is_ignored(log: Log) -> None:
    queue = log.queue("a")
    queue.on_trial_complete("never suggested", error=True)
    assert log.deaths == []


def test_can_be_pickled_by_tune(log: Log) -> None:
    pickle.dumps(log.queue("a"))


def test_what_a_job_gave_rise_to_is_handed_out(log: Log) -> None:
    log.new = {"a": "c"}
    queue = log.queue("a", "b")
    assert [suggested(queue, t) for t in ("1", "2", "3")] == ["a", "b", None]
    queue.on_trial_complete("1", {"outcome": "completed"})
    assert suggested(queue, "4") == "c"
    for trial in ("2", "4"):
        queue.on_trial_complete(trial, {"outcome": "completed"})
    assert queue.suggest("5") == FINISHED
    assert log.ends == ["a", "b", "c"]


def test_a_job_ends_once_it_is_given_up_and_not_before(log: Log) -> None:
    log.new = {"a": "b"}
    queue = log.queue("a")
    for attempt in range(1 + MAX_RETRIES):
        assert log.ends == []
        assert suggested(queue, f"a{attempt}") == "a"
        queue.on_trial_complete(f"a{attempt}", error=True)
    assert log.ends == ["a"]
    assert suggested(queue, "next") == "b"


def crowd(queue: TrialQueue, trial: str) -> None:
    queue.on_trial_complete(trial, {"outcome": "pending", "crowded": True})


def test_out_of_memory_it_gets_twice_the_share_until_the_gpu_is_its_own(log: Log) -> None:
    queue = log.queue("a", gpus=0.3)
    jobs = []
    for trial in ("1", "2", "3"):
        jobs.append(queue.suggest(trial))
        crowd(queue, trial)
    last = queue.suggest("4")
    assert jobs == [{"id": "a", "gpus": 0.3}, {"id": "a", "gpus": 0.6}, {"id": "a", "gpus": 1.0}]
    assert log.shares == [("a", 0.6), ("a", 1.0), ("a", 1.0)]
    assert last == {"id": "a", "gpus": 1.0}
    assert (log.deaths, log.lost, log.ends) == ([], [], [])
    queue.on_trial_complete("4", {"outcome": "crashed", "crowded": False})
    assert log.ends == ["a"]
    assert queue.suggest("5") == FINISHED


def test_one_without_room_goes_to_the_end_and_the_others_keep_their_shares(log: Log) -> None:
    queue = log.queue("a", "b", "c", gpus=0.25)
    assert suggested(queue, "1") == "a"
    crowd(queue, "1")
    rest = [queue.suggest(trial) for trial in ("2", "3", "4")]
    assert rest == [{"id": "b", "gpus": 0.25}, {"id": "c", "gpus": 0.25}, {"id": "a", "gpus": 0.5}]


def test_a_death_leaves_the_share_and_costs_no_room(log: Log) -> None:
    queue = log.queue("a", gpus=0.25)
    queue.suggest("1")
    crowd(queue, "1")
    queue.suggest("2")
    queue.on_trial_complete("2", error=True)
    assert queue.suggest("3") == {"id": "a", "gpus": 0.5}
    assert (log.deaths, log.shares) == ([("a", 1)], [("a", 0.5)])


def test_an_error_that_its_process_raised_is_not_tried_again(log: Log) -> None:
    queue = log.queue("a", "b")
    assert [suggested(queue, t) for t in ("1", "2")] == ["a", "b"]
    queue.raised("1", Failure("ImportError: no torch", ""))
    queue.on_trial_complete("1", error=True)
    assert (log.failures, log.ends, log.deaths) == ([("a", "ImportError: no torch")], ["a"], [])
    queue.on_trial_complete("2", error=True)
    assert suggested(queue, "3") == "b", "that one died"


@pytest.mark.parametrize("result", [None, {"outcome": "pending", "crowded": False}])
def test_a_job_that_was_taken_back_has_not_ended(log: Log, result: dict[str, Any] | None) -> None:
    queue = log.queue("a", "b")
    assert suggested(queue, "1") == "a"
    queue.on_trial_complete("1", result)
    assert (log.ends, log.deaths) == ([], [])
    assert suggested(queue, "2") == "a", "it is the next one again"
