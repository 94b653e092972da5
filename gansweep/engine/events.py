"""What follows when a trial begins, steps, dies or ends: on record, on the board, and for those that come after it."""

from __future__ import annotations

from typing import Any

from gansweep.config import from_plain
from gansweep.engine.board import Board, Row, View
from gansweep.engine.failures import Failure
from gansweep.engine.search import Search
from gansweep.gan.data import ImageSet
from gansweep.planning.dispatch import jobs_of
from gansweep.planning.packing import Shares
from gansweep.planning.rungs import Rungs
from gansweep.records import outcome
from gansweep.records.layout import write_atomically
from gansweep.records.outcome import Outcome
from gansweep.sync.collector import Collector
from gansweep.words import counted


class Events:
    """Of the trials of one search. A job is what jobs_of gives. collector: of the storage, where there is one."""

    def __init__(self, search: Search, shares: Shares, board: Board, view: View, collector: Collector | None) -> None:
        self._search, self._shares, self._board, self._view, self._collector = search, shares, board, view, collector
        self._plan = search.plan
        self._rungs = Rungs(search.plan)

    def jobs(self) -> list[dict[str, Any]]:
        """Of what is pending."""
        return jobs_of(self._plan, self._shares, self._storage)

    def begun(self, job: dict[str, Any]) -> None:
        """It is about to be handed out."""
        if self._collector:
            self._collector.begin(job["id"], from_plain(ImageSet, job["images"]))

    def stepped(self, trial_id: str, step: int) -> None:
        """It reported, and waits to go on."""
        if self._collector and self._rungs.at_rung(trial_id, step):
            self._collector.bring_records(trial_id)
        if self._rungs.ends(trial_id, step):
            (rule,) = self._plan.sweep.scheduler.rules
            write_atomically(self._plan.folder.trial(trial_id).stop, rule.encode())
            if self._collector:
                self._collector.ask_to_stop(trial_id)

    def crowded(self, job: dict[str, Any]) -> None:
        """It ran out of its GPU's memory and will be handed out again, with a larger share."""
        if self._collector:
            self._collector.end(job["id"])
        self._view.notice(
            f"{job['id']}: out of GPU memory; it continues with fewer neighbours ({job['gpus']:.2g} of a GPU)"
        )

    def died(self, job: dict[str, Any], deaths: int) -> None:
        """Its process did."""
        if self._collector:
            self._collector.end(job["id"])
        folder = self._plan.folder.trial(job["id"])
        if folder.stop.exists() and folder.stop.read_text():
            folder.stop.unlink()  # decided anew when it is at the rung again
        outcome.count_death(folder)
        self._view.notice(f"{job['id']}: its process died ({deaths}×); it continues from its checkpoint")

    def given_up(self, job: dict[str, Any], deaths: int) -> None:
        """It died once too often; `ended` follows."""
        folder, row = self._plan.folder.trial(job["id"]), self._board.rows[job["id"]]
        crashed = Outcome("crashed", row.step, f"its process died {counted(deaths, 'time')}")
        outcome.write(folder, crashed)
        self._show(row, crashed)

    def failed(self, job: dict[str, Any], failure: Failure) -> None:
        """Its process raised an error where the trial's folder could not be told; `ended` follows."""
        folder, row = self._plan.folder.trial(job["id"]), self._board.rows[job["id"]]
        self._show(row, outcome.record_crash(folder, row.step, failure.reason, failure.trace))

    def ended(self, job: dict[str, Any]) -> list[dict[str, Any]]:
        """Jobs that its end gave rise to."""
        if self._collector:
            self._collector.end(job["id"])
        new = self._search.ended(job["id"])
        for planned in new:
            self._board.add(planned)
            self._rungs.add(planned)
        if new and self._collector:
            self._collector.put_on_record()
        return jobs_of(self._plan, self._shares, self._storage, new)

    def _show(self, row: Row, crashed: Outcome) -> None:
        row.outcome, row.reason = crashed.kind, crashed.reason
        self._view.changed(row)

    @property
    def _storage(self) -> str | None:
        return self._collector.uri if self._collector else None
