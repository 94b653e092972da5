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
        run_id: id of its run in the tracking store; "" if the trial was not sent there.
        settings: dotted key → value of every setting but the seed: a number, a truth value or text. The device is one
            of them.
        parameters: network → its number of parameters.
        metrics: name → values over steps, for the metrics that were read.
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
        """Number of steps to train. If it is unknown, the last recorded step, or 0 without records."""
        return self.summary.steps or self.step or 0

    @property
    def step(self) -> int | None:
        """Last recorded step; None without records."""
        return max((int(points.steps[-1]) for points in self.metrics.values()), default=None)

    @property
    def wall_s(self) -> float:
        """Seconds from the first record to the last; NaN without any."""
        times = [time for points in self.metrics.values() for time in (points.times_ms.min(), points.times_ms.max())]
        return (max(times) - min(times)) / 1000 if times else math.nan

    @property
    def steps_per_s(self) -> float | None:
        """Median of the recorded steps per second; None without records."""
        recorded = self.metrics.get(STEPS_PER_S)
        return None if recorded is None else typical_speed(recorded.values.tolist())

    @property
    def configuration(self) -> str:
        """Key that is equal for replicates: see `sweepfile.settings.configuration`."""
        return settings.configuration(self.settings)

    @cached_property
    def history(self) -> History:
        """Recorded METRICS of the trial, as the detectors of verdicts read them."""
        recorded = {name: self.metrics[name] for name in METRICS if name in self.metrics}
        series = {name: MetricValues(points.steps, points.values) for name, points in recorded.items()}
        compared = is_compared(self.summary.features, self.summary.resolution)
        return History(series, self.steps, *traits(self.settings), compared)


class Files(Protocol):
    """Reads the files of one sweep's trials. All methods raise UserError if the files cannot be reached."""

    def samples(self, trials: Sequence[RecordedTrial]) -> list[tuple[RecordedTrial, int, str]]:
        """Return (trial, step, name of the file for `content`) of every sample grid, sorted by trial and step."""

    def content(self, trial: RecordedTrial, name: str) -> bytes | None:
        """Return the bytes of a file of a trial; None if it does not exist."""


@dataclass(frozen=True, eq=False)
class RecordedSweep:
    """The records of a sweep.

    Args:
        files: reader of the files of its trials.
        file: the sweep file (YAML) as it was last run.
        plan: content of plan.json.
        trials: trials that have started, in order of their start.
        tracking_uri: tracking store that the sweep was read from; "" if it was read from its folder.
        earlier: number of recorded trials of earlier plans, whether or not `trials` includes them.

    A field is empty if its content is not recorded.
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
        """Dotted keys of the settings that distinguish its trials: those that the search varies, then all others."""
        varied = (key for trial in self.trials for key in trial.varied)
        return settings.telling([trial.settings for trial in self.trials], varied)

    @cached_property
    def judge(self) -> Judge:
        """Judge that makes the verdicts on the trials, with the thresholds of the sweep's plan (without one: defaults).

        Raises:
            UserError: The plan has thresholds that this version does not know.
        """
        return judge_of(self.plan.get("thresholds", {}))

    def quality(self, trial: RecordedTrial) -> Quality:
        """Return the last and the best value of the objective in the records of a trial that were read."""
        points = trial.metrics.get(self.ranking.metric)
        pairs = [] if points is None else zip(points.steps.tolist(), points.values.tolist(), strict=True)
        return self.ranking.quality(pairs)

    def differing(self, trial: RecordedTrial) -> dict[str, Any]:
        """Return key → value of a trial for the keys in `settings`; None where the trial does not have the setting."""
        own = {**trial.settings, **trial.varied}
        return {key: own.get(key) for key in self.settings}

    def in_plan_order(self) -> list[RecordedTrial]:
        """Return the trials in the order of the plan, those of earlier plans last."""
        places = {trial: place for place, trial in enumerate(self.plan.get("trials", []))}
        return sorted(self.trials, key=lambda trial: places.get(trial.id, len(places)))


class SweepReader(Protocol):
    """Reads one sweep, repeatedly while it runs."""

    def read(self, *, all_plans: bool = False, verdicts_only: bool = False) -> RecordedSweep:
        """Read the sweep in its current state.

        Args:
            all_plans: include the trials of earlier plans.
            verdicts_only: read only METRICS and the objective. The plan and the sweep file are left empty if they
                cannot be reached.

        Raises:
            UserError: the sweep or its records are missing or cannot be read.
        """
