"""Hands our trials to Ray Tune, one by one, and again when their process died or their GPU was too full."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

from ray import cloudpickle
from ray.tune.experiment import Trial
from ray.tune.schedulers import FIFOScheduler
from ray.tune.search import Searcher

from gansweep.engine.failures import Failure, failure_of

MAX_RETRIES = 3


class Listener(Protocol):
    """What the queue tells of; schedule.events.Events in a sweep."""

    def begun(self, job: dict[str, Any]) -> None:
        """Called before each time it is handed out."""

    def died(self, job: dict[str, Any], deaths: int) -> None:
        """Called with the number of its deaths so far."""

    def given_up(self, job: dict[str, Any], deaths: int) -> None:
        """Called after the last of them."""

    def failed(self, job: dict[str, Any], failure: Failure) -> None:
        """Called where its process raised an error."""

    def ended(self, job: dict[str, Any]) -> Sequence[dict[str, Any]]:
        """Called with each job that has ended, given up, failed or not; returns jobs that it gave rise to."""

    def crowded(self, job: dict[str, Any]) -> None:
        """Called with the job that will be handed out again, its new share in it."""


class TrialQueue(Searcher):  # type: ignore[misc]  # Ray has no types
    """Each job once, in order; a job whose process died once more, at most MAX_RETRIES times.

    A job that was taken back before its trial was opened waits again; the listener is not told.

    Tune's own retries miss deaths while an actor is handed from one trial to the next; ours sees every one.
    A job that ran out of a shared GPU's memory again as well, with twice the share, up to a whole GPU: so half as many
    neighbours, or fewer, and nothing else is changed.
    """

    def __init__(self, jobs: Sequence[dict[str, Any]], events: Listener) -> None:
        super().__init__(metric=None, mode=None)
        self._failures: dict[str, Failure] = {}
        self._waiting = deque(jobs)
        self._running: dict[str, dict[str, Any]] = {}
        self._deaths: Counter[str] = Counter()
        self._events = events
        self.draining = False

    def __getstate__(self) -> dict[str, Any]:
        """Nothing: Tune pickles it for a restart that we never ask for; trial folders hold the truth."""
        return {}

    def drain(self) -> None:
        """Hand out nothing more."""
        self.draining = True

    def raised(self, trial_id: str, failure: Failure) -> None:
        """A trial's process raised an error; `on_trial_complete` follows."""
        self._failures[trial_id] = failure

    def suggest(self, trial_id: str) -> dict[str, Any] | str | None:
        if self._waiting and not self.draining:
            job = self._waiting.popleft()
            self._events.begun(job)
            self._running[trial_id] = job
            return job
        # Not finished while a trial runs: it may die and come back.
        return None if self._running and not self.draining else str(Searcher.FINISHED)

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        job = self._running.pop(trial_id, None)
        if job is None:
            return
        if not error and result and result.get("crowded"):
            job = {**job, "gpus": min(1.0, 2 * job["gpus"])}
            self._events.crowded(job)
            self._waiting.append(job)
            return
        if not error and (not result or result["outcome"] == "pending"):
            self._waiting.appendleft(job)
            return
        if not error:
            self._waiting.extend(self._events.ended(job))
            return
        if failure := self._failures.pop(trial_id, None):
            self._events.failed(job, failure)
            self._waiting.extend(self._events.ended(job))
            return
        self._deaths[job["id"]] += 1
        deaths = self._deaths[job["id"]]
        self._events.died(job, deaths)
        if deaths > MAX_RETRIES:
            self._events.given_up(job, deaths)
            self._waiting.extend(self._events.ended(job))
        else:
            self._waiting.append(job)

    def save(self, checkpoint_path: str) -> None:
        """Nothing: trial folders hold the truth, not Tune's experiment."""

    def restore(self, checkpoint_path: str) -> None:
        """Nothing, see save."""


class InOrder(FIFOScheduler):  # type: ignore[misc]  # Ray has no types
    """Trials in the order of the queue, which learns here what they raised: Tune tells its search algorithm merely that
    there was an error, and its scheduler before that which one.

    Once the queue drains, trials that wait for a process are taken back: Tune asks for several ahead, and would begin
    those it has.
    """

    def __init__(self, queue: TrialQueue) -> None:
        super().__init__()
        self._queue = queue

    def on_trial_error(self, tune_controller: object, trial: Trial) -> None:
        # Tune's own `get_pickled_error` looks where this file has not been copied yet.
        file = Path(trial.pickled_error_file or "")
        if file.is_file() and (failure := failure_of(_unpickled(file))):
            self._queue.raised(trial.trial_id, failure)

    def choose_trial_to_run(self, tune_controller: Any) -> Trial | None:
        if not self._queue.draining:
            return super().choose_trial_to_run(tune_controller)
        for trial in list(tune_controller.get_live_trials()):
            if trial.status == Trial.PENDING:
                tune_controller.stop_trial(trial)
        return None


def _unpickled(file: Path) -> Exception | None:
    """The error in a file; None for one that cannot be made again here, as those of some libraries: raised in Tune's
    loop, that would end the whole sweep."""
    try:
        found: Exception = cloudpickle.loads(file.read_bytes())
    except Exception:
        return None
    return found
