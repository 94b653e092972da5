"""A sweep that runs elsewhere, seen and ended through its tracking store alone."""

from __future__ import annotations

import time
import uuid
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from gansweep.errors import UserError
from gansweep.health.history import LARGEST
from gansweep.plan import settings
from gansweep.records.layout import Home
from gansweep.tracking import artifacts, lookup, reader, store, summary
from gansweep.tracking.lookup import Located
from gansweep.tracking.params import settings_of
from gansweep.tracking.parent import STOP
from gansweep.tracking.summary import Summary

if TYPE_CHECKING:
    from mlflow.entities import Run

LOG = "log.txt"  # artifact of the parent run


class Afar:
    """home: names a local store in messages. All of it raises UserError for a store that does not answer or cannot be
    read, and for a sweep that it does not have."""

    def __init__(self, home: Home, uri: str, sweep: str) -> None:
        store.check(uri)
        self._home, self._uri, self._sweep = home, uri, sweep
        self._located: Located | None = None
        self._run_id: str | None = None  # of the parent run, once it was found

    def is_running(self) -> bool:
        """Whether it goes on, as far as the store was told: of a driver that was killed it does not hear."""
        return self.status() == "RUNNING"

    def status(self) -> str:
        """MLflow's word for it: RUNNING, SCHEDULED (will go on), FINISHED or FAILED."""
        return str(self._parent().info.status)

    def log(self) -> str:
        """What was said while it ran, as far as it was sent; empty where nothing was."""
        return self._artifact(self._parent(), LOG).decode(errors="replace")

    def trials(self, *, all_plans: bool = False) -> tuple[list[dict[str, Any]], int]:
        """Of each trial of the plan what `records.outcome.summary` says, as far as it was sent; all_plans: of those of
        earlier plans as well. And how many of these there are."""
        parent = self._parent()
        with reader.readable(self._home, self._uri):
            assert self._located is not None
            runs = self._located.runs(store.reading_client(self._home, self._uri))
        content = self._artifact(parent, summary.NAME)
        told = summary.of_runs(runs, content)
        begun = {told[run.info.run_id].id: run for run in runs if run.info.run_id in told}
        known = {one.id: one for one in told.values()}
        plan = {entry["id"]: summary.of_entry(entry) for entry in summary.unpack(content)[0]}
        earlier = {trial: one for trial, one in known.items() if trial not in plan}
        shown = {**plan, **known} if all_plans else {trial: known.get(trial, one) for trial, one in plan.items()}
        own = {trial: settings_of(begun[trial].data.params, known[trial]) for trial in shown if trial in known}
        keys = settings.telling([*own.values()], (key for one in shown.values() for key in one.varied))
        found = []
        for trial, one in shown.items():
            values = {**own.get(trial, {}), **one.varied}
            varied = {key: values[key] for key in keys if key in values}
            found.append(_row(replace(one, varied=varied), begun.get(trial)))
        return found, len(earlier)

    def ask_to_stop(self) -> None:
        """Its driver looks every few seconds."""
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
            for condition in ("tags.`gansweep.machine` LIKE '%'", ""):
                for run in filter(reader.is_parent, self._located.runs(client, condition)):
                    self._run_id = run.info.run_id
                    return run
        raise UserError(f"{self._uri}: {self._sweep} has no parent run: it has just begun, or is none of gansweep's")

    def _artifact(self, run: Run, path: str) -> bytes:
        """Empty where there is none."""
        with reader.readable(self._home, self._uri):
            return artifacts.content(artifacts.repository(self._uri, run.info.artifact_uri), path) or b""


def _row(trial: Summary, run: Run | None) -> dict[str, Any]:
    points = run.data.to_proto().metrics if run else []  # unlike the run's own dictionary it has the steps
    return {
        "id": trial.id,
        "varied": trial.varied,
        "seed": trial.seed,
        "outcome": trial.outcome,
        "verdict": trial.verdict or None,
        "reason": trial.reason,
        "rule": trial.rule,
        "step": max((point.step for point in points), default=0),
        "steps_total": trial.steps,
        "run_id": run.info.run_id if run else None,
        "metrics": reader.named({point.key: _value(point.value) for point in points}, trial.real_shares),
    }


def _value(value: float) -> float:
    """MLflow's largest number is inf again."""
    return float(np.copysign(np.inf, value)) if abs(value) >= LARGEST else value
