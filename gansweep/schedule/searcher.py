"""Hands our trials to Ray Tune, one by one, and again when their process died or their GPU was too full."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Sequence
from typing import Any

from ray.tune.search import Searcher

MAX_RETRIES = 3


class TrialQueue(Searcher):  # type: ignore[misc]  # Ray has no types
    """Each job once, in order; a job whose process died once more, at most MAX_RETRIES times.

    Tune's own retries miss deaths while an actor is handed from one trial to the next; ours sees every one.
    A job that ran out of a shared GPU's memory again as well, with twice the share, up to a whole GPU: so half as many
    neighbours, or fewer, and nothing else is changed.
    on_begin: called with each job before it is handed out. on_death: called with the job and its number of deaths;
    on_given_up: after the last of them. on_end: called with each job that has ended, given up or not; returns jobs that
    it gave rise to. on_crowded: called with the job that will be handed out again, its new share in it.
    """

    def __init__(
        self,
        jobs: Sequence[dict[str, Any]],
        on_begin: Callable[[dict[str, Any]], None],
        on_death: Callable[[dict[str, Any], int], None],
        on_given_up: Callable[[dict[str, Any], int], None],
        on_end: Callable[[dict[str, Any]], Sequence[dict[str, Any]]],
        on_crowded: Callable[[dict[str, Any]], None],
    ) -> None:
        super().__init__(metric=None, mode=None)
        self._waiting = deque(jobs)
        self._running: dict[str, dict[str, Any]] = {}
        self._deaths: Counter[str] = Counter()
        self._on_begin, self._on_death, self._on_given_up, self._on_end = on_begin, on_death, on_given_up, on_end
        self._on_crowded = on_crowded
        self._draining = False

    def __getstate__(self) -> dict[str, Any]:
        """Nothing: Tune pickles it for a restart that we never ask for; trial folders hold the truth."""
        return {}

    def drain(self) -> None:
        """Hand out nothing more."""
        self._draining = True

    def suggest(self, trial_id: str) -> dict[str, Any] | str | None:
        if self._waiting and not self._draining:
            job = self._waiting.popleft()
            self._on_begin(job)
            self._running[trial_id] = job
            return job
        # Not finished while a trial runs: it may die and come back.
        return None if self._running and not self._draining else str(Searcher.FINISHED)

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        job = self._running.pop(trial_id, None)
        if job is None:
            return
        if not error and result and result.get("crowded"):
            job = {**job, "gpus": min(1.0, 2 * job["gpus"])}
            self._on_crowded(job)
            self._waiting.append(job)
            return
        if not error:
            self._waiting.extend(self._on_end(job))
            return
        self._deaths[job["id"]] += 1
        deaths = self._deaths[job["id"]]
        self._on_death(job, deaths)
        if deaths > MAX_RETRIES:
            self._on_given_up(job, deaths)
            self._waiting.extend(self._on_end(job))
        else:
            self._waiting.append(job)

    def save(self, checkpoint_path: str) -> None:
        """Nothing: trial folders hold the truth, not Tune's experiment."""

    def restore(self, checkpoint_path: str) -> None:
        """Nothing, see save."""
