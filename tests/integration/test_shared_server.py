"""Two people's homes, one MLflow server, one sweep name: killed, resumed, and one of them cleaned."""

from __future__ import annotations

import signal
import sqlite3
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any

import chaos
import pytest
from bench import empty_home
from facts import assert_states
from mlflow import MlflowClient
from mortal import train_apart
from scenes import prepare_digits
from service import Service
from tracking_server import tracking_server

from gansweep.records import journal
from gansweep.records.layout import Home, read_json

BY_RUN = ("runs", "tags", "params", "metrics", "latest_metrics")
BY_EXPERIMENT = ("experiments", "experiment_tags")


class Shared:
    """A server, its database and artifacts, and two homes that publish to it."""

    def __init__(self, root: Path, store: Home, uri: str) -> None:
        self.store, self.uri, self.client = store, uri, MlflowClient(uri)
        self.mine, self.theirs = (self._service(root / who) for who in ("mine", "theirs"))

    def _service(self, root: Path) -> Service:
        root.mkdir()
        service = Service(root, {"GANSWEEP_TRACKING_URI": self.uri, **chaos.environment(root)})
        prepare_digits(service.home)
        return service

    def experiment(self, service: Service) -> str:
        return str(read_json(service.folder().tracking)["experiment_id"])

    def assert_tracked_once(self, service: Service) -> None:
        """One parent run, one run for each trial, and each (metric, step) of the journals once."""
        runs = self.client.search_runs([self.experiment(service)])
        assert {run.data.tags["gansweep.sweep_id"] for run in runs} == {
            read_json(service.folder().path / "identity.json")["sweep_id"]
        }
        trials = {run.data.tags.get("gansweep.trial_id", "parent"): run.info.run_id for run in runs}
        assert len(trials) == len(runs) == 3
        for trial in service.folder().all_trials():
            expected = Counter((name, record.step) for record in journal.read(trial.journal) for name in record.values)
            with closing(sqlite3.connect(self.store.database)) as database:
                query = "SELECT key, step FROM metrics WHERE run_uuid = ?"
                assert Counter(database.execute(query, (trials[trial.id],)).fetchall()) == expected

    def everything_of(self, service: Service) -> dict[str, Any]:
        """All rows and files of its experiment, as they are stored."""
        experiment = self.experiment(service)
        of_runs = f"run_uuid IN (SELECT run_uuid FROM runs WHERE experiment_id = {experiment})"
        queries = {table: f"SELECT * FROM {table} WHERE {of_runs}" for table in BY_RUN}
        queries |= {table: f"SELECT * FROM {table} WHERE experiment_id = {experiment}" for table in BY_EXPERIMENT}
        with closing(sqlite3.connect(self.store.database)) as database:
            rows = {table: sorted(database.execute(query), key=repr) for table, query in queries.items()}
        place = self.store.artifacts / experiment
        files = {str(path): path.read_bytes() for path in place.rglob("*") if path.is_file()}
        assert rows["metrics"]
        assert files
        return {**rows, "files": files}


@pytest.fixture
def shared(tmp_path: Path) -> Iterator[Shared]:
    store = empty_home(tmp_path / "store")
    with tracking_server(store) as uri:
        yield Shared(tmp_path, store, uri)


def both(shared: Shared, files: dict[Path, Service]) -> list[int]:
    """Train the sweeps of both homes at the same time, each in a process without Ray, and return their exit codes.

    Args:
        files: Sweep file → whose it is.
    """
    with ThreadPoolExecutor() as threads:
        return [
            *threads.map(lambda file: train_apart(files[file].home, file, files[file].environment, shared.uri), files)
        ]


@pytest.mark.slow
def test_two_homes_with_one_sweep_name_stay_apart(shared: Shared) -> None:
    """One learning rate is common to both, so both have a trial with the same id. Both are killed when records were
    sent and not yet noted."""
    mine, theirs = shared.mine, shared.theirs
    files = {
        mine.write(steps=40, rates="[1e-4, 1e-3]", stop="none"): mine,
        theirs.write(steps=40, rates="[1e-3, 2e-3]", stop="none"): theirs,
    }
    for service in (mine, theirs):
        Path(service.environment["CHAOS_ORDER"]).write_text("published")
    assert both(shared, files) == [-signal.SIGKILL] * 2
    assert both(shared, files) == [0, 0]
    for service in (mine, theirs):
        shared.assert_tracked_once(service)
    (common,) = {t.id for t in mine.folder().planned()} & {t.id for t in theirs.folder().planned()}
    assert mine.folder().trial(common).journal.exists()
    afar = ("status", "small", "--tracking-uri", shared.uri)
    _, err = mine.ask(*afar, code=1)
    assert_states(err, "'small'", "2 sweeps", "small-")

    before = shared.everything_of(mine)
    theirs.ask("clean", "small", "--yes")
    assert shared.everything_of(mine) == before
    shared.assert_tracked_once(mine)
    out, _ = theirs.ask(*afar)
    assert "2 trials: 2 completed" in out
