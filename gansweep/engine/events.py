"""Handling of trials' events (begin, step, death, end): updates of records, of the board and of the search."""

from __future__ import annotations

import time
from typing import Any

from gansweep.config import from_plain
from gansweep.engine.board import Board, Row, View
from gansweep.engine.failures import Failure
from gansweep.engine.search import Search
from gansweep.errors import UserError
from gansweep.gan.data import ImageSet
from gansweep.planning.dispatch import jobs_of
from gansweep.planning.packing import Shares
from gansweep.planning.rungs import Rungs
from gansweep.records import outcome
from gansweep.records.layout import TrialFolder, write_atomically
from gansweep.records.lock import Locked
from gansweep.records.outcome import Outcome
from gansweep.records.withdrawal import withdraw
from gansweep.sync.collector import Collector
from gansweep.words import counted


class Events:
    """Handler of the events of a search's trials. Jobs are plain data, as returned by `jobs_of`.

    Args:
        search: The trials of the sweep.
        shares: Share of a GPU of each trial.
        board: Board to keep up to date.
        view: View to notify of changes.
        collector: Collector of the storage, if there is one.
    """

    def __init__(self, search: Search, shares: Shares, board: Board, view: View, collector: Collector | None) -> None:
        self._search, self._shares, self._board, self._view, self._collector = search, shares, board, view, collector
        self._plan = search.plan
        self._rungs = Rungs(search.plan)

    def jobs(self) -> list[dict[str, Any]]:
        """Return the jobs of the pending trials."""
        return jobs_of(self._plan, self._shares, self._storage)

    def begun(self, job: dict[str, Any]) -> None:
        """Prepare the storage, if there is one, for a job that is about to be handed to a process."""
        if self._collector:
            self._collector.begin(job["id"], from_plain(ImageSet, job["images"]))

    def stepped(self, trial_id: str, step: int) -> None:
        """Handle a step that a trial has reported. If the scheduler decides so, ask the trial to end.

        The trial waits until this method returns.
        """
        if self._collector and self._rungs.at_rung(trial_id, step):
            self._collector.download_records(trial_id)
        if self._rungs.ends(trial_id, step):
            (rule,) = self._plan.sweep.scheduler.rules
            write_atomically(self._plan.folder.trial(trial_id).stop, rule.encode())
            if self._collector:
                self._collector.ask_to_stop(trial_id)

    def crowded(self, job: dict[str, Any]) -> None:
        """Handle a job that ran out of GPU memory and will be tried again. `job` has its new, larger share of a GPU."""
        if self._collector:
            self._collector.end(job["id"])
        self._view.notice(
            f"{job['id']}: out of GPU memory; it continues with fewer trials on its GPU ({job['gpus']:.2g} of a GPU)"
        )

    def died(self, job: dict[str, Any], deaths: int) -> None:
        """Handle the death of a trial's process, which is the trial's `deaths`-th death during this command."""
        if self._collector:
            self._collector.end(job["id"])
        folder = self._plan.folder.trial(job["id"])
        _forget_decision(folder)
        outcome.count_death(folder)
        self._view.notice(f"{job['id']}: its process died ({deaths}×); it continues from its checkpoint")

    def struck(self, job: dict[str, Any], restarted: int) -> None:
        """Report that `restarted` other trials restart because a trial on their GPU died."""
        trials = f"{counted(restarted, 'other trial')} on its GPU {'restarts' if restarted == 1 else 'restart'}"
        self._view.notice(f"{job['id']}: {trials} from older checkpoints, since MPS does not isolate trials")

    def withdrawn(self, job: dict[str, Any], since: float) -> None:
        """Withdraw what a trial recorded since a time, in seconds since the epoch: see records/withdrawal.py.

        Raises:
            UserError: The trial's process does not end although it was killed.
        """
        folder = self._plan.folder.trial(job["id"])
        _forget_decision(folder)
        try:
            withdraw(folder, since)
        except Locked as held:
            raise UserError(
                f"{job['id']}: its process ({held}) does not end although it was killed, and its records since"
                f" {time.strftime('%H:%M:%S', time.localtime(since))} may be wrong; end the process (the GPU may need a"
                f" reset), then remove {folder.path} and run the sweep again"
            ) from None

    def isolated(self, job: dict[str, Any]) -> None:
        """Report that a trial will be tried again on a GPU of its own."""
        self._view.notice(
            f"{job['id']}: died repeatedly together with other trials on its GPU; it continues on a GPU of its own"
        )

    def given_up(self, job: dict[str, Any], deaths: int) -> None:
        """Record the crash of a trial whose process died too often. `ended` is called next."""
        folder, row = self._plan.folder.trial(job["id"]), self._board.rows[job["id"]]
        crashed = Outcome("crashed", row.step, f"its process died {counted(deaths, 'time')}")
        outcome.write(folder, crashed)
        self._show(row, crashed)

    def failed(self, job: dict[str, Any], failure: Failure) -> None:
        """Record an error that a trial's process could not record itself. `ended` is called next."""
        folder, row = self._plan.folder.trial(job["id"]), self._board.rows[job["id"]]
        self._show(row, outcome.record_crash(folder, row.step, failure.reason, failure.trace))

    def ended(self, job: dict[str, Any]) -> list[dict[str, Any]]:
        """Handle the end of a trial, and return the jobs of trials that are suggested because of it."""
        if self._collector:
            self._collector.end(job["id"])
        new = self._search.ended(job["id"])
        for planned in new:
            self._board.add(planned)
            self._rungs.add(planned)
        if new and self._collector:
            self._collector.upload_plan()
        return jobs_of(self._plan, self._shares, self._storage, new)

    def _show(self, row: Row, crashed: Outcome) -> None:
        row.outcome, row.reason = crashed.kind, crashed.reason
        self._view.changed(row)

    @property
    def _storage(self) -> str | None:
        return self._collector.uri if self._collector else None


def _forget_decision(folder: TrialFolder) -> None:
    """Remove the scheduler's request to end a trial: it decides again when the trial reaches the rung again."""
    if folder.stop.exists() and folder.stop.read_text():
        folder.stop.unlink()
