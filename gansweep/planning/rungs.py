"""Decisions at the rungs of a sweep's scheduler. Does not load Ray.

Scores at rungs are read from the journals of trials, so a sweep that was killed continues with all scores.
"""

from __future__ import annotations

from collections import defaultdict

from gansweep.features import is_compared
from gansweep.health.history import History, traits
from gansweep.health.judge import Judge
from gansweep.health.verdict import RANKED_FAILURES
from gansweep.planning.plan import Plan
from gansweep.planning.trial import PlannedTrial
from gansweep.records import journal
from gansweep.records.journal import Record
from gansweep.records.ranking import WORST
from gansweep.sweepfile.trials import Trial
from gansweep.sweeps.summary import evaluator


def rungs_of(plan: Plan, planned: PlannedTrial) -> tuple[int, ...]:
    """Return the steps of the rungs of a trial; empty if the scheduler has no rungs."""
    return plan.sweep.scheduler.rungs(planned.trial.steps, plan.evaluated_every(planned))


class Rungs:
    """Scores of all trials at the rungs, and the scheduler's decisions.

    A score is a value of the objective. It counts as the worst possible if the value is not finite, or if the trial has
    a failure verdict other than `poor` at that step.
    """

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._trials: dict[str, PlannedTrial] = {}
        self._scores: defaultdict[int, dict[str, float]] = defaultdict(dict)  # rung → trial → score
        for planned in plan.trials:
            self.add(planned)

    def add(self, planned: PlannedTrial) -> None:
        """Add a trial, with the scores in its journal."""
        self._trials[planned.trial.id] = planned
        if rungs_of(self._plan, planned):
            self._read(planned)

    def at_rung(self, trial_id: str, step: int) -> bool:
        """Whether a trial that has reached a step waits for a decision. Its journal must be up to date."""
        return step in rungs_of(self._plan, self._trials[trial_id])

    def ends(self, trial_id: str, step: int) -> bool:
        """Whether a trial that has reached a step should end. Called at every rung, before the trial continues."""
        planned = self._trials[trial_id]
        here = [i for i, at in enumerate(rungs_of(self._plan, planned)) if at == step]
        if not here:
            return False
        last = self._read(planned)
        # A process that was killed beyond the rung had been allowed to continue.
        return last == step and not all(self._survives(rung, trial_id) for rung in here)

    def _survives(self, rung: int, trial_id: str) -> bool:
        scores = self._scores[rung]
        score = scores.get(trial_id)
        if score is None:
            return True  # nothing was measured
        return self._plan.sweep.scheduler.survives(score, scores.values())

    def _read(self, planned: PlannedTrial) -> int:
        """Read the scores in a trial's journal, and return the last recorded step; 0 without records."""
        folder = self._plan.folder.trial(planned.trial.id)
        records, judge = journal.read(folder.journal), evaluator(folder)
        compared = is_compared(judge["features"], judge["resolution"])
        points = self._plan.ranking.points(records)
        for rung, step in enumerate(rungs_of(self._plan, planned)):
            at, score = next((point for point in points if point[0] >= step), (0, WORST))
            if at:
                self._scores[rung][planned.trial.id] = (
                    WORST if _failed(self._plan.judge, records, at, planned.trial, compared) else score
                )
        return records[-1].step if records else 0


def _failed(judge: Judge, records: list[Record], step: int, trial: Trial, compared: bool) -> bool:
    """Whether a trial has a failure verdict other than `poor` at a step.

    Args:
        judge: Judge that makes the verdicts.
        records: Records of the trial's journal.
        step: The step. Later records are ignored.
        trial: The trial.
        compared: Whether quality in the trial's embedding was compared with blind looks: see `is_compared`.
    """
    known = ((r.step, r.values) for r in records if r.step <= step)
    history = History.of(known, trial.steps, *traits(trial.config.model_dump()), compared)
    return any(verdict.is_failure and verdict.kind not in RANKED_FAILURES for verdict in judge(history))
