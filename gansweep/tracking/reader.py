"""Reading of a sweep from the tracking store, on any machine that can access the store.

The trials of a sweep are those of its current plan. Runs of earlier plans stay in the store; they are counted, and read
on request.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from operator import itemgetter
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from gansweep.errors import UserError
from gansweep.health.metrics import FAMILIES, GPU_MEMORY
from gansweep.records.devices import CPU, GPU, LABELS
from gansweep.records.layout import Home
from gansweep.records.ranking import ranking_in
from gansweep.sweepfile.settings import DEVICE
from gansweep.sweeps.folder import FolderReader
from gansweep.sweeps.points import Wanted
from gansweep.sweeps.provenance import Provenance
from gansweep.sweeps.sweep import METRICS, RecordedSweep, RecordedTrial, SweepReader
from gansweep.tracking import artifacts, bulk, context, journal_copies, lookup, places, store, summary
from gansweep.tracking.comparison import GRID, IMAGES
from gansweep.tracking.limits import metric_key
from gansweep.tracking.params import parameters_of, settings_of

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

THREADS = 4  # a server answers in parallel
Value = TypeVar("Value")
Source = Literal["store", "folder"]


class StoreReader:
    """Reader of a sweep, and of its trials' files, in a tracking store.

    All methods raise UserError if the store is missing or cannot be read, or lacks the sweep.
    """

    def __init__(self, home: Home, uri: str, name: str) -> None:
        """Initialise the reader.

        Args:
            home: Home folder; a sweep whose folder is in it takes precedence over others of the same name.
            uri: URI of the store.
            name: Name of the sweep.
        """
        self._home, self._uri, self._name = home, uri, name

    def read(self, *, all_plans: bool = False, verdicts_only: bool = False) -> RecordedSweep:
        """Read the sweep from the store; see `SweepReader.read`."""
        with readable(self._home, self._uri):
            client = store.reading_client(self._home, self._uri)
            located = lookup.of_home(client, self._home, self._uri, self._name)
            runs = located.runs(client)
            parent = next((run for run in runs if is_parent(run)), None)
            plan, file = self._attached(parent, tolerant=verdicts_only)
            objective = ranking_in(plan).metric
            wanted: Wanted = {*METRICS, objective}.__contains__ if verdicts_only else lambda _: True
            trials, earlier = _trials(client, self._uri, runs, wanted, plan, all_plans)
        return RecordedSweep(
            self._name,
            self,
            file,
            plan,
            context.of_tags(parent.data.tags) if parent else Provenance(),
            trials,
            self._uri,
            located.experiment_id,
            parent.info.run_id if parent else "",
            earlier,
        )

    def samples(self, trials: Sequence[RecordedTrial]) -> list[tuple[RecordedTrial, int, str]]:
        """Return (trial, step, name) of every sample grid; see `Files.samples`.

        Names are paths among the artifacts of the trial's run.
        """
        with readable(self._home, self._uri), ThreadPoolExecutor(THREADS) as pool:
            listed = pool.map(lambda one: artifacts.repository(self._uri, one.place).list_artifacts(IMAGES), trials)
            found = []
            for trial, files in zip(trials, listed, strict=True):
                grids = [(GRID.fullmatch(file.path), file.path) for file in files]
                # The last by name is the newest, if a copied folder has sent a step twice.
                steps = {int(match["step"]): path for match, path in sorted(grids, key=itemgetter(1)) if match}
                found += [(trial, step, path) for step, path in sorted(steps.items())]
            return found

    def content(self, trial: RecordedTrial, name: str) -> bytes | None:
        """Return the content of an artifact of the trial's run; see `Files.content`."""
        with readable(self._home, self._uri):
            return artifacts.content(artifacts.repository(self._uri, trial.place), name)

    def _attached(self, parent: Run | None, *, tolerant: bool) -> tuple[dict[str, Any], str]:
        """Return the plan and the sweep file from the parent run's artifacts; empty if they are missing.

        `tolerant`: whether they are also empty if artifacts cannot be accessed.
        """
        plan: dict[str, Any] = {}
        file = ""
        with suppress(*([Exception] if tolerant else [])):  # error types differ between repositories
            plan = json.loads(_attached(self._uri, parent, "plan.json") or "{}")
            file = _attached(self._uri, parent, "sweep.yaml").decode(errors="replace")
        return plan, file


def where(home: Home, sweep: str, given: str | None) -> str:
    """Return the URI of the store to read a sweep from.

    This is the given one, else the store that the sweep was sent to if its folder is in the home, else the home's own.

    Raises:
        UserError: The server does not answer, or the URI is not that of a tracking store.
    """
    recorded = (places.recorded(home, folder) for folder in home.sweeps() if folder.name == sweep)
    uri = store.take_password(given or next(recorded, None) or store.local_uri(home))
    store.check(uri)
    return uri


def reader_of(home: Home, name: str, source: Source, uri: str | None = None) -> SweepReader:
    """Return the reader of a sweep.

    Args:
        source: "store" or "folder".
        uri: URI of the store to read. Defaults to the store that the sweep was sent to, else the home's own.

    Raises:
        UserError: The home lacks the sweep, the server does not answer, or `uri` is not a tracking store.
    """
    return FolderReader(home, name) if source == "folder" else StoreReader(home, where(home, name, uri), name)


@contextmanager
def readable(home: Home, uri: str) -> Iterator[None]:
    """Context manager that raises UserError if a store cannot be read or is missing (MLflow would create it)."""
    file = places.file_of(uri)
    if file and not file.exists():
        raise UserError(f"{store.called(home, uri)}: nothing is recorded yet; `gansweep run FILE` comes first")
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
    """Whether the run is that of a trial."""
    return "gansweep.trial_id" in run.data.tags


def is_parent(run: Run) -> bool:
    """Whether the run is the parent run of a sweep."""
    tags = run.data.tags
    return "gansweep.sweep" in tags and "mlflow.parentRunId" not in tags and not is_trial(run)


def _trials(
    client: MlflowClient,
    uri: str,
    runs: Sequence[Run],
    wanted: Wanted,
    plan: Mapping[str, Any],
    all_plans: bool,
) -> tuple[list[RecordedTrial], int]:
    """Return the trials in the order of their start, and the number of trials of earlier plans."""
    content = b""
    with suppress(Exception):  # artifacts cannot be accessed; error types differ between repositories
        content = _attached(uri, next((run for run in runs if is_parent(run)), None), summary.NAME)
    known = summary.of_runs(runs, content)
    # If the plan is unknown, all trials are included.
    earlier = {run_id for run_id, one in known.items() if "trials" in plan and one.id not in plan["trials"]}
    shown = known.keys() if all_plans else known.keys() - earlier
    runs = [run for run in runs if run.info.run_id in shown]
    runs.sort(key=lambda run: (run.info.start_time, known[run.info.run_id].id))
    metrics = journal_copies.read(uri, runs, wanted) if store.is_server(uri) else {}
    metrics |= bulk.read(client, uri, [run for run in runs if run.info.run_id not in metrics], wanted)
    found = []
    for run in runs:
        run_id, told = run.info.run_id, known[run.info.run_id]
        inferred = {DEVICE: LABELS[GPU if GPU_MEMORY in metrics[run_id] else CPU]} if metrics[run_id] else {}
        found.append(
            RecordedTrial(
                run_id,
                told,
                {**inferred, **settings_of(run.data.params, told)},  # version 0.1.0 did not record the device
                parameters_of(run.data.params),
                named(metrics[run_id], told.real_shares),
                run.info.start_time,
                run.info.artifact_uri,
                run_id not in earlier,
            )
        )
    return found, len(earlier)


def named(metrics: Mapping[str, Value], classes: Iterable[str]) -> dict[str, Value]:
    """Return metrics under their names instead of their keys in MLflow, in which long names are shortened.

    Args:
        metrics: Key in MLflow → value.
        classes: Names of the classes, which names of metrics may contain.
    """
    names = {metric_key(name): name for one in classes for name in (f"{family}{one}" for family in FAMILIES)}
    return {names.get(key, key): value for key, value in metrics.items()}


def _attached(uri: str, run: Run | None, path: str) -> bytes:
    """Return the content of a run's artifact; empty if it does not exist."""
    return (artifacts.content(artifacts.repository(uri, run.info.artifact_uri), path) if run else None) or b""
