"""Ranking of trials and checkpoints by the objective of a sweep.

All commands, tables and reports use this module, so that they show the same step and value of a trial.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, TypeVar

from gansweep.health.metrics import FD_RATIO, METRICS, current
from gansweep.health.verdict import RANKED_FAILURES
from gansweep.records import journal, outcome
from gansweep.records.journal import Record
from gansweep.records.layout import SweepFolder, TrialFolder, read_json

WORST = math.inf
ENDED = ("completed", "stopped", "crashed")
Point = tuple[int, float]  # step, score
T = TypeVar("T")


class Value(NamedTuple):
    """Value of the objective, and the step at which it was measured."""

    step: int
    value: float


@dataclass(frozen=True)
class Quality:
    """Values of the objective for one trial, each with its step.

    Attributes:
        final: Value at the last evaluation, by which trials are ranked; None if it was never measured.
        best: Best finite value, with the first step at which it was reached; None if no value is finite.
    """

    final: Value | None
    best: Value | None


@dataclass(frozen=True)
class Ranking:
    """Objective, with the conversion of its values to scores.

    A better value has a lower score; a value that is not finite scores WORST.

    Attributes:
        metric: Name of a recorded metric.
        mode: Whether the smallest or the largest value is best.
    """

    metric: str
    mode: Literal["min", "max"]

    def score(self, value: float) -> float:
        """Return the score of a value; less is better."""
        if not math.isfinite(value):
            return WORST
        return value if self.mode == "min" else -value

    def value(self, score: float) -> float:
        """Return the value of a finite score."""
        return score if self.mode == "min" else -score

    def points(self, records: Iterable[Record]) -> list[Point]:
        """Return (step, score) of every record that has the metric."""
        return [(r.step, self.score(r.values[self.metric])) for r in records if self.metric in r.values]

    def quality(self, values: Iterable[tuple[int, float]]) -> Quality:
        """Return the quality of a trial.

        Args:
            values: (step, value) of the metric, in the order of steps.
        """
        listed = [Value(*one) for one in values]
        finite = [one for one in listed if math.isfinite(one.value)]
        best = min(finite, key=lambda one: self.score(one.value), default=None)
        return Quality(listed[-1] if listed else None, best)

    def order(self, scores: Mapping[T, float]) -> list[T]:
        """Return the trials whose score is not WORST, best first; equal ones in the given order."""
        return sorted((one for one, score in scores.items() if score < WORST), key=scores.__getitem__)

    def places(self, scores: Mapping[T, float]) -> dict[T, int]:
        """Return trial → place in `order`, from 1; equal scores share a place."""
        first: dict[float, int] = {}  # score → place
        return {one: first.setdefault(scores[one], number) for number, one in enumerate(self.order(scores), 1)}

    def admitted(self, scores: Mapping[T, float], failures: Mapping[T, str | None]) -> dict[T, float]:
        """Return trial → score for the trials that are ranked, in the given order.

        A trial is ranked if it did not fail and its score is not WORST. If there is no such trial, those are ranked
        that failed in a way that still allows a comparison (RANKED_FAILURES, such as `poor`).

        Args:
            scores: Trial → score.
            failures: Trial → how it failed, None if it did not.
        """
        for ways in ((None,), RANKED_FAILURES):
            if found := {one: score for one, score in scores.items() if score < WORST and failures[one] in ways}:
                return found
        return {}

    def ranked(self, states: Mapping[TrialFolder, str]) -> dict[TrialFolder, float]:
        """Return trial → final value for the ended trials that are ranked (see `admitted`), best first.

        Args:
            states: Trial → records.outcome.State.
        """
        ended = {folder: self._end(folder) for folder, now in states.items() if now in ENDED}
        scores = self.admitted(
            {folder: score for folder, (score, _) in ended.items()},
            {folder: failure for folder, (_, failure) in ended.items()},
        )
        return {folder: self.value(scores[folder]) for folder in self.order(scores)}

    def on_log_scale(self, values: Iterable[float]) -> bool:
        """Whether values of the objective are averaged and drawn on a log scale.

        This holds for metrics that vary by factors between seeds, unless a value is 0 or less.
        """
        logarithmic = self.metric in METRICS and METRICS[self.metric].logarithmic
        return logarithmic and not any(value <= 0 for value in values)

    def mean(self, values: Sequence[float]) -> float:
        """Return the mean of a configuration's values over its seeds: geometric on a log scale, else arithmetic."""
        return statistics.geometric_mean(values) if self.on_log_scale(values) else statistics.fmean(values)

    def final(self, folder: TrialFolder) -> float:
        """Return the final score of a trial that has ended.

        Returns:
            WORST if the trial has no value of the objective, or failed in a way that is not in RANKED_FAILURES.
        """
        return self._end(folder)[0]

    def _end(self, folder: TrialFolder) -> tuple[float, str | None]:
        """Return the final score of a trial, and how it failed; None if it did not fail."""
        ended = outcome.read(folder)
        if ended is None or ended.failure not in (None, *RANKED_FAILURES):
            return WORST, ended.failure if ended else None
        values = journal.column(folder.journal, self.metric)
        return self.score(values[-1][1]) if values else WORST, ended.failure

    def is_recorded(self, folder: TrialFolder) -> bool:
        """Whether any record of the trial has the metric."""
        return bool(journal.column(folder.journal, self.metric))


def ranking_in(plan: Mapping[str, Any]) -> Ranking:
    """Return the ranking by the objective in the content of a sweep's plan.json.

    Plans of older versions have no objective. Their trials are ranked by FD ratio.
    """
    objective = plan.get("objective", {"metric": FD_RATIO, "mode": "min"})
    return Ranking(current(objective["metric"]), objective["mode"])


def ranking_of(sweep: SweepFolder) -> Ranking:
    """Return the ranking of a sweep's trials, by the objective with which the sweep was last run."""
    return ranking_in(read_json(sweep.plan))


def best_step(points: Sequence[Point], steps: Sequence[int]) -> int:
    """Return the step of the best checkpoint of a trial; of equally good checkpoints, that of the last.

    The score of a checkpoint is that of the last evaluation at or before its step.

    Args:
        points: (step, score) of the trial, in the order of steps.
        steps: Steps of the checkpoints, ascending, at least one.
    """
    return min(reversed(steps), key=lambda step: score_at(points, step))


def score_at(points: Sequence[Point], step: int) -> float:
    """Return the score of the last point at or before a step; WORST if there is none."""
    return next((score for at, score in reversed(points) if at <= step), WORST)
