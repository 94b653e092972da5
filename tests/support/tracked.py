"""What a tracking server has of a sweep."""

from __future__ import annotations

from collections import Counter

from mlflow import MlflowClient
from mlflow.entities import Run

Point = tuple[str, str, int, str]


def runs(client: MlflowClient, sweep: str) -> dict[str, Run]:
    """Trial id (or `parent`) → its run; fails where there are two."""
    experiment = client.get_experiment_by_name(sweep)
    assert experiment is not None, sweep
    found = client.search_runs([experiment.experiment_id])
    names = [run.data.tags.get("gansweep.trial_id", "parent") for run in found]
    assert len(set(names)) == len(names), names
    return dict(zip(names, found, strict=True))


def points(client: MlflowClient, sweep: str) -> Counter[Point]:
    """(trial, metric, step, value) → how often it is there. Of timings the value is left out."""
    return Counter(
        (trial, name, metric.step, "" if name == "steps_per_s" else repr(metric.value))
        for trial, run in runs(client, sweep).items()
        for name in run.data.metrics
        for metric in client.get_metric_history(run.info.run_id, name)
    )
