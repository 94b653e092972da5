"""A sweep that runs elsewhere, seen and ended through its tracking store alone."""

from __future__ import annotations

import json
import time
import uuid
from typing import TYPE_CHECKING, Any

import numpy as np

from gansweep.errors import UserError
from gansweep.health.history import LARGEST
from gansweep.plan import settings
from gansweep.records.layout import Home
from gansweep.tracking import artifacts, lookup, reader, store
from gansweep.tracking.lookup import Located
from gansweep.tracking.params import settings_of, varied_of
from gansweep.tracking.parent import STOP, TRIALS

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
        parent, runs = self._parent(), {}
        with reader.readable(self._home, self._uri):
            client = store.client(self._home, self._uri)
            assert self._located is not None
            for run in self._located.runs(client):
                if reader.is_trial(run):
                    runs[run.data.tags["gansweep.trial_id"]] = run
        planned = json.loads(self._artifact(parent, TRIALS) or "{}").get("trials", [])
        earlier = [run for trial, run in runs.items() if trial not in {one["id"] for one in planned}]
        shown = [*planned, *(map(_told, earlier) if all_plans else ())]
        known = {trial: settings_of(run.data.params, run.data.tags) for trial, run in runs.items()}
        begun = [known[trial["id"]] for trial in shown if trial["id"] in known]
        keys = settings.telling(begun, (key for trial in shown for key in trial["varied"]))
        for trial in shown:
            own = {**known.get(trial["id"], {}), **trial["varied"]}
            trial["varied"] = {key: own[key] for key in keys if key in own}
        return [_summary(trial, runs.get(trial["id"])) for trial in shown], len(earlier)

    def ask_to_stop(self) -> None:
        """Its driver looks every few seconds."""
        run_id = self._parent().info.run_id
        with reader.readable(self._home, self._uri):
            client = store.client(self._home, self._uri)
            client.set_tag(run_id, STOP, f"{time.strftime('%Y-%m-%d %H:%M:%S')} {uuid.uuid4().hex[:8]}")

    def _parent(self) -> Run:
        with reader.readable(self._home, self._uri):
            client = store.client(self._home, self._uri)
            if self._run_id:
                return client.get_run(self._run_id)
            self._located = lookup.by_name(client, self._home, self._uri, self._sweep)
            # Only parent runs have this tag; those of trials are not read.
            for run in filter(reader.is_parent, self._located.runs(client, "tags.`gansweep.machine` LIKE '%'")):
                self._run_id = run.info.run_id
                return run
        raise UserError(f"{self._uri}: {self._sweep} has no parent run: it has just begun, or is none of gansweep's")

    def _artifact(self, run: Run, path: str) -> bytes:
        """Empty where there is none."""
        with reader.readable(self._home, self._uri):
            return artifacts.content(artifacts.repository(self._uri, run.info.artifact_uri), path) or b""


def _told(run: Run) -> dict[str, Any]:
    """Of a trial what TRIALS says of one of the plan."""
    tags = run.data.tags
    told = {"id": tags["gansweep.trial_id"], "varied": varied_of(tags), "seed": int(tags["gansweep.seed"])}
    return {**told, "steps": int(tags["gansweep.steps"])}


def _summary(trial: dict[str, Any], run: Run | None) -> dict[str, Any]:
    tags = run.data.tags if run else {}
    points = run.data.to_proto().metrics if run else []  # unlike the run's own dictionary it has the steps
    now = tags.get("gansweep.outcome", "pending")
    return {
        "id": trial["id"],
        "varied": trial["varied"],
        "seed": trial["seed"],
        "outcome": now,
        "verdict": tags.get("gansweep.verdict") or None,
        "reason": "" if now == "completed" else tags.get("gansweep.reason", ""),
        "rule": tags.get("gansweep.rule", ""),
        "step": max((point.step for point in points), default=0),
        "steps_total": trial["steps"],
        "run_id": run.info.run_id if run else None,
        "metrics": {point.key: _value(point.value) for point in points},
    }


def _value(value: float) -> float:
    """MLflow's largest number is inf again."""
    return float(np.copysign(np.inf, value)) if abs(value) >= LARGEST else value
