"""What a search looks for: a metric of a run, as a score of which less is better."""

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
    """metric: of a run's records. mode: `min` or `max`, which of its values is best.

    A score is less for a better value, and WORST for one that is not finite.
    """

    metric: str
    mode: Literal["min", "max"]

    def score(self, value: float) -> float:
        if not math.isfinite(value):
            return WORST
        return value if self.mode == "min" else -value

    def value(self, score: float) -> float:
        """The reverse, for a finite score."""
        return score if self.mode == "min" else -score

    def points(self, records: Iterable[Record]) -> list[Point]:
        """The score at every record that holds the metric."""
        return [(r.step, self.score(r.values[self.metric])) for r in records if self.metric in r.values]

    def best(self, records: Iterable[Record]) -> Point | None:
        """The first step with the best score of all, and that score; None where no value is finite."""
        finite = [(step, score) for step, score in self.points(records) if score < WORST]
        return min(finite, key=lambda point: point[1], default=None)

    def final(self, folder: TrialFolder) -> float:
        """Of a trial that has ended: at its last evaluation. WORST without one, after a crash or a failure verdict."""
        ended = outcome.read(folder)
        if ended is None or ended.kind == "crashed" or any(v.is_failure for v in ended.verdicts):
            return WORST
        points = self.points(journal.read(folder.journal))
        return points[-1][1] if points else WORST

    def is_recorded(self, folder: TrialFolder) -> bool:
        """Whether any record of the trial holds the metric."""
        return any(self.metric in record.values for record, _ in journal.read_from(folder.journal, 0))


def ranking_of(sweep: SweepFolder) -> Ranking:
    """By the sweep's objective, as it was last run."""
    objective = read_json(sweep.plan).get("objective", {"metric": CFD_RATIO, "mode": "min"})
    return Ranking(objective["metric"], objective["mode"])


def score_at(points: Sequence[Point], step: int) -> float:
    """At the last point not after a step; WORST where there is none."""
    return next((score for at, score in reversed(points) if at <= step), WORST)
