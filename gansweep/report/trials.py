"""The table `trials`: settings, outcome and quality of each trial."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from gansweep.health.verdict import CONCLUSIONS, Verdict
from gansweep.records.outcome import failure_of
from gansweep.records.ranking import Quality, Value
from gansweep.sweepfile.settings import DEVICE
from gansweep.sweeps.sweep import RecordedSweep, RecordedTrial

TIME = "datetime64[ms, UTC]"
COLUMNS = {
    "sweep": "str",
    "trial": "str",
    "run_id": "str",
    "configuration": "int64",
    "seed": "int64",
    "planned": "bool",
    "outcome": "str",
    "verdict": "str",
    "states": "str",
    "failed": "bool",
    "since_step": "Int64",
    "reason": "str",
    "rule": "str",
    "step": "Int64",
    "steps": "int64",
    "quality": "float64",
    "quality_step": "Int64",
    "best_value": "float64",
    "best_step": "Int64",
    "rank": "Int64",
    "started": TIME,
    "wall_s": "float64",
    "steps_per_s": "float64",
    "features": "str",
    "features_resolution": "Int64",
    "evaluator_accuracy": "float64",
    "parameters.generator": "Int64",
    "parameters.discriminator": "Int64",
    "device": "str",
    "data_fingerprint": "str",
    "real_shares": "object",
}
Judged = Mapping[tuple[str, str], Sequence[Verdict]]  # by sweep and trial
UNMEASURED = Value(pd.NA, math.nan)


def differing(sweeps: Iterable[RecordedSweep]) -> tuple[str, ...]:
    """Return the keys of the settings in which the trials of any sweep differ; of each sweep, the varied ones first."""
    return tuple(dict.fromkeys(key for sweep in sweeps for key in sweep.settings))


def table(sweeps: Sequence[RecordedSweep], judged: Judged) -> pd.DataFrame:
    """Return the table of trials, one row per trial.

    Its columns are COLUMNS, then the settings in which trials differ, then all other settings, sorted by name.
    """
    trials = [trial for sweep in sweeps for trial in sweep.trials]
    found = frame((row for sweep in sweeps for row in _rows(sweep, judged)), COLUMNS)
    settings = [trial.settings for trial in trials]
    others = sorted({key for one in settings for key in one})
    keys = [key for key in dict.fromkeys((*differing(sweeps), *others)) if key not in COLUMNS]
    columns = {key: _typed([one.get(key) for one in settings]) for key in keys}
    return pd.concat([found, pd.DataFrame(columns)], axis=1)


def frame(rows: Iterable[Mapping[str, Any]], columns: Mapping[str, str]) -> pd.DataFrame:
    """Return a table of rows, which has all columns even without rows.

    Args:
        rows: Column → value. Times are in milliseconds since the epoch.
        columns: Column → pandas type, or TIME.
    """
    listed = [*rows]
    values = {name: [row[name] for row in listed] for name in columns}
    return pd.DataFrame({name: series(values[name], kind) for name, kind in columns.items()})


def series(values: Any, kind: str) -> pd.Series:
    """Return values as a series of the pandas type `kind`. For TIME, values are milliseconds since the epoch."""
    if kind == TIME:
        return pd.Series(pd.to_datetime(np.asarray(values, np.int64), unit="ms", utc=True)).astype(TIME)
    return pd.Series(values, dtype=kind)


def _rows(sweep: RecordedSweep, judged: Judged) -> list[dict[str, Any]]:
    ranking = sweep.ranking
    numbers: dict[str, int] = {}  # configuration → its number
    rows = [
        {
            "sweep": sweep.name,
            "configuration": numbers.setdefault(trial.configuration, len(numbers)),
            **_row(trial, judged[sweep.name, trial.id], sweep.quality(trial)),
        }
        for trial in sweep.trials
    ]
    scores = {i: ranking.score(row["quality"]) for i, row in enumerate(rows)}
    failures = {i: failure_of(row["outcome"], row["verdict"]) for i, row in enumerate(rows)}
    places = ranking.places(ranking.admitted(scores, failures))
    return [{**row, "rank": places.get(i, pd.NA)} for i, row in enumerate(rows)]


def _row(trial: RecordedTrial, verdicts: Sequence[Verdict], quality: Quality) -> dict[str, Any]:
    told, first = trial.summary, verdicts[0]
    crashed = told.outcome == "crashed"
    final, best = quality.final or UNMEASURED, quality.best or UNMEASURED
    speed, step = trial.steps_per_s, trial.step
    return {
        "trial": trial.id,
        "run_id": trial.run_id,
        "seed": told.seed,
        "planned": trial.planned,
        "outcome": told.outcome,
        "verdict": first.kind,
        "states": ",".join(one.kind for one in verdicts if one.is_state),
        "failed": failure_of(told.outcome, first.kind) is not None,
        "since_step": since(first),
        "reason": told.reason if crashed else first.reason,
        "rule": told.rule,
        "step": pd.NA if step is None else step,
        "steps": trial.steps,
        "quality": final.value,
        "quality_step": final.step,
        "best_value": best.value,
        "best_step": best.step,
        "started": trial.began_ms,
        "wall_s": trial.wall_s,
        "steps_per_s": math.nan if speed is None else speed,
        "features": told.features,
        "features_resolution": told.resolution or pd.NA,
        "evaluator_accuracy": told.evaluator_accuracy,
        "parameters.generator": trial.parameters.get("generator", pd.NA),
        "parameters.discriminator": trial.parameters.get("discriminator", pd.NA),
        "device": trial.settings.get(DEVICE, ""),
        "data_fingerprint": told.data_fingerprint,
        "real_shares": dict(told.real_shares),
    }


def since(verdict: Verdict) -> Any:
    """Return the onset of a verdict; pd.NA for `healthy` and `undecided`, which have none."""
    return pd.NA if verdict.kind in CONCLUSIONS else verdict.since_step


def _typed(values: Sequence[Any]) -> pd.Series:
    """Return values as a boolean, integer or float series, or as text if types are mixed. None is a missing value."""
    kinds = {type(value) for value in values if value is not None}
    missing = None in values
    if kinds == {bool}:
        return pd.Series(values, dtype="boolean" if missing else "bool")
    if kinds == {int}:
        return pd.Series(values, dtype="Int64" if missing else "int64")
    if kinds <= {int, float}:
        return pd.Series(values, dtype="float64")
    return pd.Series([None if value is None else str(value) for value in values], dtype="str")
