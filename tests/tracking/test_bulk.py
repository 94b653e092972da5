"""Metrics read by the thousand, from a file and from a real server: all as MLflow's own client has them."""

from __future__ import annotations

import json
import math
import sqlite3
import threading
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing
from http.server import BaseHTTPRequestHandler, HTTPServer

import numpy as np
import pytest
import stored
from bench import STEPS, Bench, losses, sound
from mlflow import MlflowClient
from mlflow.entities import Run

from gansweep.errors import UserError
from gansweep.gan.sampling import grid_png
from gansweep.records import lock
from gansweep.records.layout import Home, write_atomically
from gansweep.records.outcome import Outcome
from gansweep.sweeps.points import Points
from gansweep.tracking import artifacts, bulk, reader
from gansweep.tracking.bulk import MOST_POINTS
from gansweep.tracking.publisher import Publisher

NAN, INF, LARGEST = math.nan, math.inf, 1.7976931348623157e308
Rows = list[tuple[int, int, float]]
ODD = (1.0, NAN, INF, -INF, LARGEST, 3.4e38, -0.0, 5e-324)
LONG = {"over": MOST_POINTS + 1, "full": MOST_POINTS, "third": 10_000, "fourth": 10_000, "fifth": 10_000}


@pytest.fixture(scope="module")
def filled(shared_home: Home) -> Iterator[Bench]:
    """Trials of every kind. Only to be looked at. The long series are gone afterwards: other tests read whole tables of
    this store."""
    bench = Bench(shared_home, "filled")
    bench.trial("sound", sound(STEPS), Outcome("completed", STEPS))
    bench.trial("odd", [{"loss_d": value, "class_share/a b": value, "val_loss_d": 1.0} for value in ODD])
    bench.trial("empty", [])
    bench.trial("renamed", [{"fd_ratio": 4.0}])
    for name in ("running", "twice", *LONG):
        bench.trial(name, losses(3))
    with lock.acquire(bench.folder.trial("running").lock):
        bench.publish(running=True)
    runs = {name: run.info.run_id for name, run in bench.runs().items()}
    later, earlier = 1_800_000_000_000, 1_600_000_000_000
    again = [(9.0, later, 1), (7.0, earlier, 2), (6.0, 1_700_000_003_000, 3), (8.0, earlier, 3), (5.0, earlier, 3)]
    for value, step in ((9.0, -2), (8.0, -1)):
        bench.client.log_metric(runs["renamed"], "cfd_ratio", value, earlier, step)
    insert(bench, "loss_g", {runs["twice"]: again, **{runs[name]: series(n) for name, n in LONG.items()}})
    yield bench
    with closing(sqlite3.connect(shared_home.database)) as database:
        database.executemany("DELETE FROM metrics WHERE run_uuid = ?", [(runs[name],) for name in LONG])
        database.commit()


def series(count: int) -> list[tuple[float, int, int]]:
    """(value, time, step) at steps far from those that there are."""
    return [(math.sin(i), 1_700_000_000_000 + 7 * i, 1_000 + i) for i in range(count - 3)]


def insert(bench: Bench, name: str, rows: Mapping[str, list[tuple[float, int, int]]]) -> None:
    with closing(sqlite3.connect(bench.home.database)) as database:
        for run_id, points in rows.items():
            values = [(name, value, at, run_id, step, 0) for value, at, step in points]
            database.executemany("INSERT INTO metrics VALUES (?, ?, ?, ?, ?, ?)", values)
        database.commit()


def by_client(bench: Bench, run: Run, names: Iterable[str]) -> dict[str, Rows]:
    """Metric → its points (step, time, value), as the client has them."""
    found = {}
    for name in names:
        points = sorted(bench.client.get_metric_history(run.info.run_id, name), key=lambda p: (p.step, p.timestamp))
        first = {p.step: (p.step, p.timestamp, p.value) for p in reversed(points)}
        rows = ((s, t, math.copysign(INF, v) if abs(v) >= LARGEST else v) for s, t, v in first.values())
        found[name] = sorted(rows)
    return found


def text(rows: Rows) -> str:
    """NaN equals NaN in a text."""
    return repr(rows)


def as_text(points: Points) -> str:
    return text([*zip(points.steps.tolist(), points.times_ms.tolist(), points.values.tolist(), strict=True)])


@pytest.fixture(scope="module")
def expected(filled: Bench) -> dict[str, dict[str, str]]:
    """Trial → metric → its points, by the client, which takes seconds for long series: those are as inserted."""
    runs = filled.runs()
    found = {name: by_client(filled, run, run.data.metrics) for name, run in runs.items() if name not in LONG}
    short = found["running"]  # what each long series begins with
    for name, count in LONG.items():
        found[name] = dict(short)
        found[name]["loss_g"] = [*short["loss_g"], *((step, at, value) for value, at, step in series(count))]
    return {name: {metric: text(rows) for metric, rows in metrics.items()} for name, metrics in found.items()}


@pytest.mark.slow
@pytest.mark.parametrize("way", ["file", "server"])
def test_every_value_is_that_of_the_client(
    filled: Bench, expected: dict[str, dict[str, str]], server: str, way: str
) -> None:
    uri = filled.uri if way == "file" else server
    runs = {name: run for name, run in filled.runs().items() if name != "renamed"}
    found = bulk.read(MlflowClient(uri), uri, [*runs.values()], lambda _: True)
    assert {*found} == {run.info.run_id for run in runs.values()}
    for name, run in runs.items():
        mine = {metric: as_text(points) for metric, points in found[run.info.run_id].items()}
        assert mine == expected[name], name
    odd = found[runs["odd"].info.run_id]["class_share/a b"].values
    assert odd == pytest.approx([1.0, NAN, INF, -INF, INF, 3.4e38, 0.0, 5e-324], rel=0, abs=0, nan_ok=True)
    assert found[runs["empty"].info.run_id] == {}
    assert found[runs["twice"].info.run_id]["loss_g"].values.tolist() == [1.0, 7.0, 5.0]
    assert {name: len(found[runs[name].info.run_id]["loss_g"].steps) for name in LONG} == LONG


def test_full_replies_of_a_server_cost_few_questions(
    filled: Bench, server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked, original = [], bulk._reply

    def spy(*arguments: object) -> object:
        asked.append(arguments)
        return original(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(bulk, "_reply", spy)
    runs = [run for name, run in filled.runs().items() if name in ("third", "fourth", "fifth")]
    bulk.read(MlflowClient(server), server, runs, "loss_g".__eq__)
    assert len(asked) == 2


def test_a_server_that_knows_no_bulk(
    filled: Bench, expected: dict[str, dict[str, str]], server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bulk, "ENDPOINT", "/ajax-api/2.0/mlflow/metrics/unheard-of")
    runs = {name: run for name, run in filled.runs().items() if name in ("odd", "sound", "empty")}
    found = bulk.read(MlflowClient(server), server, [*runs.values()], lambda _: True)
    for name, run in runs.items():
        assert {metric: as_text(points) for metric, points in found[run.info.run_id].items()} == expected[name]


@pytest.mark.parametrize("way", ["file", "server"])
def test_only_what_is_wanted_is_read(filled: Bench, server: str, way: str) -> None:
    uri = filled.uri if way == "file" else server
    run = filled.runs()["sound"]
    found = bulk.read(MlflowClient(uri), uri, [run], lambda name: name.startswith("loss"))
    assert {*found[run.info.run_id]} == {"loss_d", "loss_g"}


@pytest.mark.slow
@pytest.mark.parametrize("way", ["file", "server"])
def test_a_metric_of_two_names_is_one(filled: Bench, server: str, way: str) -> None:
    """Version 0.1.0 began the run, this one continued it."""
    uri = filled.uri if way == "file" else server
    run = filled.runs()["renamed"]
    found = bulk.read(MlflowClient(uri), uri, [run], lambda name: name == "fd_ratio")[run.info.run_id]
    assert {name: [*points.values] for name, points in found.items()} == {"fd_ratio": [9.0, 8.0, 4.0]}


def test_a_file_is_read_as_it_was_at_one_moment(bench: Bench) -> None:
    for name in ("a", "b"):
        bench.trial(name, losses(3))
    bench.publish()
    runs = [run for name, run in bench.runs().items() if name != "parent"]
    written: list[str] = []

    def wanted(name: str) -> bool:
        if not written:  # the first run is being read
            insert(bench, "loss_d", {run.info.run_id: series(10) for run in runs})
            written.append(name)
        return True

    with closing(sqlite3.connect(bench.home.database)) as writer:
        found = bulk.read(bench.client, bench.uri, runs, wanted)
        assert [len(found[run.info.run_id]["loss_d"].steps) for run in runs] == [3, 3]
        writer.execute("BEGIN IMMEDIATE")  # nor does a writer at work keep anybody waiting
        found = bulk.read(bench.client, bench.uri, runs, wanted)
    assert [len(found[run.info.run_id]["loss_d"].steps) for run in runs] == [10, 10]


def test_who_asks_is_named_as_mlflow_says_it(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    bench.trial("a", losses(1))
    bench.publish()
    seen = []

    class Guard(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            seen.append(self.headers["Authorization"])
            self.send_response(200)
            self.end_headers()
            self.wfile.write(json.dumps({"metrics": []}).encode())

        def log_message(self, *_: object) -> None:
            pass

    monkeypatch.setenv("MLFLOW_TRACKING_TOKEN", "sesame")
    with HTTPServer(("127.0.0.1", 0), Guard) as guard:
        threading.Thread(target=guard.serve_forever, daemon=True).start()
        uri = f"http://127.0.0.1:{guard.server_port}"
        bulk.read(MlflowClient(uri), uri, [bench.runs()["a"]], "loss_d".__eq__)
        guard.shutdown()
    assert seen == ["Bearer sesame"]


def test_a_sweep_behind_a_server(shared_home: Home, server: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its artifacts as well: this server hands them out itself."""
    bench = Bench(shared_home, "far-away")
    trial = bench.trial("a", sound(STEPS), Outcome("completed", STEPS))
    write_atomically(trial.sample(20), grid_png(np.zeros((4, 1, 8, 8), np.uint8)))
    Publisher(shared_home, bench.folder, server, {"gansweep.machine": "a bench"}).publish(running=False)
    assert reader.where(shared_home, "far-away", None) == server
    found = stored.sweep(shared_home, server, "far-away")
    assert (found.file, found.plan) == ("name: far-away\n", {"trials": ["a"]})
    assert found.trials[0].place.startswith("mlflow-artifacts:")
    ((run, step, path),) = found.files.samples(found.trials)
    assert (step, found.files.content(run, path)) == (20, trial.sample(20).read_bytes())
    assert found.files.content(run, "images/gone.png") is None
    assert found.files.content(run, "gone") is None
    assert [trial.id for trial in stored.trials(shared_home, server, "far-away")] == ["a"]

    def broken(*_: object) -> None:
        raise ConnectionError("lost")

    monkeypatch.setattr(artifacts, "_of_server", broken)
    with pytest.raises(UserError, match=r"the tracking store cannot be read \(lost\)"):
        found.files.content(run, path)
