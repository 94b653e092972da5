"""How long a large sweep takes to be read, from its SQLite file and from an MLflow server on it: with its trials'
journals behind the server (`server`), beside the reader as with `gansweep ui` on its machine (`ui`), and without them
(`server_without`), as of runs that go on or that an older version sent.

    python tests/benchmarks/reading.py [RUNS METRICS POINTS] [--workers N] [--folder FOLDER]

The store is filled by hand: through MLflow that takes an hour. Each reading is a whole process, imports included.
"""

from __future__ import annotations

import argparse
import json
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1] / "support"))
from bench import Bench, empty_home
from tracking_server import tracking_server

from gansweep.health.metrics import EVALUATION, STEPS_PER_S, TRAINING
from gansweep.records.layout import Home
from gansweep.records.outcome import Outcome
from gansweep.tracking import journal_copies

SWEEP, EVERY = "large", 5  # steps between two records
METRICS = (*TRAINING, *EVALUATION[:3], STEPS_PER_S, *EVALUATION[3:])
READ = """
import json, sys, time
began = time.perf_counter()
from gansweep import read_sweep
tables = read_sweep(sys.argv[1], home=sys.argv[2], tracking_uri=sys.argv[3])
points = len(tables.histories) + int(tables.evaluations.iloc[:, 4:].notna().to_numpy().sum())
print(json.dumps({"s": time.perf_counter() - began, "trials": len(tables.trials), "points": points}))
"""


def fill(home: Home, runs: int, metrics: int, points: int) -> None:
    """One trial is sent as ever; the others are copies of its rows, with metrics and journals of their own."""
    bench, names = Bench(home, SWEEP), METRICS[:metrics]
    ended = Outcome("completed", points * EVERY)
    bench.trial("0" * 12, [dict.fromkeys(names, 1.0)], ended, steps=points * EVERY)
    bench.publish()
    first = bench.runs()["0" * 12].info.run_id
    with closing(sqlite3.connect(home.database)) as database:
        for number in range(1, runs):
            copy(database, first, f"{number:032x}", f"{number:012x}")
        database.execute("DELETE FROM metrics")
        for number, run_id in enumerate([first, *(f"{number:032x}" for number in range(1, runs))]):
            values = np.random.default_rng(number).lognormal(size=(points, metrics)).tolist()
            record(database, home.artifacts / SWEEP / run_id / "artifacts", run_id, names, values)
        database.commit()


def copy(database: sqlite3.Connection, run_id: str, new: str, trial: str) -> None:
    for table in ("runs", "tags", "params", "latest_metrics"):
        columns = [row[1] for row in database.execute(f"PRAGMA table_info({table})")]
        values = ", ".join("?1" if column == "run_uuid" else f'"{column}"' for column in columns)
        database.execute(f"INSERT INTO {table} SELECT {values} FROM {table} WHERE run_uuid = ?2", (new, run_id))
    database.execute("UPDATE tags SET value = ? WHERE key = 'gansweep.trial_id' AND run_uuid = ?", (trial, new))
    database.execute("UPDATE runs SET artifact_uri = replace(artifact_uri, ?2, ?1) WHERE run_uuid = ?1", (new, run_id))


def record(
    database: sqlite3.Connection, artifacts: Path, run_id: str, names: tuple[str, ...], values: list[list[float]]
) -> None:
    """The same into the tables and into a journal, as the publisher does."""
    lines = []
    for number, row in enumerate(values, 1):
        step, at_ms = number * EVERY, 1_700_000_000_000 + number * 1_000
        rows = ((name, value, at_ms, run_id, step, 0) for name, value in zip(names, row, strict=True))
        database.executemany("INSERT INTO metrics VALUES (?, ?, ?, ?, ?, ?)", rows)
        lines.append(json.dumps({"step": step, "time": at_ms / 1000, "values": dict(zip(names, row, strict=True))}))
    journal = "".join(f"{line}\n" for line in lines).encode()
    artifacts.mkdir(parents=True, exist_ok=True)
    (artifacts / journal_copies.NAME).write_bytes(journal_copies.pack(journal))
    tag = (journal_copies.digest(journal), journal_copies.TAG, run_id)
    database.execute("UPDATE tags SET value = ? WHERE key = ? AND run_uuid = ?", tag)
    latest = ((value, step, at_ms, name, run_id) for name, value in zip(names, values[-1], strict=True))
    query = "UPDATE latest_metrics SET value = ?, step = ?, timestamp = ? WHERE key = ? AND run_uuid = ?"
    database.executemany(query, latest)


@contextmanager
def changed(home: Home, table: str, column: str, old: str, new: str) -> Iterator[None]:
    """A text is another one for a while."""
    query = f"UPDATE {table} SET {column} = replace({column}, ?, ?)"
    try:
        with closing(sqlite3.connect(home.database)) as database, database:
            database.execute(query, (old, new))
        yield
    finally:
        with closing(sqlite3.connect(home.database)) as database, database:
            database.execute(query, (new, old))


def reading(home: Home, uri: str) -> dict[str, float]:
    done = subprocess.run(
        [sys.executable, "-c", READ, SWEEP, str(home.path), uri], stdout=subprocess.PIPE, check=True, text=True
    )
    found: dict[str, float] = json.loads(done.stdout)
    return found


def main(runs: int, metrics: int, points: int, workers: int, folder: Path) -> None:
    home = Home(folder / "home")
    if not home.database.exists():
        began = time.perf_counter()
        fill(empty_home(home.path), runs, metrics, points)
        print(f"filled in {time.perf_counter() - began:.0f} s", file=sys.stderr)
    found = {"sqlite": reading(home, f"sqlite:///{home.database}")}
    with tracking_server(home, workers) as uri:
        found["ui"] = reading(home, uri)
        with changed(home, "runs", "artifact_uri", home.artifacts.as_uri(), "mlflow-artifacts:"):
            found["server"] = reading(home, uri)
        with changed(home, "tags", "key", journal_copies.TAG, "hidden"):
            found["server_without"] = reading(home, uri)
    print(json.dumps({"runs": runs, "metrics": metrics, "points": points, "workers": workers, **found}))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("sizes", nargs="*", type=int, default=[1_000, 10, 200], metavar="N")
    parser.add_argument("--workers", type=int, default=1, help="of the server")
    parser.add_argument("--folder", type=Path, help="keeps the store for the next time")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="gansweep-") as scratch:
        runs, metrics, points = given.sizes
        main(runs, metrics, points, given.workers, given.folder or Path(scratch))
