"""Intervals between the records of a trial."""

from __future__ import annotations

from dataclasses import dataclass, fields

from gansweep.config import RunConfig, from_plain
from gansweep.records.layout import TrialFolder, read_json, write_json
from gansweep.sweepfile.schema import Cadence

LEAST_INTERVAL = 10  # steps between two records of metrics, if the file does not set it
MOST_RECORDS = 1_000  # records of metrics in a run, likewise
# Intervals in steps that version 0.1.0 used where the file did not set them.
FIRST = {"metrics": 10, "samples": 100, "checkpoints": 100}


@dataclass(frozen=True)
class TrialCadence:
    """Intervals between the records of a trial. The fields have the same meaning as in `RunConfig`."""

    metrics: int
    samples: int
    checkpoints: int
    checkpoint_s: float


def cadence_of(folder: TrialFolder, asked: Cadence, steps: int) -> TrialCadence:
    """Return the intervals of a trial: those that it began with, or else those of the sweep file.

    Args:
        folder: Folder of the trial.
        asked: Section `cadence` of the sweep file.
        steps: Number of steps of the trial.
    """
    if recorded := read_json(folder.cadence):
        return from_plain(TrialCadence, recorded)
    if folder.has_records:  # version 0.1.0 began it
        asked = Cadence.model_validate({**FIRST, **asked.model_dump(exclude_unset=True)})
    return new_cadence(asked, steps)


def new_cadence(asked: Cadence, steps: int) -> TrialCadence:
    """Return the intervals of a new trial of `steps` steps."""
    samples, checkpoints = asked.samples, asked.checkpoints
    return TrialCadence(
        metrics=asked.metrics or max(LEAST_INTERVAL, -(-steps // MOST_RECORDS)),
        samples=samples.steps or max(1, round(steps / samples.per_run)),
        checkpoints=checkpoints.steps or 0,
        checkpoint_s=0.0 if checkpoints.steps else checkpoints.seconds,
    )


def record(folder: TrialFolder, run: RunConfig) -> None:
    """Record the intervals that a trial begins with, unless it has begun before."""
    if not folder.cadence.exists():
        write_json(folder.cadence, {one.name: getattr(run, one.name) for one in fields(TrialCadence)}, durable=True)
