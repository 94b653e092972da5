"""The tracking store → what it knows of a sweep. Reads the store alone, so any machine that reaches it can ask.

A sweep's trials are those of its current plan. Runs of earlier plans stay in the store: they are counted, and read on
request.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from operator import itemgetter
from typing import TYPE_CHECKING, Any, TypeVar

from gansweep.errors import UserError
from gansweep.health.history import History, MetricValues, traits
from gansweep.health.judge import Judge, judge_of
from gansweep.health.metrics import CRITIC_TRAINING, EVALUATION, FAMILIES, NONFINITE_STEP, TRAINING
from gansweep.plan import settings
from gansweep.records.layout import Home
from gansweep.tracking import artifacts, bulk, journals, lookup, places, store, summary
from gansweep.tracking.bulk import Points, Wanted
from gansweep.tracking.comparison import GRID, IMAGES
from gansweep.tracking.limits import metric_key
from gansweep.tracking.params import settings_of
from gansweep.tracking.summary import Summary

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

METRICS = tuple(dict.fromkeys((*TRAINING, *CRITIC_TRAINING, NONFINITE_STEP, *EVALUATION)))  # verdicts are made of them
THREADS = 4  # a server answers side by side
Value = TypeVar("Value")


@dataclass(frozen=True)
class TrackedTrial:
    """A trial as the store knows it. varied: dotted key → value of what the search varies, and of every other setting
    in which the trials that were read differ. steps: its budget. outcome: its state when last sent; rule: what ended
    it, as in records.outcome.Outcome.

    history: of METRICS, as far as they were sent. planned: whether the sweep's current plan has it. judge: its sweep's.
    """

    id: str
    run_id: str
    varied: Mapping[str, Any]
    seed: int
    steps: int
    outcome: str
    history: History
    rule: str = ""
    planned: bool = True
    judge: Judge = field(default_factory=Judge)


@dataclass(frozen=True)
class TrackedRun:
    """A trial's run, as it was sent. params: text. metrics: name → points. began_ms: since the epoch. planned: whether
    the sweep's current plan has the trial."""

    run_id: str
    summary: Summary
    params: Mapping[str, str]
    metrics: Mapping[str, Points]
    began_ms: int
    artifact_uri: str
    planned: bool = True

    @property
    def id(self) -> str:
        """Of the trial."""
        return self.summary.id

    @property
    def steps(self) -> int:
        """Its budget; where that is unknown, the last step recorded."""
        return self.summary.steps or max((int(points.steps[-1]) for points in self.metrics.values()), default=0)

    @property
    def varied(self) -> Mapping[str, Any]:
        """Dotted key → value, for the keys that its search varied."""
        return self.summary.varied

    @cached_property
    def settings(self) -> dict[str, Any]:
        """See settings_of."""
        return settings_of(self.params, self.summary)

    def history(self) -> History:
        """Of METRICS."""
        recorded = {name: self.metrics[name] for name in METRICS if name in self.metrics}
        series = {name: MetricValues(points.steps, points.values) for name, points in recorded.items()}
        return History(series, self.steps, *traits(self.params))


@dataclass(frozen=True)
class TrackedSweep:
    """A sweep, as it was sent. parent: tags of its parent run. file: YAML. plan: what plan.json holds. All empty where
    they are missing.

    runs: of every trial that has begun, in the order in which they did. earlier: how many trials of earlier plans the
    store has, whether or not they are among the runs.
    """

    name: str
    experiment_id: str
    parent_run_id: str
    parent: Mapping[str, str]
    file: str
    plan: Mapping[str, Any]
    runs: Sequence[TrackedRun]
    earlier: int = 0

    @cached_property
    def settings(self) -> tuple[str, ...]:
        """Keys of the settings in which its runs differ, those that the search varies first."""
        varied = (key for run in self.runs for key in run.varied)
        return settings.telling([run.settings for run in self.runs], varied)

    @cached_property
    def judge(self) -> Judge:
        """Return what makes the verdicts on its trials: the thresholds of its current plan, defaults without a plan.

        Raises:
            UserError: The plan has thresholds that this version does not know.
        """
        return judge_of(self.plan.get("thresholds", {}))


def trials(home: Home, uri: str, sweep: str, *, all_plans: bool = False) -> list[TrackedTrial]:
    """Every trial of a sweep's current plan that has begun, in the order of the plan. all_plans: then those of earlier
    plans, as they began. All of them as they began where artifacts are out of reach, the plan among them.

    Raises UserError for a store that is not there or cannot be read, and for a sweep that it does not have.
    """
    return trials_and_earlier(home, uri, sweep, all_plans=all_plans)[0]


def trials_and_earlier(home: Home, uri: str, sweep: str, *, all_plans: bool) -> tuple[list[TrackedTrial], int]:
    """What `trials` gives, and how many trials of earlier plans the store has."""
    with readable(home, uri):
        client = store.reading_client(home, uri)
        runs = lookup.of_home(client, home, uri, sweep).runs(client)
        plan: dict[str, Any] = {}
        with suppress(Exception):  # each kind of repository has its own
            plan = _plan(uri, _parent(runs))
        found, earlier = _tracked(client, uri, runs, METRICS.__contains__, plan, all_plans)
    read = TrackedSweep(sweep, "", "", {}, "", plan, found, earlier)
    places = {trial: place for place, trial in enumerate(plan.get("trials", []))}
    ordered = sorted(found, key=lambda run: places.get(run.id, len(places)))
    return [_trial(run, read) for run in ordered], earlier


def sweep(home: Home, uri: str, name: str, *, all_plans: bool = False) -> TrackedSweep:
    """All that was recorded of a sweep but the artifacts of its trials. all_plans: with the trials of earlier plans.

    Raises UserError as `trials` does.
    """
    with readable(home, uri):
        client = store.reading_client(home, uri)
        located = lookup.of_home(client, home, uri, name)
        runs = located.runs(client)
        parent = _parent(runs)
        plan = _plan(uri, parent)
        return TrackedSweep(
            name,
            located.experiment_id,
            parent.info.run_id if parent else "",
            parent.data.tags if parent else {},
            _attached(uri, parent, "sweep.yaml").decode(errors="replace"),
            plan,
            *_tracked(client, uri, runs, lambda _: True, plan, all_plans),
        )


def artifact(home: Home, uri: str, run_id: str, path: str) -> bytes | None:
    """What a file among a run's artifacts holds; None where the store has no such artifact.

    Raises UserError for a store that is not there or cannot be read, unknown runs included.
    """
    with readable(home, uri):
        return artifacts.content(artifacts.repository(uri, _artifact_uri(home, uri, run_id)), path)


def samples(home: Home, uri: str, runs: Sequence[TrackedRun]) -> list[tuple[TrackedRun, int, str]]:
    """(run, step, path among its artifacts) of every sample grid, by run and step. Raises UserError as `artifact`."""
    with readable(home, uri), ThreadPoolExecutor(THREADS) as pool:
        listed = pool.map(lambda run: artifacts.repository(uri, run.artifact_uri).list_artifacts(IMAGES), runs)
        found = []
        for run, files in zip(runs, listed, strict=True):
            grids = [(GRID.fullmatch(file.path), file.path) for file in files]
            # Of a step that was sent twice, which a copied folder does, the newest: the last by name.
            steps = {int(match["step"]): path for match, path in sorted(grids, key=itemgetter(1)) if match}
            found += [(run, step, path) for step, path in sorted(steps.items())]
        return found


def where(home: Home, sweep: str, given: str | None) -> str:
    """URI of the store to be asked for a sweep: the one given, else where the sweep was sent if its folder is here,
    else the home's own. Raises UserError for a server that does not answer, and for a URI that is no tracking store."""
    recorded = (places.recorded(home, folder) for folder in home.sweeps() if folder.name == sweep)
    uri = store.take_password(given or next(recorded, None) or store.local_uri(home))
    store.check(uri)
    return uri


@contextmanager
def readable(home: Home, uri: str) -> Iterator[None]:
    """Raises UserError for a store that is missing (MLflow would make one) and for what MLflow raises."""
    file = places.file_of(uri)
    if file and not file.exists():
        raise UserError(f"{store.called(home, uri)}: nothing recorded here yet; `gansweep run FILE` comes first")
    store.quiet()
    from mlflow.exceptions import MlflowException
    from sqlalchemy.exc import SQLAlchemyError

    try:
        yield
    except (MlflowException, SQLAlchemyError, sqlite3.Error, OSError) as error:
        what = (str(error) or type(error).__name__).splitlines()[0][:200]
        mend = f"; {store.LOG_IN}" if store.asks_for_password(error) else ""
        raise UserError(f"{store.called(home, uri)}: the tracking store cannot be read ({what}){mend}") from error


def is_trial(run: Run) -> bool:
    """Whether it is of a trial."""
    return "gansweep.trial_id" in run.data.tags


def is_parent(run: Run) -> bool:
    """Whether it is of a whole sweep."""
    tags = run.data.tags
    return "gansweep.sweep" in tags and "mlflow.parentRunId" not in tags and not is_trial(run)


def _parent(runs: Sequence[Run]) -> Run | None:
    return next((run for run in runs if is_parent(run)), None)


def _plan(uri: str, parent: Run | None) -> dict[str, Any]:
    """What plan.json holds; empty where there is none."""
    plan: dict[str, Any] = json.loads(_attached(uri, parent, "plan.json") or "{}")
    return plan


def _tracked(
    client: MlflowClient,
    uri: str,
    runs: Sequence[Run],
    wanted: Wanted,
    plan: Mapping[str, Any],
    all_plans: bool,
) -> tuple[list[TrackedRun], int]:
    """Those of trials, in the order in which they began; and how many trials of earlier plans there are."""
    content = b""
    with suppress(Exception):  # artifacts are out of reach; each kind of repository has its own
        content = _attached(uri, _parent(runs), summary.NAME)
    known = summary.of_runs(runs, content)
    # A plan that is unknown leaves nothing out.
    earlier = {run_id for run_id, one in known.items() if "trials" in plan and one.id not in plan["trials"]}
    shown = known.keys() if all_plans else known.keys() - earlier
    runs = [run for run in runs if run.info.run_id in shown]
    runs.sort(key=lambda run: (run.info.start_time, known[run.info.run_id].id))
    metrics = journals.read(uri, runs, wanted) if store.is_server(uri) else {}
    metrics |= bulk.read(client, uri, [run for run in runs if run.info.run_id not in metrics], wanted)
    found = [
        TrackedRun(
            run.info.run_id,
            known[run.info.run_id],
            run.data.params,
            named(metrics[run.info.run_id], known[run.info.run_id].real_shares),
            run.info.start_time,
            run.info.artifact_uri,
            run.info.run_id not in earlier,
        )
        for run in runs
    ]
    return found, len(earlier)


def named(metrics: Mapping[str, Value], classes: Iterable[str]) -> dict[str, Value]:
    """Return metrics by their names instead of their keys, which are shortened where a class's name is long."""
    names = {metric_key(name): name for one in classes for name in (f"{family}{one}" for family in FAMILIES)}
    return {names.get(key, key): value for key, value in metrics.items()}


def _trial(run: TrackedRun, sweep: TrackedSweep) -> TrackedTrial:
    own = {**run.settings, **run.varied}
    varied, told = {key: own.get(key) for key in sweep.settings}, run.summary
    return TrackedTrial(
        id=run.id,
        run_id=run.run_id,
        varied=varied,
        seed=told.seed,
        steps=run.steps,
        outcome=told.outcome,
        history=run.history(),
        rule=told.rule,
        planned=run.planned,
        judge=sweep.judge,
    )


@lru_cache(4096)
def _artifact_uri(home: Home, uri: str, run_id: str) -> str:
    """It never changes, and many artifacts of a run may be asked for."""
    return str(store.reading_client(home, uri).get_run(run_id).info.artifact_uri)


def _attached(uri: str, run: Run | None, path: str) -> bytes:
    """Empty where there is nothing."""
    return (artifacts.content(artifacts.repository(uri, run.info.artifact_uri), path) if run else None) or b""
