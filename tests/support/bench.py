"""A sweep's folder that tests fill by hand, and a real SQLite store."""

from __future__ import annotations

import shutil
import sqlite3
from collections import Counter
from contextlib import closing, suppress
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from mlflow import MlflowClient
from mlflow.entities import Run
from sqlalchemy import Engine, event

from gansweep.health.metrics import TRAINING
from gansweep.records import outcome
from gansweep.records.journal import Journal, Record
from gansweep.records.layout import Home, TrialFolder, read_json, write_json
from gansweep.records.outcome import Outcome
from gansweep.tracking import store
from gansweep.tracking.publisher import Publisher

STEPS = 60
BEGAN = 1_700_000_000.0  # seconds; records follow one a second
TABLES = ("experiments", "runs", "tags", "params", "metrics", "latest_metrics")


@event.listens_for(Engine, "connect")
def _leave_writes_to_the_system(connection: object, _: object) -> None:
    """Let stores of this process not wait for the disk at each of thousands of commits: no test turns the power off."""
    if isinstance(connection, sqlite3.Connection):
        with suppress(sqlite3.DatabaseError):  # of a file that is no store
            connection.execute("PRAGMA synchronous = OFF")


@cache
def _made_store() -> TemporaryDirectory[str]:
    """A folder with a store that has its tables, and with no experiment but MLflow's own.

    Made once in each process, since MLflow's migrations take seconds; removed when the process ends.
    """
    folder = TemporaryDirectory(prefix="gansweep-store-")
    home = Home(Path(folder.name) / "home")
    home.path.mkdir()
    store.client(home, store.local_uri(home)).search_experiments()
    with (
        closing(sqlite3.connect(home.database)) as source,
        closing(sqlite3.connect(Path(folder.name) / "store.db")) as copy,
    ):
        source.backup(copy)
    return folder


def empty_home(path: Path) -> Home:
    """A home whose store has its tables, and nothing else."""
    home = Home(path)
    path.mkdir(parents=True)
    shutil.copyfile(Path(_made_store().name) / "store.db", home.database)
    return home


class Bench:
    """A sweep's folder that tests fill by hand, and its store."""

    def __init__(self, home: Home, name: str, uri: str | None = None) -> None:
        """uri: of a store that several homes use; the home's own by default."""
        self.home, self.folder, self.uri = home, home.sweep(name), uri or store.local_uri(home)
        self.client = MlflowClient(self.uri)
        self.folder.path.mkdir(parents=True)
        self.folder.source.write_text(f"name: {name}\n")
        write_json(self.folder.plan, {"trials": []})

    def trial(
        self, name: str, records: list[dict[str, float]] | None = None, ended: Outcome | None = None, **changes: Any
    ) -> TrialFolder:
        """PlannedTrial, opened once, with these records at steps 1, 2, … changes: to what trial.json holds."""
        folder = self.folder.trial(name)
        config = {"seed": 3, "training": {"learning_rate": 1e-4}, "dataset": {"path": None}}
        document = {"id": name, "sweep": self.folder.name, "varied": {"training.learning_rate": 1e-4}, "steps": STEPS}
        document |= {"config": config, "data": {"fingerprint": "f"}, "parameters": {"generator": 5}}
        document |= changes
        write_json(folder.trial, document)
        write_json(self.folder.plan, {"trials": [*read_json(self.folder.plan)["trials"], name]})
        if records is not None:
            folder.lock.touch()
            append(folder, records)
        if ended:
            outcome.write(folder, ended)
        return folder

    def publish(self, *, running: bool = False) -> Publisher:
        made = Publisher(self.home, self.folder, self.uri, {"gansweep.machine": "a bench"})
        made.publish(running=running)
        return made

    def runs(self) -> dict[str, Run]:
        """Trial id (or `parent`) → its run; fails where there are two."""
        found = self.client.search_runs([self.experiment()])
        names = [run.data.tags.get("gansweep.trial_id", "parent") for run in found]
        assert len(set(names)) == len(names), names
        return dict(zip(names, found, strict=True))

    def experiment(self) -> str:
        found = self.client.get_experiment_by_name(self.folder.name)
        assert found is not None
        return str(found.experiment_id)

    def stored(self, trial: TrialFolder) -> Counter[tuple[str, int]]:
        """(metric, step) → how often the store has it."""
        query = "SELECT key, step FROM metrics WHERE run_uuid = ?"
        with closing(sqlite3.connect(self.home.database)) as database:
            return Counter(database.execute(query, (self.runs()[trial.id].info.run_id,)).fetchall())

    def everything(self) -> dict[str, Any]:
        with closing(sqlite3.connect(self.home.database)) as database:
            rows = {table: sorted(map(repr, database.execute(f"SELECT * FROM {table}"))) for table in TABLES}
        files = sorted(str(p.relative_to(self.home.path)) for p in self.home.artifacts.rglob("*") if p.is_file())
        return {**rows, "files": files}


def append(folder: TrialFolder, records: list[dict[str, float]]) -> None:
    with Journal(folder.journal) as journal:
        for step, values in enumerate(records, journal.last_step + 1 if journal.last_step > 0 else 1):
            journal.append(Record(step, BEGAN + step, values))


def losses(count: int) -> list[dict[str, float]]:
    return [{"loss_d": 1 / step, "loss_g": float(step)} for step in range(1, count + 1)]


def sound(count: int, **changes: float) -> list[dict[str, float]]:
    """Every step evaluated, and nothing wrong but for these metrics."""
    steady = {
        "density": 0.9, "coverage": 0.9, "near_duplicates": 0.01, "ms_ssim": 1.0,
        "spread_across": 0.9, "spread_within": 0.9, "effective_classes": 9.5, "classes_missing": 0, "label_kl": 0.05,
        "d_auc": 0.9, "d_fresh": 0.3, "d_std": 1.0,
    }  # fmt: skip
    training = dict.fromkeys(TRAINING, 1.0)
    return [{**training, **steady, "fd_ratio": 200 / step, **changes} for step in range(1, count + 1)]
