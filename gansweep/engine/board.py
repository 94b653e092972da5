"""The state of a sweep while it runs, as views show it. No Ray."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from gansweep.health.metrics import typical_speed
from gansweep.planning.plan import Plan
from gansweep.planning.trial import PlannedTrial
from gansweep.records import journal
from gansweep.records.figures import speeds_of

BASIS_S = 5.0  # of training, before the remaining time is estimated


@dataclass
class Row:
    """One trial as a view shows it. weight: cost of a step in relation to other trials'."""

    id: str
    varied: Mapping[str, Any]
    seed: int
    steps: int
    weight: float
    step: int = 0
    outcome: str = "pending"
    reason: str = ""
    verdict: str | None = None
    rule: str = ""  # what ended it, as in Outcome
    metrics: Mapping[str, float] = field(default_factory=dict)
    steps_per_s: float | None = None  # of the whole run: see health.metrics.typical_speed


@dataclass
class Board:
    """All rows of a run of a sweep, in the order of the plan.

    to_come: about how much work each trial is that has not been suggested yet, in units of Row.weight.
    """

    sweep: str
    rows: dict[str, Row]
    slots: int
    began: float  # time.monotonic() when the command began
    to_come: list[float] = field(default_factory=list)
    training_since: float | None = None  # time.monotonic() at the first report of a step in this run
    work_before: float = 0.0  # done by then

    @classmethod
    def of(cls, plan: Plan, slots: int, began: float) -> Board:
        """Rows as the trial folders are now. began: time.monotonic() when the command began."""
        work = [float(p.step_operations * p.trial.steps) for p in plan.to_come]
        board = cls(plan.sweep.name, {}, slots, began, work)
        for planned in plan.trials:
            trial, row = planned.trial, _row(planned)
            last = journal.latest(plan.folder.trial(trial.id).journal)
            if last is not None:
                row.step, row.metrics = min(last.step, trial.steps), last.values
                row.steps_per_s = typical_speed(speeds_of(plan.folder.trial(trial.id)))
            if planned.ended is not None and planned.finished:
                row.outcome, row.reason = planned.ended.kind, planned.ended.reason
                row.verdict = planned.ended.verdict
            board.rows[trial.id] = row
        return board

    def add(self, planned: PlannedTrial) -> None:
        """A trial that was to come, and has been suggested."""
        self.rows[planned.trial.id] = _row(planned)
        del self.to_come[:1]

    @property
    def total(self) -> int:
        """Trials, those to come included."""
        return len(self.rows) + len(self.to_come)

    def done(self) -> int:
        """Trials that have nothing left to do in this run."""
        return sum(row.outcome not in ("pending", "running") for row in self.rows.values())

    def elapsed_s(self) -> float:
        """Since the command began."""
        return time.monotonic() - self.began

    def stepped(self) -> None:
        """Call after a trial has reported and its row is up to date."""
        if self.training_since is None:
            self.training_since, self.work_before = time.monotonic(), self._work()[0]

    def remaining_s(self) -> float | None:
        """Work left at the pace since the first report; None until BASIS_S after it: starting Ray, loading torch and
        the first step of a process say nothing about the pace."""
        work, left = self._work()
        fresh = work - self.work_before
        if self.training_since is None or fresh <= 0:
            return None
        elapsed_s = time.monotonic() - self.training_since
        return left / fresh * elapsed_s if elapsed_s >= BASIS_S else None

    def _work(self) -> tuple[float, float]:
        rows = self.rows.values()
        work = sum(row.weight * row.step for row in rows)
        left = sum(row.weight * (row.steps - row.step) for row in rows if row.outcome in ("pending", "running"))
        return work, left + sum(self.to_come)


def _row(planned: PlannedTrial) -> Row:
    trial = planned.trial
    return Row(trial.id, trial.varied, trial.config.seed, trial.steps, planned.step_operations)


class View(Protocol):
    """Shows a board; called in the driver's main thread only."""

    def changed(self, row: Row) -> None:
        """A trial began, went on or ended."""

    def notice(self, text: str) -> None:
        """A sentence for the user (from any thread)."""
