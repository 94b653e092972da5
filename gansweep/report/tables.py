"""Sweeps as tidy tables, from their folders or the tracking store, for notebooks, CSV files and reports.

docs/tables.md describes all columns.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from gansweep.health.judge import Judge
from gansweep.health.metrics import EVALUATION, FAMILIES, is_evaluation
from gansweep.records.layout import home_at
from gansweep.report import trials
from gansweep.report.trials import TIME, Judged, frame, series, since
from gansweep.sweeps.sweep import RecordedSweep, RecordedTrial
from gansweep.tracking.reader import Source, reader_of
from gansweep.words import counted

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
Key = tuple[str, str]  # sweep, trial


def _no_samples() -> pd.DataFrame:
    return frame([], SAMPLES)


def _no_content(_: Key, __: str) -> bytes | None:
    return None


@dataclass(frozen=True, eq=False)
class Tables:
    """One or more sweeps as tidy tables. docs/tables.md describes all columns.

    Args:
        settings: columns of `trials` in which the trials of a sweep differ. Those that the sweep files vary come first.
        list_samples: function that makes the table `samples`.
        content: function that takes (sweep, trial) and the name of an artifact of the trial. It returns the artifact's
            bytes, or None if the artifact does not exist.
        judges: sweep → judge that made the verdicts on its trials.
    """

    sweeps: pd.DataFrame  # a row a sweep
    trials: pd.DataFrame  # a row a trial
    histories: pd.DataFrame  # a row a (trial, metric, step): training metrics
    evaluations: pd.DataFrame  # a row a (trial, step): evaluation metrics, a column each
    verdicts: pd.DataFrame  # a row a (trial, verdict), by precedence
    settings: tuple[str, ...]
    list_samples: Callable[[], pd.DataFrame] = _no_samples
    content: Callable[[Key, str], bytes | None] = _no_content
    judges: Mapping[str, Judge] = field(default_factory=dict)

    @cached_property
    def samples(self) -> pd.DataFrame:
        """Table with a row per sample grid, made when it is first used.

        Raises:
            UserError: The files of the trials cannot be reached.
        """
        return self.list_samples()

    def __repr__(self) -> str:
        counts = {"sweep": len(self.sweeps), "trial": len(self.trials), "evaluation": len(self.evaluations)}
        return f"<Tables: {', '.join(counted(n, what) for what, n in counts.items())}>"


def read_sweep(
    *sweeps: str,
    home: str | Path | None = None,
    tracking_uri: str | None = None,
    source: Source = "store",
    all_plans: bool = False,
) -> Tables:
    """Read sweeps as tables, whether they are finished, running or interrupted.

    Args:
        sweeps: names of sweeps. A name given twice counts once.
        home: home folder. By default GANSWEEP_HOME, else ./gansweep-home.
        tracking_uri: tracking store to read. By default the store that a sweep was sent to, else that in the home.
        source: what is read: the tracking "store", or the sweep's "folder" in the home.
        all_plans: include the trials of earlier plans, which the sweep file as it was last run no longer names.

    Raises:
        UserError: a store or a sweep is missing or cannot be read.
    """
    place = home_at(home)
    return tables_of(
        reader_of(place, name, source, tracking_uri).read(all_plans=all_plans) for name in dict.fromkeys(sweeps)
    )


def tables_of(sweeps: Iterable[RecordedSweep]) -> Tables:
    """Convert sweeps that were read to tables. The verdicts are computed from the records of the trials."""
    found = [*sweeps]
    judged = {(sweep.name, trial.id): sweep.judge.conclude(trial.history) for sweep in found for trial in sweep.trials}
    recorded = {(sweep.name, trial.id): (sweep, trial) for sweep in found for trial in sweep.trials}

    def content(key: Key, artifact: str) -> bytes | None:
        sweep, trial = recorded[key]
        return sweep.files.content(trial, artifact)

    return Tables(
        _sweeps(found),
        trials.table(found, judged),
        _histories(found),
        _evaluations(found),
        _verdicts(found, judged),
        trials.differing(found),
        lambda: frame((row for sweep in found for row in _samples(sweep)), SAMPLES),
        content,
        {sweep.name: sweep.judge for sweep in found},
    )


def _sweeps(sweeps: Sequence[RecordedSweep]) -> pd.DataFrame:
    packages = {name: "str" for sweep in sweeps for name in sorted(sweep.provenance.versions)}
    columns = {**SWEEPS, **{f"version.{name}": kind for name, kind in packages.items()}}
    rows = [
        {
            "sweep": sweep.name,
            "objective": sweep.ranking.metric,
            "mode": sweep.ranking.mode,
            "file": sweep.file,
            "path": sweep.plan.get("file") or f"{sweep.name}.yaml",
            "command": sweep.plan.get("command", ""),
            "commit": sweep.provenance.commit,
            "machine": sweep.provenance.machine,
            "experiment_id": sweep.experiment_id,
            "parent_run_id": sweep.parent_run_id,
            "tracking_uri": sweep.tracking_uri,
            "overrides": sweep.plan.get("overrides", []),
            "planned": len(sweep.plan.get("trials", sweep.trials)),
            "to_come": sweep.plan.get("to_come", 0),
            "earlier": sweep.earlier,
            **{f"version.{name}": sweep.provenance.versions.get(name, "") for name in packages},
        }
        for sweep in sweeps
    ]
    return frame(rows, columns)


def _histories(sweeps: Sequence[RecordedSweep]) -> pd.DataFrame:
    """Return the table `histories`: one row per trial, training metric and step, in this order."""
    found = [
        (sweep.name, trial.id, name, points)
        for sweep in sweeps
        for trial in sweep.trials
        for name, points in trial.metrics.items()
        if not is_evaluation(name)
    ]
    counts = [len(points.steps) for *_, points in found]
    labels = [series([one[i] for one in found], "str").repeat(counts).array for i in range(3)]
    numbers = [_joined([getattr(one[3], part) for one in found]) for part in ("steps", "times_ms", "values")]
    columns = zip(HISTORIES.items(), (*labels, *numbers), strict=True)
    return pd.DataFrame({name: series(values, kind) for (name, kind), values in columns})


def _evaluations(sweeps: Sequence[RecordedSweep]) -> pd.DataFrame:
    """Return the table `evaluations`: one row per trial and step, in this order, and one column per metric."""
    runs = [(sweep.name, trial, _aligned(trial)) for sweep in sweeps for trial in sweep.trials]
    counts = [len(columns["step"]) for *_, columns in runs]
    names = _evaluation_names([trial for _, trial, _ in runs])
    found = {
        "sweep": series([name for name, *_ in runs], "str").repeat(counts).array,
        "trial": series([trial.id for _, trial, _ in runs], "str").repeat(counts).array,
    }
    for name in ("step", "time", *names):
        found[name] = _joined([c.get(name, np.full(n, np.nan)) for (*_, c), n in zip(runs, counts, strict=True)])
    kinds = {**EVALUATIONS, **dict.fromkeys(names, "float64")}
    return pd.DataFrame({name: series(found[name], kind) for name, kind in kinds.items()})


def _aligned(trial: RecordedTrial) -> dict[str, NDArray[Any]]:
    """Return column → values of a trial's evaluations, one value per step at which any evaluation metric was recorded.

    The columns are `step`, `time` (milliseconds since the epoch) and the metrics, NaN where a metric was not recorded.
    """
    metrics = {name: points for name, points in trial.metrics.items() if is_evaluation(name)}
    steps, first = np.unique(_joined([points.steps for points in metrics.values()]), return_index=True)
    found = {"step": steps, "time": _joined([points.times_ms for points in metrics.values()])[first]}
    for name, points in metrics.items():
        found[name] = np.full(len(steps), np.nan)
        found[name][np.searchsorted(steps, points.steps)] = points.values
    return found


def _evaluation_names(trials: Sequence[RecordedTrial]) -> list[str]:
    """Return the names of the evaluation metrics that any trial has, in the order of the table's columns.

    gansweep's metrics are first, then those of single classes in the order of the data set's classes, then all others.
    """
    recorded = dict.fromkeys(name for trial in trials for name in trial.metrics if is_evaluation(name))
    named = dict.fromkeys(name for trial in trials for name in trial.summary.real_shares)
    classes = [f"{prefix}{name}" for prefix in FAMILIES for name in named]
    return [name for name in dict.fromkeys((*EVALUATION, *classes, *recorded)) if name in recorded]


def _verdicts(sweeps: Sequence[RecordedSweep], judged: Judged) -> pd.DataFrame:
    rows = (
        {
            "sweep": sweep.name,
            "trial": trial.id,
            "place": place,
            "kind": verdict.kind,
            "failure": verdict.is_failure,
            "since_step": since(verdict),
            "reason": verdict.reason,
            "evidence": verdict.evidence,
        }
        for sweep in sweeps
        for trial in sweep.trials
        for place, verdict in enumerate(judged[sweep.name, trial.id])
    )
    return frame(rows, VERDICTS)


def _samples(sweep: RecordedSweep) -> Iterator[dict[str, Any]]:
    for trial, step, name in sweep.files.samples(sweep.trials):
        yield {"sweep": sweep.name, "trial": trial.id, "step": step, "artifact": name}


def _joined(arrays: Sequence[NDArray[Any]]) -> NDArray[Any]:
    return np.concatenate(arrays) if arrays else np.empty(0, np.int64)
