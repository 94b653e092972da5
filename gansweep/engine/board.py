"""State of a running sweep for display. Does not load Ray."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from gansweep.health.metrics import typical_speed
from gansweep.records import journal
from gansweep.records.figures import speeds_of

if TYPE_CHECKING:  # `status` shows rows without a plan, whose import takes a quarter of a second
    from gansweep.planning.plan import Plan
    from gansweep.planning.trial import PlannedTrial

BASIS_S = 5.0  # seconds of training before the remaining time is estimated


@dataclass
class Row:
    """One trial, as displayed by a view.

    Attributes:
        weight: Cost of one step, for comparison with other trials: PlannedTrial.step_operations.
        states: (kind, first step) of each state of the game between D and G that holds.
        rule: What ended the trial: see records.outcome.Outcome.
        steps_per_s: Speed over the whole run (see health.metrics.typical_speed); None until it is known.
    """

    id: str
    varied: Mapping[str, Any]
    seed: int
    steps: int
    weight: float
    step: int = 0
    outcome: str = "pending"
    reason: str = ""
    verdict: str | None = None
    states: Sequence[tuple[str, int]] = ()
    rule: str = ""
    metrics: Mapping[str, float] = field(default_factory=dict)
    steps_per_s: float | None = None


@dataclass
class Board:
    """All rows of a sweep, in the order of the plan.

    Other threads may read the rows while the driver adds some. Methods therefore iterate over a copy of them.

    Attributes:
        slots: Number of trials that train in parallel.
        began: time.monotonic() when the command began.
        local_gpus: Whether trials train on GPUs of this machine.
        to_come: Approximate work of each trial that has not been suggested yet: Row.weight times its steps.
        training_since: time.monotonic() at the first reported step of this command; None until then.
        work_before: Work done up to the first reported step, in the units of `to_come`.
    """

    sweep: str
    rows: dict[str, Row]
    slots: int
    began: float
    local_gpus: bool = False
    to_come: list[float] = field(default_factory=list)
    training_since: float | None = None
    work_before: float = 0.0

    @classmethod
    def of(cls, plan: Plan, slots: int, began: float, *, local_gpus: bool = False) -> Board:
        """Return the board of a plan, with the states recorded in the folders of its trials."""
        work = [float(p.step_operations * p.trial.steps) for p in plan.to_come]
        board = cls(plan.sweep.name, {}, slots, began, local_gpus, work)
        for planned in plan.trials:
            trial, row = planned.trial, _row(planned)
            last = journal.latest(plan.folder.trial(trial.id).journal)
            if last is not None:
                row.step, row.metrics = min(last.step, trial.steps), last.values
                row.steps_per_s = typical_speed(speeds_of(plan.folder.trial(trial.id)))
            if planned.ended is not None and planned.finished:
                row.outcome, row.reason = planned.ended.kind, planned.ended.reason
                row.verdict = planned.ended.verdict
                row.states = [(one.kind, one.since_step) for one in planned.ended.verdicts if one.is_state]
            board.rows[trial.id] = row
        return board

    def add(self, planned: PlannedTrial) -> None:
        """Add the row of a suggested trial, which replaces one entry of `to_come`."""
        self.rows[planned.trial.id] = _row(planned)
        del self.to_come[:1]

    @property
    def total(self) -> int:
        """Number of trials, including those that have not been suggested yet."""
        return len(self.rows) + len(self.to_come)

    def done(self) -> int:
        """Return the number of trials that are neither pending nor running."""
        return sum(row.outcome not in ("pending", "running") for row in [*self.rows.values()])

    def steps_per_s(self) -> float:
        """Return the total speed of all running trials, in steps per second."""
        return sum(row.steps_per_s or 0.0 for row in [*self.rows.values()] if row.outcome == "running")

    def elapsed_s(self) -> float:
        """Return the time since the command began, in seconds."""
        return time.monotonic() - self.began

    def stepped(self) -> None:
        """Note that a trial has reported a step. Call this method after the trial's row has been updated."""
        if self.training_since is None:
            self.training_since, self.work_before = time.monotonic(), self._work()[0]

    def remaining_s(self) -> float | None:
        """Return the estimated remaining time in seconds, extrapolated from the pace since the first reported step.

        Earlier time is not counted: starting Ray, loading torch and a process's first step do not reflect the pace.

        Returns:
            None until BASIS_S seconds after the first reported step, and while no further work has been done.
        """
        work, left = self._work()
        fresh = work - self.work_before
        if self.training_since is None or fresh <= 0:
            return None
        elapsed_s = time.monotonic() - self.training_since
        return left / fresh * elapsed_s if elapsed_s >= BASIS_S else None

    def _work(self) -> tuple[float, float]:
        """Return the work done and the work left, as sums of Row.weight times steps."""
        rows = [*self.rows.values()]
        work = sum(row.weight * row.step for row in rows)
        left = sum(row.weight * (row.steps - row.step) for row in rows if row.outcome in ("pending", "running"))
        return work, left + sum(self.to_come)


def _row(planned: PlannedTrial) -> Row:
    trial = planned.trial
    return Row(trial.id, trial.varied, trial.config.seed, trial.steps, planned.step_operations)


class View(Protocol):
    """Display of a board."""

    def changed(self, row: Row) -> None:
        """Show a row that has changed. Called in the driver's main thread only."""

    def notice(self, text: str) -> None:
        """Show a message to the user. Called from any thread."""
