"""A row a trial: what it was, how it ended, how good it is."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from gansweep.health.metrics import CFD_RATIO, STEPS_PER_S, typical_speed
from gansweep.health.verdict import CONCLUSIONS, Verdict
from gansweep.tracking.reader import TrackedRun, TrackedSweep

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
    "failed": "bool",
    "since_step": "Int64",
    "reason": "str",
    "rule": "str",
    "step": "Int64",
    "steps": "int64",
    "quality": "float64",
    "rank": "Int64",
    "started": TIME,
    "wall_s": "float64",
    "steps_per_s": "float64",
    "evaluator_accuracy": "float64",
    "parameters.generator": "Int64",
    "parameters.discriminator": "Int64",
    "data_fingerprint": "str",
    "real_shares": "object",
}
Judged = Mapping[str, Sequence[Verdict]]  # by run id


def objective(sweep: TrackedSweep) -> tuple[str, str]:
    """The metric and which of its values is best, `min` or `max`. What older versions recorded says nothing of it."""
    recorded = sweep.plan.get("objective", {})
    return recorded.get("metric", CFD_RATIO), recorded.get("mode", "min")


def differing(sweeps: Iterable[TrackedSweep]) -> tuple[str, ...]:
    """Keys of the settings in which the trials of a sweep differ: what the sweep files vary, in their order, first."""
    return tuple(dict.fromkeys(key for sweep in sweeps for key in sweep.settings))


def table(sweeps: Sequence[TrackedSweep], judged: Judged) -> pd.DataFrame:
    """COLUMNS, then the settings in which trials differ, then the others by name."""
    runs = [run for sweep in sweeps for run in sweep.runs]
    found = frame((row for sweep in sweeps for row in _rows(sweep, judged)), COLUMNS)
    settings = [run.settings for run in runs]
    others = sorted({key for one in settings for key in one})
    keys = [key for key in dict.fromkeys((*differing(sweeps), *others)) if key not in COLUMNS]
    columns = {key: _typed([one.get(key) for one in settings]) for key in keys}
    return pd.concat([found, pd.DataFrame(columns)], axis=1)


def frame(rows: Iterable[Mapping[str, Any]], columns: Mapping[str, str]) -> pd.DataFrame:
    """With these columns and types, even where there are no rows. A time is given in ms since the epoch."""
    listed = [*rows]
    values = {name: [row[name] for row in listed] for name in columns}
    return pd.DataFrame({name: series(values[name], kind) for name, kind in columns.items()})


def series(values: Any, kind: str) -> pd.Series:
    """Of a type."""
    if kind == TIME:
        return pd.Series(pd.to_datetime(np.asarray(values, np.int64), unit="ms", utc=True)).astype(TIME)
    return pd.Series(values, dtype=kind)


def _rows(sweep: TrackedSweep, judged: Judged) -> list[dict[str, Any]]:
    metric, mode = objective(sweep)
    numbers: dict[Any, int] = {}  # settings → configuration
    rows = []
    for run in sweep.runs:
        settings = frozenset((key, value) for key, value in run.params.items() if key != "seed")
        same = settings | {("data", run.summary.data_fingerprint), ("steps", run.steps)}
        configuration = numbers.setdefault(same, len(numbers))
        rows.append({"sweep": sweep.name, "configuration": configuration, **_row(run, judged[run.run_id], metric)})
    sound = {i: row["quality"] for i, row in enumerate(rows) if not row["failed"] and math.isfinite(row["quality"])}
    ranks = pd.Series(sound, dtype="float64").rank(method="min", ascending=mode == "min")
    return [{**row, "rank": int(ranks[i]) if i in ranks else pd.NA} for i, row in enumerate(rows)]


def _row(run: TrackedRun, verdicts: Sequence[Verdict], metric: str) -> dict[str, Any]:
    told, first = run.summary, verdicts[0]
    crashed = told.outcome == "crashed"
    found = run.metrics.values()
    times = [time for points in found for time in (points.times_ms.min(), points.times_ms.max())]
    speed = run.metrics.get(STEPS_PER_S)
    quality = run.metrics.get(metric)
    return {
        "trial": run.id,
        "run_id": run.run_id,
        "seed": told.seed,
        "planned": run.planned,
        "outcome": told.outcome,
        "verdict": first.kind,
        "failed": crashed or first.is_failure,  # failures come first
        "since_step": since(first),
        "reason": told.reason if crashed else first.reason,
        "rule": told.rule,
        "step": max((int(points.steps[-1]) for points in found), default=pd.NA),
        "steps": run.steps,
        "quality": float(quality.values[-1]) if quality else math.nan,
        "started": run.began_ms,
        "wall_s": (max(times) - min(times)) / 1000 if times else math.nan,
        "steps_per_s": math.nan if speed is None else typical_speed(speed.values.tolist()),
        "evaluator_accuracy": told.evaluator_accuracy,
        "parameters.generator": _whole(run.params.get("parameters.generator")),
        "parameters.discriminator": _whole(run.params.get("parameters.discriminator")),
        "data_fingerprint": told.data_fingerprint,
        "real_shares": dict(told.real_shares),
    }


def since(verdict: Verdict) -> Any:
    """Its first step; pd.NA for a conclusion, which has none."""
    return pd.NA if verdict.kind in CONCLUSIONS else verdict.since_step


def _whole(text: str | None) -> Any:
    return pd.NA if text is None else int(text)


def _typed(values: Sequence[Any]) -> pd.Series:
    """Of the narrowest type that takes all; text where kinds are mixed. None is a missing value."""
    kinds = {type(value) for value in values if value is not None}
    missing = None in values
    if kinds == {bool}:
        return pd.Series(values, dtype="boolean" if missing else "bool")
    if kinds == {int}:
        return pd.Series(values, dtype="Int64" if missing else "int64")
    if kinds <= {int, float}:
        return pd.Series(values, dtype="float64")
    return pd.Series([None if value is None else str(value) for value in values], dtype="str")
