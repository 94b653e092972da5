"""A recorded sweep and its trials: the source of tables, reports, exports and verdicts.

It is read either from the sweep's folder (sweeps.folder) or from the tracking store (tracking.reader); both give the
same sweep.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Protocol

from gansweep.features import is_compared
from gansweep.health.history import History, MetricValues, traits
from gansweep.health.judge import Judge, judge_of
from gansweep.health.metrics import CRITIC_TRAINING, EVALUATION, NONFINITE_STEP, STEPS_PER_S, TRAINING, typical_speed
from gansweep.records.ranking import Quality, Ranking, ranking_in
from gansweep.sweepfile import settings
from gansweep.sweeps.points import Points
from gansweep.sweeps.provenance import Provenance
from gansweep.sweeps.summary import Summary

METRICS = tuple(dict.fromkeys((*TRAINING, *CRITIC_TRAINING, NONFINITE_STEP, *EVALUATION)))  # used by verdicts


@dataclass(frozen=True, eq=False)
class RecordedTrial:
    """The records of a trial that has started.

    Args:
        run_id: id of its run in the tracking store; "" if it was not sent.
        settings: dotted key → value of every setting but the seed: a number, a truth value or text. The device is one
            of them.
        parameters: network → its number of parameters.
        metrics: name → values.
        began_ms: start time in milliseconds since the epoch.
        place: location of its files, as named by its sweep's `Files`.
        planned: whether the sweep's current plan has the trial.
    """

    run_id: str
    summary: Summary
    settings: Mapping[str, Any]
    parameters: Mapping[str, int]
    metrics: Mapping[str, Points]
    began_ms: int
    place: str
    planned: bool = True

    @property
    def id(self) -> str:
        return self.summary.id

    @property
    def seed(self) -> int:
        return self.summary.seed

    @property
    def outcome(self) -> str:
        return self.summary.outcome

    @property
    def rule(self) -> str:
        """Rule that ended the trial, as in records.outcome.Outcome."""
        return self.summary.rule

    @property
    def varied(self) -> Mapping[str, Any]:
        """Dotted key → value of the settings varied by the search."""
        return self.summary.varied

    @property
    def steps(self) -> int:
        """Number of steps to train; the last recorded step if that is unknown."""
        return self.summary.steps or self.step or 0

    @property
    def step(self) -> int | None:
        """The last step recorded."""
        return max((int(points.steps[-1]) for points in self.metrics.values()), default=None)

    @property
    def wall_s(self) -> float:
        """Seconds from the first record to the last; NaN without any."""
        times = [time for points in self.metrics.values() for time in (points.times_ms.min(), points.times_ms.max())]
        return (max(times) - min(times)) / 1000 if times else math.nan

    @property
    def steps_per_s(self) -> float | None:
        """Speed of the whole run: see `health.metrics.typical_speed`."""
        recorded = self.metrics.get(STEPS_PER_S)
        return None if recorded is None else typical_speed(recorded.values.tolist())

    @property
    def configuration(self) -> str:
        """A key that replicates share: see `plan.settings.configuration`."""
        return settings.configuration(self.settings)

    @cached_property
    def history(self) -> History:
        """The METRICS, from which it is judged."""
        recorded = {name: self.metrics[name] for name in METRICS if name in self.metrics}
        series = {name: MetricValues(points.steps, points.values) for name, points in recorded.items()}
        compared = is_compared(self.summary.features, self.summary.resolution)
        return History(series, self.steps, *traits(self.settings), compared)


class Files(Protocol):
    """Files of the trials of one sweep. All methods raise UserError if the files cannot be reached."""

    def samples(self, trials: Sequence[RecordedTrial]) -> list[tuple[RecordedTrial, int, str]]:
        """Return (trial, step, name for `content`) of every sample grid, by trial and step."""

    def content(self, trial: RecordedTrial, name: str) -> bytes | None:
        """Return the bytes of a file of a trial; None if it does not exist."""


@dataclass(frozen=True, eq=False)
class RecordedSweep:
    """The records of a sweep.

    Args:
        files: files of its trials.
        file: the sweep file (YAML) as it was last run.
        plan: content of plan.json.
        trials: trials that have started, in order of their start.
        tracking_uri: tracking store that it was read from; "" for a folder.
        earlier: number of recorded trials of earlier plans, whether or not they are among the trials.

    Fields are empty if they are missing.
    """

    name: str
    files: Files
    file: str
    plan: Mapping[str, Any]
    provenance: Provenance
    trials: Sequence[RecordedTrial]
    tracking_uri: str = ""
    experiment_id: str = ""
    parent_run_id: str = ""
    earlier: int = 0

    @property
    def ranking(self) -> Ranking:
        """The objective by which its trials are ranked."""
        return ranking_in(self.plan)

    @cached_property
    def settings(self) -> tuple[str, ...]:
        """Keys of the settings in which its trials differ, those that the search varies first."""
        varied = (key for trial in self.trials for key in trial.varied)
        return settings.telling([trial.settings for trial in self.trials], varied)

    @cached_property
    def judge(self) -> Judge:
        """The judge of its trials, with the thresholds of its current plan; the defaults without a plan.

        Raises:
            UserError: The plan has thresholds that this version does not know.
        """
        return judge_of(self.plan.get("thresholds", {}))

    def quality(self, trial: RecordedTrial) -> Quality:
        """Return the quality of a trial by the objective, from its records as far as they were read."""
        points = trial.metrics.get(self.ranking.metric)
        pairs = [] if points is None else zip(points.steps.tolist(), points.values.tolist(), strict=True)
        return self.ranking.quality(pairs)

    def differing(self, trial: RecordedTrial) -> dict[str, Any]:
        """Return the varied `settings` of a trial; None for settings that it does not have."""
        own = {**trial.settings, **trial.varied}
        return {key: own.get(key) for key in self.settings}

    def in_plan_order(self) -> list[RecordedTrial]:
        """Return the trials in the order of the plan, those of earlier plans last."""
        places = {trial: place for place, trial in enumerate(self.plan.get("trials", []))}
        return sorted(self.trials, key=lambda trial: places.get(trial.id, len(places)))


class SweepReader(Protocol):
    """Reads one sweep, repeatedly while it runs."""

    def read(self, *, all_plans: bool = False, verdicts_only: bool = False) -> RecordedSweep:
        """Return the sweep as it is now.

        Args:
            all_plans: include the trials of earlier plans.
            verdicts_only: read only METRICS and the objective, and continue without the plan and the sweep file if they
                cannot be reached.

        Raises:
            UserError: the sweep or its records are missing or cannot be read.
        """
