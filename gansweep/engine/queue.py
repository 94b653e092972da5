"""Queue of trials for Ray Tune, which retries trials whose process died or whose GPU was too full."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Protocol

import psutil
from ray import cloudpickle
from ray.tune.experiment import Trial
from ray.tune.schedulers import FIFOScheduler
from ray.tune.search import Searcher

from gansweep.engine.failures import Failure, failure_of
from gansweep.engine.incidents import Incident, Incidents, Place

MAX_RETRIES = 3


class Listener(Protocol):
    """Listener of the queue's events; engine.events.Events in a sweep."""

    def begun(self, job: dict[str, Any]) -> None:
        """Handle a job that is about to be handed out."""

    def died(self, job: dict[str, Any], deaths: int) -> None:
        """Handle a job whose process died for the `deaths`-th time."""

    def given_up(self, job: dict[str, Any], deaths: int) -> None:
        """Handle a job that will not be tried again, because its process died `deaths` times."""

    def failed(self, job: dict[str, Any], failure: Failure) -> None:
        """Handle a job whose process raised an error."""

    def ended(self, job: dict[str, Any]) -> Sequence[dict[str, Any]]:
        """Handle a job that has ended in any way, and return the new jobs that result from it."""

    def crowded(self, job: dict[str, Any]) -> None:
        """Handle a job that ran out of GPU memory and will be tried again. `job` has its new, larger share of a GPU."""

    def struck(self, job: dict[str, Any], restarted: int) -> None:
        """Handle the death of a job on a GPU shared under MPS, because of which `restarted` other jobs restart."""

    def withdrawn(self, job: dict[str, Any], since: float) -> None:
        """Handle a job whose records since a time, in seconds since the epoch, are not valid. No process trains it."""

    def isolated(self, job: dict[str, Any]) -> None:
        """Handle a job that will be tried again on a GPU of its own, since its deaths restarted others repeatedly."""


class TrialQueue(Searcher):  # type: ignore[misc]  # Ray has no types
    """Search algorithm of Tune that hands out each job once, in order, and retries some.

    - A job whose process died is retried at most MAX_RETRIES times. Tune's own retries miss deaths that occur while an
      actor is handed from one trial to the next.
    - A job that ran out of the memory of a shared GPU is retried with twice the share, up to a whole GPU.
    - A job whose trial ended before the process opened the run returns to the front of the queue. The listener is not
      told.
    - After a death on a GPU shared under MPS, the other jobs on that GPU are retried as well: see engine/incidents.py.
      Such a retry does not count towards MAX_RETRIES.
    """

    def __init__(self, jobs: Sequence[dict[str, Any]], events: Listener) -> None:
        super().__init__(metric=None, mode=None)
        self._failures: dict[str, Failure] = {}
        self._waiting = deque(jobs)
        self._running: dict[str, dict[str, Any]] = {}
        self._over: dict[str, dict[str, Any]] = {}
        self._deaths: Counter[str] = Counter()
        self._incidents = Incidents()
        self._events = events
        self.draining = False

    def __getstate__(self) -> dict[str, Any]:
        """Return {}: Tune pickles the queue for restarts, which are not used."""
        return {}

    def drain(self) -> None:
        """Stop handing out jobs."""
        self.draining = True

    def started(self, trial_id: str, place: Place, at: float) -> None:
        """Note which process trains a trial, and its GPU, which other trials may share under MPS.

        Args:
            trial_id: Tune's id of the trial.
            place: The process and its GPU.
            at: Time of the note in seconds since the epoch. The trial has not used its GPU before.
        """
        if trial_id in self._running:
            self._incidents.started(trial_id, self._running[trial_id]["id"], place, at)

    def raised(self, trial_id: str, failure: Failure) -> None:
        """Note the error that a trial's process raised. Tune calls `on_trial_complete` next."""
        self._failures[trial_id] = failure

    def suggest(self, trial_id: str) -> dict[str, Any] | str | None:
        if self._waiting and not self.draining:
            job = self._waiting.popleft()
            self._events.begun(job)
            self._running[trial_id] = job
            return job
        # Not finished while a trial runs: it may die and be retried.
        return None if self._running and not self.draining else str(Searcher.FINISHED)

    def on_trial_result(self, trial_id: str, result: dict[str, Any]) -> None:
        self._incidents.heard(trial_id, result["timestamp"])

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        job = self._running.pop(trial_id, None)
        if job is None:
            return
        if result and "timestamp" in result:
            self._incidents.heard(trial_id, result["timestamp"])
        since = self._incidents.ended(trial_id)
        if since is not None:
            self._failures.pop(trial_id, None)  # caused by the incident
            self._withdraw(job, since)
            return
        if not error and result and result.get("crowded"):
            job = self._over[trial_id] = {**job, "gpus": min(1.0, 2 * job["gpus"])}
            self._events.crowded(job)
            self._waiting.append(job)
            return
        if not error and (not result or result["outcome"] == "pending"):
            self._waiting.appendleft(job)
            return
        if not error:
            self._over[trial_id] = job
            self._waiting.extend(self._events.ended(job))
            return
        if failure := self._failures.pop(trial_id, None):
            self._events.failed(job, failure)
            self._waiting.extend(self._events.ended(job))
            return
        self._deaths[job["id"]] += 1
        deaths = self._deaths[job["id"]]
        self._events.died(job, deaths)
        if incident := self._incidents.died(trial_id):
            job = self._answered(incident, job)
        if deaths > MAX_RETRIES:
            self._events.given_up(job, deaths)
            self._waiting.extend(self._events.ended(job))
        else:
            self._waiting.append(job)

    def _answered(self, incident: Incident, job: dict[str, Any]) -> dict[str, Any]:
        """Handle the death of a job on a GPU shared under MPS.

        The processes on that GPU are killed. The records of the job and of jobs that have ended since are withdrawn.
        Those of jobs that were still running are withdrawn when Ray reports the end of their trials.

        Returns:
            The job that died, with a whole GPU if it continues on a GPU of its own.
        """
        for process in incident.processes:
            with suppress(psutil.NoSuchProcess):
                process.kill()
        self._events.withdrawn(job, incident.since)
        ended = [self._over.pop(trial_id) for trial_id in incident.ended if trial_id in self._over]
        for one in ended:
            self._withdraw(one, incident.since)
        if restarted := len(incident.running) + len(ended):
            self._events.struck(job, restarted)
        if incident.alone and job["gpus"] < 1:
            job = {**job, "gpus": 1.0}
            self._events.isolated(job)
        return job

    def _withdraw(self, job: dict[str, Any], since: float) -> None:
        """Withdraw the records of a job since a time, and append the job to the queue unless it is there.

        Does nothing if the job has been handed out again.
        """
        if any(job["id"] == running["id"] for running in self._running.values()):
            return
        self._events.withdrawn(job, since)
        if all(job["id"] != waiting["id"] for waiting in self._waiting):
            self._waiting.append(job)

    def save(self, checkpoint_path: str) -> None:
        """Do nothing: the state of a sweep is in its trial folders, not in Tune's experiment."""

    def restore(self, checkpoint_path: str) -> None:
        """Do nothing: `save` has saved no state that could be restored."""


class InOrder(FIFOScheduler):  # type: ignore[misc]  # Ray has no types
    """Scheduler of Tune that runs trials in the order of the queue, and passes their errors to the queue.

    Tune tells its search algorithm only that an error occurred, and tells its scheduler which one.

    Tune requests several trials in advance. When the queue drains, those that wait for a process are stopped; otherwise
    Tune would start them.
    """

    def __init__(self, queue: TrialQueue) -> None:
        super().__init__()
        self._queue = queue

    def on_trial_error(self, tune_controller: object, trial: Trial) -> None:
        # Tune's own `get_pickled_error` looks in a folder that this file has not been copied to yet.
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
    """Return the pickled error in a file; None if it cannot be unpickled, like the errors of some libraries.

    No exception is raised, since one that is raised in Tune's loop would end the whole sweep.
    """
    try:
        found: Exception = cloudpickle.loads(file.read_bytes())
    except Exception:
        return None
    return found
