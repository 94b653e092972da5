"""Ranking of trials by the objective: scores computed from a metric, of which lower is better."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from gansweep.health.metrics import CFD_RATIO
from gansweep.records import journal, outcome
from gansweep.records.journal import Record
from gansweep.records.layout import SweepFolder, TrialFolder, read_json

WORST = math.inf
Point = tuple[int, float]  # step, score


@dataclass(frozen=True)
class Ranking:
    """Conversion of a metric's values to scores.

    A better value has a lower score; a value that is not finite scores WORST.

    Attributes:
        metric: Name of a recorded metric.
        mode: `min` or `max`: which of its values is best.
    """

    metric: str
    mode: Literal["min", "max"]

    def score(self, value: float) -> float:
        if not math.isfinite(value):
            return WORST
        return value if self.mode == "min" else -value

    def value(self, score: float) -> float:
        """Return the value of a finite score."""
        return score if self.mode == "min" else -score

    def points(self, records: Iterable[Record]) -> list[Point]:
        """Return step and score of every record that holds the metric."""
        return [(r.step, self.score(r.values[self.metric])) for r in records if self.metric in r.values]

    def best(self, records: Iterable[Record]) -> Point | None:
        """Return the best score and the first step that reached it; None if no value is finite."""
        finite = [(step, score) for step, score in self.points(records) if score < WORST]
        return min(finite, key=lambda point: point[1], default=None)

    def final(self, folder: TrialFolder) -> float:
        """Return the score of an ended trial at its last evaluation.

        WORST without an evaluation, after a crash, and with a failure verdict.
        """
        ended = outcome.read(folder)
        if ended is None or ended.kind == "crashed" or any(v.is_failure for v in ended.verdicts):
            return WORST
        points = self.points(journal.read(folder.journal))
        return points[-1][1] if points else WORST

    def is_recorded(self, folder: TrialFolder) -> bool:
        """Whether any record of the trial holds the metric."""
        return any(self.metric in record.values for record, _ in journal.read_from(folder.journal, 0))


def ranking_of(sweep: SweepFolder) -> Ranking:
    """Return the ranking by the objective of the sweep's last run."""
    objective = read_json(sweep.plan).get("objective", {"metric": CFD_RATIO, "mode": "min"})
    return Ranking(objective["metric"], objective["mode"])


def score_at(points: Sequence[Point], step: int) -> float:
    """Return the score of the last point at or before a step; WORST if there is none."""
    return next((score for at, score in reversed(points) if at <= step), WORST)
