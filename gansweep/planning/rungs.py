"""Decisions at the rungs of a sweep's scheduler. No Ray.

What was measured at rungs is read from the trials' journals, so a sweep that was killed continues with all of it.
"""

from __future__ import annotations

from collections import defaultdict

from gansweep.health.history import History, traits
from gansweep.health.judge import Judge
from gansweep.planning.plan import Plan
from gansweep.planning.trial import PlannedTrial
from gansweep.records import journal
from gansweep.records.journal import Record
from gansweep.records.ranking import WORST
from gansweep.sweepfile.trials import Trial


def rungs_of(plan: Plan, planned: PlannedTrial) -> tuple[int, ...]:
    """Return the rungs of one trial; none where the scheduler has none."""
    return plan.sweep.scheduler.rungs(planned.trial.steps, plan.evaluated_every(planned))


class Rungs:
    """Asks the scheduler at each rung, with what all trials measured there so far.

    A value that is not finite, and any value of a run with a failure verdict, counts as the worst.
    """

    def __init__(self, plan: Plan) -> None:
        """Reads what was measured already."""
        self._plan = plan
        self._trials: dict[str, PlannedTrial] = {}
        self._scores: defaultdict[int, dict[str, float]] = defaultdict(dict)  # rung → trial → score
        for planned in plan.trials:
            self.add(planned)

    def add(self, planned: PlannedTrial) -> None:
        """A trial that may be asked about."""
        self._trials[planned.trial.id] = planned
        if rungs_of(self._plan, planned):
            self._read(planned)

    def at_rung(self, trial_id: str, step: int) -> bool:
        """Whether a trial that has trained so many steps waits for a decision, which is made by its journal."""
        return step in rungs_of(self._plan, self._trials[trial_id])

    def ends(self, trial_id: str, step: int) -> bool:
        """Whether a trial that has trained so many steps is to end there. Called at every rung, before it goes on."""
        planned = self._trials[trial_id]
        here = [i for i, at in enumerate(rungs_of(self._plan, planned)) if at == step]
        if not here:
            return False
        last = self._read(planned)
        # Where a killed process had gone beyond the rung, it had been allowed to.
        return last == step and not all(self._goes_on(rung, trial_id) for rung in here)

    def _goes_on(self, rung: int, trial_id: str) -> bool:
        scores = self._scores[rung]
        score = scores.get(trial_id)
        if score is None:
            return True  # nothing was measured
        return self._plan.sweep.scheduler.survives(score, scores.values())

    def _read(self, planned: PlannedTrial) -> int:
        """Take in a trial's journal; returns its last step."""
        records = journal.read(self._plan.folder.trial(planned.trial.id).journal)
        points = self._plan.ranking.points(records)
        for rung, step in enumerate(rungs_of(self._plan, planned)):
            at, score = next((point for point in points if point[0] >= step), (0, WORST))
            if at:
                self._scores[rung][planned.trial.id] = (
                    WORST if _failed(self._plan.judge, records, at, planned.trial) else score
                )
        return records[-1].step if records else 0


def _failed(judge: Judge, records: list[Record], step: int, trial: Trial) -> bool:
    """Return whether a failure verdict held at a step."""
    known = ((r.step, r.values) for r in records if r.step <= step)
    history = History.of(known, trial.steps, *traits(trial.config.model_dump()))
    return any(verdict.is_failure for verdict in judge(history))
