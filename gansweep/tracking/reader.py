"""The tracking store → histories. Reads the store alone, so any machine that reaches it can ask."""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gansweep.errors import UserError
from gansweep.health.history import History
from gansweep.health.metrics import EVALUATION, NONFINITE_STEP, TRAINING
from gansweep.records.layout import Home
from gansweep.tracking import store

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

METRICS = (*TRAINING, NONFINITE_STEP, *EVALUATION)  # what verdicts are made of
MOST_NAMES = 10  # of sweeps, in a message
THREADS = 4  # a server answers side by side; SQLite takes as long as with one


@dataclass(frozen=True)
class TrackedTrial:
    """A trial as the store knows it. varied: dotted key → value. steps: its budget. outcome: its state when last sent.

    history: of METRICS, as far as they were sent.
    """

    id: str
    run_id: str
    varied: Mapping[str, Any]
    seed: int
    steps: int
    outcome: str
    history: History


def trials(home: Home, uri: str, sweep: str) -> list[TrackedTrial]:
    """Every trial of a sweep that has begun, in the order in which they did.

    Raises UserError for a store that is not there or cannot be read, and for a sweep that it does not have.
    """
    with _readable(home, uri):
        client = store.client(home, uri)
        runs = [r for r in store.runs(client, _experiment(client, home, uri, sweep)) if _is_trial(r)]
        if any("gansweep.steps" not in run.data.tags for run in runs):
            raise UserError(f"{sweep}: recorded by an older gansweep; `gansweep sync {sweep}` sends what is missing")
        runs.sort(key=lambda run: (run.info.start_time, run.data.tags["gansweep.trial_id"]))
        with ThreadPoolExecutor(THREADS) as pool:
            return list(pool.map(lambda run: _trial(client, run), runs))


@contextmanager
def _readable(home: Home, uri: str) -> Iterator[None]:
    """Raises UserError for a store that is missing (MLflow would make one) and for what MLflow raises."""
    path = Path(uri.removeprefix("sqlite:///"))
    if not store.is_server(uri) and not path.exists():
        raise UserError(f"{_name(home, uri)}: nothing recorded here yet; `gansweep run FILE` comes first")
    store.quiet()
    from mlflow.exceptions import MlflowException
    from sqlalchemy.exc import SQLAlchemyError

    try:
        yield
    except (MlflowException, SQLAlchemyError, OSError) as error:
        what = (str(error) or type(error).__name__).splitlines()[0][:200]
        raise UserError(f"{_name(home, uri)}: the tracking store cannot be read ({what})") from error


def _experiment(client: MlflowClient, home: Home, uri: str, sweep: str) -> str:
    """Its id. Raises UserError with the nearest names."""
    found = client.get_experiment_by_name(sweep)
    if found is not None and found.lifecycle_stage == "active":
        return str(found.experiment_id)
    known = [experiment.name for experiment in client.search_experiments() if experiment.name != "Default"]
    near = difflib.get_close_matches(sweep, known, n=3, cutoff=0.4)
    there = f"did you mean {' or '.join(near)}?" if near else f"there are {', '.join(known[:MOST_NAMES]) or 'none'}"
    raise UserError(f"{_name(home, uri)}: no sweep named {sweep!r}; {there}")


def _name(home: Home, uri: str) -> str:
    """The store, as people know it."""
    return str(home.path) if uri == store.local_uri(home) else uri


def _is_trial(run: Run) -> bool:
    return "gansweep.trial_id" in run.data.tags


def _trial(client: MlflowClient, run: Run) -> TrackedTrial:
    tags, steps = run.data.tags, int(run.data.tags["gansweep.steps"])
    return TrackedTrial(
        tags["gansweep.trial_id"],
        run.info.run_id,
        json.loads(tags["gansweep.varied"]),
        int(tags["gansweep.seed"]),
        steps,
        tags["gansweep.outcome"],
        _history(client, run, steps),
    )


def _history(client: MlflowClient, run: Run, steps: int) -> History:
    recorded = [name for name in METRICS if name in run.data.metrics]
    points = [point for name in recorded for point in client.get_metric_history(run.info.run_id, name)]
    points.sort(key=lambda point: (point.step, point.timestamp))
    return History.of(((point.step, {point.key: point.value}) for point in points), steps)
