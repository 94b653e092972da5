"""Sweeps as tidy tables, from the tracking store alone: what notebooks, CSV files and reports are made of.

Columns: docs/tables.md.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from gansweep.health.judge import Judge
from gansweep.health.metrics import EVALUATION, FAMILIES, is_evaluation
from gansweep.records.layout import Home
from gansweep.report import trials
from gansweep.report.trials import TIME, Judged, frame, series, since
from gansweep.tracking import reader
from gansweep.tracking.reader import TrackedRun, TrackedSweep

SWEEPS = {
    "sweep": "str",
    "objective": "str",
    "mode": "str",
    "file": "str",
    "path": "str",
    "command": "str",
    "commit": "str",
    "machine": "str",
    "experiment_id": "str",
    "parent_run_id": "str",
    "tracking_uri": "str",
    "overrides": "object",
    "planned": "int64",
    "to_come": "int64",
    "earlier": "int64",
}
HISTORIES = {"sweep": "str", "trial": "str", "metric": "str", "step": "int64", "time": TIME, "value": "float64"}
EVALUATIONS = {"sweep": "str", "trial": "str", "step": "int64", "time": TIME}
VERDICTS = {
    "sweep": "str",
    "trial": "str",
    "place": "int64",
    "kind": "str",
    "failure": "bool",
    "since_step": "Int64",
    "reason": "str",
    "evidence": "object",
}
SAMPLES = {"sweep": "str", "trial": "str", "step": "int64", "artifact": "str"}
VERSION = "gansweep.version."  # + a package: tags of parent runs


def _no_samples() -> pd.DataFrame:
    return frame([], SAMPLES)


@dataclass(frozen=True, eq=False)
class Tables:
    """One or more sweeps as tidy tables, as the tracking store has them now. All columns: docs/tables.md.

    settings: columns of `trials` in which the trials of a sweep differ, what the sweep files vary first. list_samples:
    makes the table `samples`. judges: what made the verdicts on each sweep's trials.
    """

    sweeps: pd.DataFrame  # a row a sweep
    trials: pd.DataFrame  # a row a trial
    histories: pd.DataFrame  # a row a (trial, metric, step): training metrics
    evaluations: pd.DataFrame  # a row a (trial, step): evaluation metrics, a column each
    verdicts: pd.DataFrame  # a row a (trial, verdict), by precedence
    settings: tuple[str, ...]
    list_samples: Callable[[], pd.DataFrame] = _no_samples
    judges: Mapping[str, Judge] = field(default_factory=dict)

    @cached_property
    def samples(self) -> pd.DataFrame:
        """A row a sample grid; asked of the store when first used. Raises UserError where it cannot be read."""
        return self.list_samples()


def read_sweep(
    *sweeps: str, home: str | Path | None = None, tracking_uri: str | None = None, all_plans: bool = False
) -> Tables:
    """Sweeps by name: finished, running or interrupted. A name given twice counts once.

    home: GANSWEEP_HOME, else ./gansweep-home. tracking_uri: where each sweep was sent to, else the home's own store.
    all_plans: with the trials of earlier plans, which the sweep file as it was last run no longer names.
    Raises UserError for a store that is not there or cannot be read, and for a sweep that it does not have.
    """
    place = Home(Path(home or os.environ.get("GANSWEEP_HOME", "gansweep-home")).absolute())
    sources = {name: reader.where(place, name, tracking_uri) for name in sweeps}
    found = [reader.sweep(place, uri, name, all_plans=all_plans) for name, uri in sources.items()]
    judged = {run.run_id: sweep.judge.conclude(run.history()) for sweep in found for run in sweep.runs}
    return Tables(
        _sweeps(found, sources),
        trials.table(found, judged),
        _histories(found),
        _evaluations(found),
        _verdicts(found, judged),
        trials.differing(found),
        lambda: frame((row for sweep in found for row in _samples(place, sources[sweep.name], sweep)), SAMPLES),
        {sweep.name: sweep.judge for sweep in found},
    )


def _sweeps(sweeps: Sequence[TrackedSweep], sources: Mapping[str, str]) -> pd.DataFrame:
    packages = {tag: "str" for sweep in sweeps for tag in sorted(sweep.parent) if tag.startswith(VERSION)}
    columns = {**SWEEPS, **{f"version.{tag.removeprefix(VERSION)}": kind for tag, kind in packages.items()}}
    rows = []
    for sweep in sweeps:
        metric, mode = trials.objective(sweep)
        rows.append(
            {
                "sweep": sweep.name,
                "objective": metric,
                "mode": mode,
                "file": sweep.file,
                "path": sweep.plan.get("file") or f"{sweep.name}.yaml",
                "command": sweep.plan.get("command", ""),
                "commit": sweep.parent.get("mlflow.source.git.commit", ""),
                "machine": sweep.parent.get("gansweep.machine", ""),
                "experiment_id": sweep.experiment_id,
                "parent_run_id": sweep.parent_run_id,
                "tracking_uri": sources[sweep.name],
                "overrides": sweep.plan.get("overrides", []),
                "planned": len(sweep.plan.get("trials", sweep.runs)),
                "to_come": sweep.plan.get("to_come", 0),
                "earlier": sweep.earlier,
                **{f"version.{tag.removeprefix(VERSION)}": sweep.parent.get(tag, "") for tag in packages},
            }
        )
    return frame(rows, columns)


def _histories(sweeps: Sequence[TrackedSweep]) -> pd.DataFrame:
    """By trial, metric and step."""
    found = [
        (sweep.name, run.id, name, points)
        for sweep in sweeps
        for run in sweep.runs
        for name, points in run.metrics.items()
        if not is_evaluation(name)
    ]
    counts = [len(points.steps) for *_, points in found]
    labels = [series([one[i] for one in found], "str").repeat(counts).array for i in range(3)]
    numbers = [_joined([getattr(one[3], part) for one in found]) for part in ("steps", "times_ms", "values")]
    columns = zip(HISTORIES.items(), (*labels, *numbers), strict=True)
    return pd.DataFrame({name: series(values, kind) for (name, kind), values in columns})


def _evaluations(sweeps: Sequence[TrackedSweep]) -> pd.DataFrame:
    """By trial and step."""
    runs = [(sweep.name, run, _aligned(run)) for sweep in sweeps for run in sweep.runs]
    counts = [len(columns["step"]) for *_, columns in runs]
    names = _evaluation_names([run for _, run, _ in runs])
    found = {
        "sweep": series([name for name, *_ in runs], "str").repeat(counts).array,
        "trial": series([run.id for _, run, _ in runs], "str").repeat(counts).array,
    }
    for name in ("step", "time", *names):
        found[name] = _joined([c.get(name, np.full(n, np.nan)) for (*_, c), n in zip(runs, counts, strict=True)])
    kinds = {**EVALUATIONS, **dict.fromkeys(names, "float64")}
    return pd.DataFrame({name: series(found[name], kind) for name, kind in kinds.items()})


def _aligned(run: TrackedRun) -> dict[str, NDArray[Any]]:
    """Evaluation metrics at the steps of all, NaN where one was not recorded; with `step` and `time` in ms."""
    metrics = {name: points for name, points in run.metrics.items() if is_evaluation(name)}
    steps, first = np.unique(_joined([points.steps for points in metrics.values()]), return_index=True)
    found = {"step": steps, "time": _joined([points.times_ms for points in metrics.values()])[first]}
    for name, points in metrics.items():
        found[name] = np.full(len(steps), np.nan)
        found[name][np.searchsorted(steps, points.steps)] = points.values
    return found


def _evaluation_names(runs: Sequence[TrackedRun]) -> list[str]:
    """Of metrics that any run has; figures of classes last, in the order of the data set's classes."""
    recorded = dict.fromkeys(name for run in runs for name in run.metrics if is_evaluation(name))
    named = dict.fromkeys(name for run in runs for name in run.summary.real_shares)
    classes = [f"{prefix}{name}" for prefix in FAMILIES for name in named]
    return [name for name in dict.fromkeys((*EVALUATION, *classes, *recorded)) if name in recorded]


def _verdicts(sweeps: Sequence[TrackedSweep], judged: Judged) -> pd.DataFrame:
    rows = (
        {
            "sweep": sweep.name,
            "trial": run.id,
            "place": place,
            "kind": verdict.kind,
            "failure": verdict.is_failure,
            "since_step": since(verdict),
            "reason": verdict.reason,
            "evidence": verdict.evidence,
        }
        for sweep in sweeps
        for run in sweep.runs
        for place, verdict in enumerate(judged[run.run_id])
    )
    return frame(rows, VERDICTS)


def _samples(home: Home, uri: str, sweep: TrackedSweep) -> Iterator[dict[str, Any]]:
    for run, step, path in reader.samples(home, uri, sweep.runs):
        yield {"sweep": sweep.name, "trial": run.id, "step": step, "artifact": path}


def _joined(arrays: Sequence[NDArray[Any]]) -> NDArray[Any]:
    return np.concatenate(arrays) if arrays else np.empty(0, np.int64)
