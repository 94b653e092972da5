"""How much an MLflow server takes, on SQLite and on PostgreSQL: requests that carry metrics (`log_batch`), ten or a
thousand of them, from clients side by side; and whole trials of one step, from a publisher. server_s are CPU seconds of
the server's processes and the database's, which another load on the machine changes little.

python tests/benchmarks/servers.py [--workers N]

PostgreSQL runs without fsync, on the machine that asks and serves as well: what is measured is MLflow's own work.
"""

from __future__ import annotations

import argparse
import json
import os
import socket
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "support"))
import psutil
import requests
from bench import Bench
from mlflow import MlflowClient
from mlflow.entities import Metric
from postgres import Postgres
from tracking_server import TrackingServer

from gansweep.health.metrics import TRAINING
from gansweep.records.layout import Home
from gansweep.records.outcome import Outcome
from gansweep.tracking import store
from gansweep.tracking.publisher import Publisher

CLIENTS, METRICS, LASTS_S, TRIALS = (1, 4), (10, 1_000), 8.0, 50


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def served(folder: Path, backend: str, workers: int) -> Iterator[str]:
    """An MLflow server on a fresh database: its URI."""
    server = TrackingServer(backend, (folder / "artifacts").as_uri(), "127.0.0.1", free_port(), {}, workers)
    server.start()
    try:
        server.wait()
        yield server.uri
    finally:
        server.kill()


def requests_of(uri: str, clients: int, metrics: int) -> dict[str, float]:
    """Measure requests of `clients` clients, each with its own run and `metrics` metrics per request."""
    experiment = MlflowClient(uri).create_experiment(f"{clients} of {metrics}")

    def send(number: int) -> int:
        client, sent = MlflowClient(uri), 0
        run = client.create_run(experiment).info.run_id
        until = time.perf_counter() + LASTS_S
        while time.perf_counter() < until:
            records = [Metric(f"metric_{n % 10}", 1.0 + n, sent, sent * metrics + n // 10) for n in range(metrics)]
            client.log_batch(run, metrics=records)
            sent += 1
        return sent

    before, began = server_s(), time.perf_counter()
    with ThreadPoolExecutor(clients) as pool:
        sent = sum(pool.map(send, range(clients)))
    return {"per_s": sent / (time.perf_counter() - began), "server_s": (server_s() - before) / sent}


def server_s() -> float:
    """CPU seconds of all processes that this one began."""
    return sum(sum(process.cpu_times()[:2]) for process in psutil.Process().children(recursive=True))


def trials(uri: str, folder: Path) -> dict[str, float]:
    """Seconds and requests of a trial that has ended, sent by a publisher: no samples and no checkpoint among them."""
    bench = Bench(Home(folder), "many")
    for number in range(TRIALS):
        bench.trial(f"{number:012x}", [dict.fromkeys(TRAINING, 1.0)], Outcome("completed", 30))
    publisher = Publisher(bench.home, bench.folder, uri, {})
    publisher.connect()
    with counting() as count:
        before, began = server_s(), time.perf_counter()
        publisher.publish(running=True)
        seconds, cpu = time.perf_counter() - began, server_s() - before
    return {"s": seconds / TRIALS, "server_s": cpu / TRIALS, "requests": count() / TRIALS}


@contextmanager
def counting() -> Iterator[Callable[[], int]]:
    """How many requests this process has made since."""
    made, original = [0], requests.Session.send

    def send(*arguments: object, **more: object) -> requests.Response:
        made[0] += 1
        return original(*arguments, **more)  # type: ignore[arg-type]

    requests.Session.send = send  # type: ignore[method-assign]
    try:
        yield lambda: made[0]
    finally:
        requests.Session.send = original  # type: ignore[method-assign]


def measured(folder: Path, backend: str, workers: int) -> dict[str, object]:
    with served(folder, backend, workers) as uri:
        batches = {f"{m} metrics, {c} clients": requests_of(uri, c, m) for m in METRICS for c in CLIENTS}
        return {**batches, "a trial": trials(uri, folder / "home")}


def main(workers: int) -> None:
    os.environ["MLFLOW_HTTP_REQUEST_TIMEOUT"] = "120"  # ours is 5 s, which eight clients at a time may exceed
    store.quiet()
    with tempfile.TemporaryDirectory(prefix="gansweep-") as scratch:
        folder = Path(scratch)
        folder.chmod(0o755)  # PostgreSQL's account looks into it
        for name in ("sqlite", "postgresql"):
            (folder / name).mkdir()
        found = {"sqlite": measured(folder / "sqlite", f"sqlite:///{folder / 'sqlite' / 'mlflow.db'}", workers)}
        database = Postgres(folder / "database", "127.0.0.1", free_port())
        try:
            found["postgresql"] = measured(folder / "postgresql", database.uri, workers)
        finally:
            database.stop()
    print(json.dumps({"workers": workers, **found}, indent=1))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--workers", type=int, default=1, help="of the server")
    main(parser.parse_args().workers)
