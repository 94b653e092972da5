"""What Ray Tune reports becomes rows that a view can show."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from ray.tune import Callback

from gansweep.records import journal
from gansweep.schedule.prepare import Plan


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
    steps_per_s: float | None = None
    metrics: Mapping[str, float] = field(default_factory=dict)


@dataclass
class Board:
    """All rows of a run of a sweep, in the order of the plan."""

    sweep: str
    rows: dict[str, Row]
    slots: int
    began: float = field(default_factory=time.monotonic)
    work_before: float = 0.0

    @classmethod
    def of(cls, plan: Plan, slots: int) -> Board:
        """Rows as the trial folders are now."""
        board = cls(plan.sweep.name, {}, slots)
        for planned in plan.trials:
            trial = planned.trial
            row = Row(trial.id, trial.varied, trial.config.seed, trial.steps, planned.step_operations)
            last = journal.latest(plan.folder.trial(trial.id).journal)
            if last is not None:
                row.step, row.metrics = min(last.step, trial.steps), last.values
            if planned.ended is not None and planned.finished:
                row.outcome, row.reason = planned.ended.kind, planned.ended.reason
                row.verdict = planned.ended.verdict.kind if planned.ended.verdict else None
            board.rows[trial.id] = row
        board.work_before = board._work()[0]
        return board

    def done(self) -> int:
        """Trials that have nothing left to do in this run."""
        return sum(row.outcome not in ("pending", "running") for row in self.rows.values())

    def remaining_s(self) -> float | None:
        """Estimated from the work done so far in this run; None before there is any."""
        work, left = self._work()
        fresh = work - self.work_before
        return left / fresh * (time.monotonic() - self.began) if fresh > 0 else None

    def _work(self) -> tuple[float, float]:
        rows = self.rows.values()
        work = sum(row.weight * row.step for row in rows)
        left = sum(row.weight * (row.steps - row.step) for row in rows if row.outcome in ("pending", "running"))
        return work, left


class View(Protocol):
    """Shows a board; called in the driver's main thread only."""

    def changed(self, row: Row) -> None:
        """A trial began, went on or ended."""

    def notice(self, text: str) -> None:
        """A sentence for the user (from any thread)."""


class Progress(Callback):  # type: ignore[misc]  # Ray has no types
    """Feeds the board. on_pass: called several times a second, whatever happens."""

    def __init__(self, board: Board, view: View, on_pass: Callable[[], None]) -> None:
        self._board, self._view, self._on_pass = board, view, on_pass
        self._last: dict[str, tuple[float, int]] = {}

    def on_step_end(self, iteration: int, trials: list[Any], **info: Any) -> None:
        self._on_pass()

    def on_trial_start(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        row = self._board.rows[trial.config["id"]]
        row.outcome = "running"
        self._view.changed(row)

    def on_trial_result(
        self, iteration: int, trials: list[Any], trial: Any, result: dict[str, Any], **info: Any
    ) -> None:
        # Tune may hand over the result of a trial that was cut off: it lacks what ours hold.
        if "outcome" not in result:
            return
        row = self._board.rows[result["id"]]
        for text in result["notices"]:
            self._view.notice(f"{row.id}: {text}")
        before = self._last.get(row.id)
        if before and result["step"] > before[1]:
            row.steps_per_s = (result["step"] - before[1]) / max(1e-9, result["at"] - before[0])
        self._last[row.id] = (result["at"], result["step"])
        row.step, row.outcome, row.reason = result["step"], result["outcome"], result["reason"]
        row.verdict, row.metrics = result["verdict"], result["metrics"] or row.metrics
        self._view.changed(row)
