"""Remote sweeps: observed and ended through their tracking store only."""

from __future__ import annotations

import json
import time
import uuid
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from gansweep.errors import UserError
from gansweep.health.history import LARGEST
from gansweep.health.metrics import STEPS_PER_S
from gansweep.records.figures import figures
from gansweep.records.layout import Home
from gansweep.records.ranking import ranking_in
from gansweep.sweepfile import settings
from gansweep.sweeps.points import Points
from gansweep.sweeps.summary import Summary, of_entry
from gansweep.tracking import artifacts, bulk, lookup, reader, store, summary
from gansweep.tracking.context import MACHINE
from gansweep.tracking.limits import metric_key
from gansweep.tracking.lookup import Located
from gansweep.tracking.params import settings_of
from gansweep.tracking.parent import STOP

if TYPE_CHECKING:
    from mlflow.entities import Run

LOG = "log.txt"  # artifact of the parent run


class RemoteSweep:
    """A sweep in a tracking store, accessed without its folder.

    `home`: The home folder. Messages call its own store by its path.
    All methods raise UserError if the store does not answer or cannot be read, or lacks the sweep.
    """

    def __init__(self, home: Home, uri: str, sweep: str) -> None:
        store.check(uri)
        self._home, self._uri, self._sweep = home, uri, sweep
        self._located: Located | None = None
        self._run_id: str | None = None  # id of the parent run, once found

    def is_running(self) -> bool:
        """Whether the sweep is running according to the store, which does not learn of a driver that was killed."""
        return self.status() == "RUNNING"

    def status(self) -> str:
        """Return MLflow's status: RUNNING, SCHEDULED (will continue), FINISHED or FAILED."""
        return str(self._parent().info.status)

    def log(self) -> str:
        """Return the part of the sweep's log that was sent to the store."""
        return self._artifact(self._parent(), LOG).decode(errors="replace")

    def trials(self, *, all_plans: bool = False) -> tuple[list[dict[str, Any]], int]:
        """Return the trials of the plan, and the number of trials of earlier plans.

        Each trial is a dictionary with the entries of `records.outcome.summary` and `records.figures.figures`, as far
        as they were sent to the store. `all_plans`: Whether to include the trials of earlier plans.
        """
        parent = self._parent()
        ranking = ranking_in(json.loads(self._artifact(parent, "plan.json") or "{}"))
        metrics = (STEPS_PER_S, metric_key(ranking.metric))
        with reader.readable(self._home, self._uri):
            assert self._located is not None
            client = store.reading_client(self._home, self._uri)
            runs = self._located.runs(client)
            sent = bulk.read(client, self._uri, runs, metrics.__contains__)
        content = self._artifact(parent, summary.NAME)
        told = summary.of_runs(runs, content)
        begun = {told[run.info.run_id].id: run for run in runs if run.info.run_id in told}
        known = {one.id: one for one in told.values()}
        plan = {entry["id"]: of_entry(entry) for entry in summary.unpack(content)[0]}
        earlier = {trial: one for trial, one in known.items() if trial not in plan}
        shown = {**plan, **known} if all_plans else {trial: known.get(trial, one) for trial, one in plan.items()}
        own = {trial: settings_of(begun[trial].data.params, known[trial]) for trial in shown if trial in known}
        keys = settings.telling([*own.values()], (key for one in shown.values() for key in one.varied))
        found = []
        for trial, one in shown.items():
            values = {**own.get(trial, {}), **one.varied}
            varied = {key: values[key] for key in keys if key in values}
            run = begun.get(trial)
            speeds, reached = (_pairs(sent[run.info.run_id].get(name)) if run else [] for name in metrics)
            row = _row(replace(one, varied=varied), run)
            found.append({**row, **figures(ranking, [speed for _, speed in speeds], reached)})
        return found, len(earlier)

    def ask_to_stop(self) -> None:
        """Ask the sweep's driver to end the sweep. The driver looks for such requests every few seconds."""
        run_id = self._parent().info.run_id
        with reader.readable(self._home, self._uri):
            client = store.client(self._home, self._uri)
            client.set_tag(run_id, STOP, f"{time.strftime('%Y-%m-%d %H:%M:%S')} {uuid.uuid4().hex[:8]}")

    def _parent(self) -> Run:
        with reader.readable(self._home, self._uri):
            client = store.reading_client(self._home, self._uri)
            if self._run_id:
                return client.get_run(self._run_id)
            self._located = lookup.by_name(client, self._home, self._uri, self._sweep)
            # Only parent runs have this tag, so those of trials are not read, unless it was deleted.
            for condition in (f"tags.`{MACHINE}` LIKE '%'", ""):
                for run in filter(reader.is_parent, self._located.runs(client, condition)):
                    self._run_id = run.info.run_id
                    return run
        raise UserError(f"{self._uri}: {self._sweep} has no parent run: it has just begun, or is none of gansweep's")

    def _artifact(self, run: Run, path: str) -> bytes:
        """Return the content of an artifact; empty if it does not exist."""
        with reader.readable(self._home, self._uri):
            return artifacts.content(artifacts.repository(self._uri, run.info.artifact_uri), path) or b""


def _row(trial: Summary, run: Run | None) -> dict[str, Any]:
    points = run.data.to_proto().metrics if run else []  # unlike the run's own dictionary it includes steps
    return {
        "id": trial.id,
        "varied": trial.varied,
        "seed": trial.seed,
        "outcome": trial.outcome,
        "verdict": trial.verdict or None,
        "reason": trial.reason,
        "rule": trial.rule,
        "states": [*trial.states],
        "step": max((point.step for point in points), default=0),
        "steps_total": trial.steps,
        "device": trial.device or None,
        "run_id": run.info.run_id if run else None,
        "metrics": reader.named({point.key: _value(point.value) for point in points}, trial.real_shares),
    }


def _pairs(points: Points | None) -> list[tuple[int, float]]:
    """Return the pairs (step, value) of a metric; none if it was not recorded."""
    return [] if points is None else list(zip(points.steps.tolist(), points.values.tolist(), strict=True))


def _value(value: float) -> float:
    """Return a value read from MLflow. The largest float, which MLflow stores in place of inf, becomes inf again."""
    return float(np.copysign(np.inf, value)) if abs(value) >= LARGEST else value
