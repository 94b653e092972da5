"""Journals that lie among the artifacts of a real server: read as the server's own metrics, or not at all."""

from __future__ import annotations

import gzip
import json
import math
import shutil
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import pytest
import stored
from bench import BEGAN, STEPS, Bench, append, losses, sound
from mlflow import MlflowClient
from mlflow.entities import Run

from gansweep.errors import UserError
from gansweep.records import lock, outcome
from gansweep.records.layout import read_json, write_json
from gansweep.records.outcome import Outcome
from gansweep.sweeps.points import Points
from gansweep.tracking import artifacts, bulk, journal_copies
from gansweep.tracking.publisher import Publisher

NAN, INF, LARGEST = math.nan, math.inf, 1.7976931348623157e308
ODD = (1.0, NAN, INF, -INF, LARGEST, -LARGEST, 3.4e38, 0.1 + 0.2, 7, -0.0, 5e-324)
ENDED = Outcome("completed", STEPS, time=BEGAN + STEPS)


def publish(bench: Bench, uri: str) -> Publisher:
    made = Publisher(bench.home, bench.folder, uri, {})
    made.publish(running=True)
    return made


def runs_of(bench: Bench) -> list[Run]:
    return [run for name, run in bench.runs().items() if name != "parent"]


def as_text(found: dict[str, dict[str, Points]]) -> dict[str, dict[str, str]]:
    """NaN equals NaN, and 0.0 is not -0.0."""
    return {
        run: {name: repr([p.steps.tolist(), p.times_ms.tolist(), p.values.tolist()]) for name, p in metrics.items()}
        for run, metrics in found.items()
    }


def copied(bench: Bench, server: str) -> set[str]:
    """The trials that are read from copies, which are as the server has it."""
    runs = {run.info.run_id: run for run in runs_of(bench)}
    found = journal_copies.read(server, [*runs.values()], lambda _: True)
    there = bulk.read(MlflowClient(server), server, [runs[run_id] for run_id in found], lambda _: True)
    assert as_text(found) == as_text(there)
    assert [[*metrics] for metrics in found.values()] == [[*there[run_id]] for run_id in found]
    return {runs[run_id].data.tags["gansweep.trial_id"] for run_id in found}


@pytest.mark.parametrize("way", ["behind the server", "beside the reader"])
def test_a_copy_is_read_as_the_server_has_it(bench: Bench, server: str, way: str) -> None:
    bench.trial("sound", sound(STEPS), ENDED)
    for last in range(len(ODD)):  # each of them is the latest once
        bench.trial(f"odd-{last}", [{"loss_d": v, "class_share/a b": v} for v in (*ODD, ODD[last])], ENDED)
    twice = bench.trial("twice", losses(3))
    with twice.journal.open("a") as file:
        file.write(json.dumps({"step": 2, "time": BEGAN + 9.0009, "values": {"loss_d": 9.0, "late": 1.0}}) + "\n")
        file.write(json.dumps({"step": 4, "time": BEGAN + 9.9999, "values": {"loss_d": 4.0}}) + "\n")
        file.write('{"step": 5, "ti')  # torn
    outcome.write(twice, Outcome("crashed", 3, "OSError: no"))
    bench.trial("stopped", losses(3), Outcome("stopped", 3, "asha: no", (), "asha"))
    bench.trial("empty", None, Outcome("crashed", 0, "OSError: no"))
    publish(bench, server if way == "behind the server" else bench.uri)
    assert copied(bench, server) == {"sound", *(f"odd-{i}" for i in range(len(ODD))), "twice", "stopped", "empty"}
    (run,) = [run for run in runs_of(bench) if run.data.tags["gansweep.trial_id"] == "twice"]
    assert run.info.artifact_uri.startswith("mlflow-artifacts:" if way == "behind the server" else "file:")
    found = journal_copies.read(server, [run], "loss_d".__eq__)[run.info.run_id]["loss_d"]
    assert (found.steps.tolist(), found.values.tolist()) == ([1, 2, 3, 4], [1.0, 1 / 2, 1 / 3, 4.0])
    assert found.times_ms.tolist() == [1_700_000_000_000 + after for after in (1_000, 2_000, 3_000, 9_999)]


def test_trials_that_go_on_have_none(bench: Bench, server: str) -> None:
    bench.trial("interrupted", losses(3))
    bench.trial("asked", losses(3), Outcome("interrupted", 3, "stopped on request"))
    trial = bench.trial("a", losses(3), ENDED)
    driver = publish(bench, server)
    assert copied(bench, server) == {"a"}
    with lock.acquire(trial.lock):
        trial.outcome.unlink()
        driver.publish(running=True)
        assert copied(bench, server) == set()
        assert bench.runs()["a"].data.tags[journal_copies.TAG] == ""
        append(trial, losses(2))
    driver.publish(running=True)
    assert copied(bench, server) == set()
    outcome.write(trial, Outcome("completed", STEPS, time=BEGAN + 99))
    driver.publish(running=True)
    assert copied(bench, server) == {"a"}
    assert (
        len(journal_copies.read(server, runs_of(bench), lambda _: True)[bench.runs()["a"].info.run_id]["loss_d"].steps)
        == 5
    )


@pytest.mark.parametrize("method", ["log_batch", "log_artifact"])
def test_an_end_that_is_being_sent(bench: Bench, server: str, monkeypatch: pytest.MonkeyPatch, method: str) -> None:
    """A second run of the trial that was not seen: even if little of it is in the store, the first run's copy is not
    read.
    """
    trial = bench.trial("a", losses(3), ENDED)
    publish(bench, server)
    append(trial, losses(2))
    outcome.write(trial, Outcome("completed", STEPS, time=BEGAN + 99))
    original = getattr(MlflowClient, method)

    def gone(self: MlflowClient, run_id: str, *rest: Any, **more: Any) -> None:
        if more.get("metrics") or any(str(path).endswith(journal_copies.NAME) for path in rest):
            raise ConnectionError("the store is gone")
        original(self, run_id, *rest, **more)

    with monkeypatch.context() as patch:
        patch.setattr(MlflowClient, method, gone)
        with pytest.raises(UserError, match="a: ConnectionError: the store is gone"):
            publish(bench, server)
    tags = bench.runs()["a"].data.tags
    assert (tags["gansweep.outcome"], tags[journal_copies.TAG]) == ("completed", "")
    assert copied(bench, server) == set()
    publish(bench, server)
    assert copied(bench, server) == {"a"}


def test_a_copy_of_less_than_the_store_has(bench: Bench, server: str) -> None:
    """As of a home that was copied, where another goes on with the trial."""
    trial = bench.trial("a", losses(3), ENDED)
    bench.trial("b", losses(3), ENDED)
    publish(bench, server)
    MlflowClient(server).log_metric(read_json(trial.published)["run_id"], "loss_d", 0.1, 1_800_000_000_000, 4)
    assert copied(bench, server) == {"b"}
    MlflowClient(server).log_metric(read_json(trial.published)["run_id"], "loss_d", 1 / 3, 1_800_000_000_000, 5)
    MlflowClient(server).log_metric(read_json(trial.published)["run_id"], "other", 1.0, 1_800_000_000_000, 5)
    assert copied(bench, server) == {"b"}


DAMAGE: dict[str, Callable[[bytes], bytes | None]] = {
    "missing": lambda _: None,
    "empty": lambda _: b"",
    "cut off": lambda packed: packed[:-20],
    "no gzip": gzip.decompress,
    "a broken byte": lambda packed: packed[:40] + bytes([packed[40] ^ 255]) + packed[41:],
    "another": lambda packed: journal_copies.pack(gzip.decompress(packed).replace(b"0.5", b"0.6")),
}


@pytest.mark.parametrize("way", DAMAGE)
def test_without_a_sound_copy_the_metrics_are_asked_for(bench: Bench, server: str, way: str) -> None:
    for name in "abc":
        bench.trial(name, losses(3), ENDED)
    publish(bench, server)
    expected = stored.trials(bench.home, server, bench.folder.name)
    run_id = read_json(bench.folder.trial("b").published)["run_id"]
    (copy,) = (path for path in bench.home.artifacts.rglob(journal_copies.NAME) if run_id in path.parts)
    damaged = DAMAGE[way](copy.read_bytes())
    copy.unlink()
    if damaged is not None:
        copy.write_bytes(damaged)
    assert copied(bench, server) == {"a", "c"}
    found = stored.trials(bench.home, server, bench.folder.name)
    assert [repr(trial) for trial in found] == [repr(trial) for trial in expected]
    assert [len(trial.history["loss_d"]) for trial in found] == [3, 3, 3]


def test_artifacts_out_of_reach_are_not_asked_for_again_and_again(
    bench: Bench, server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(30):
        bench.trial(f"{number:02}", losses(1), ENDED)
    publish(bench, bench.uri)
    asked = []

    def unreachable(*arguments: object) -> None:
        asked.append(arguments)
        raise ConnectionError("no keys")

    monkeypatch.setattr(artifacts, "content", unreachable)
    assert copied(bench, server) == set()
    assert len(asked) < 30
    assert len(stored.trials(bench.home, server, bench.folder.name)) == 30


def test_a_server_is_asked_for_the_metrics_of_no_run_that_has_a_copy(
    bench: Bench, server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench.trial("a", losses(3), ENDED)
    bench.trial("b", losses(3))
    publish(bench, bench.uri)
    asked: list[str] = []
    original = bulk.read

    def spy(client: MlflowClient, uri: str, runs: list[Run], wanted: bulk.Wanted) -> object:
        asked.extend(run.data.tags["gansweep.trial_id"] for run in runs)
        return original(client, uri, runs, wanted)

    monkeypatch.setattr(bulk, "read", spy)
    assert [len(trial.history["loss_d"]) for trial in stored.trials(bench.home, server, bench.folder.name)] == [3, 3]
    assert asked == ["b"]
    asked.clear()
    assert len(stored.trials(bench.home, bench.uri, bench.folder.name)) == 2
    assert asked == ["a", "b"], "a file is quicker"


def test_a_copy_is_sent_once_and_is_the_same_at_every_try(bench: Bench, server: str) -> None:
    trial = bench.trial("a", sound(STEPS), ENDED)
    publish(bench, server)
    first = stored.artifact(bench.home, server, bench.folder.name, "a", journal_copies.NAME)
    assert first is not None
    assert gzip.decompress(first) == trial.journal.read_bytes()
    before = bench.everything()
    publish(bench, server)
    assert bench.everything() == before
    trial.published.unlink()
    publish(bench, server)
    assert bench.everything() == before
    assert stored.artifact(bench.home, server, bench.folder.name, "a", journal_copies.NAME) == first


def test_artifacts_that_a_server_lost_are_sent_again(bench: Bench, server: str) -> None:
    """One list of the runs that have any tells which; a single file that is missing is found by comparing all."""
    for name in ("gone", "part"):
        trial = bench.trial(name, sound(STEPS), ENDED)
        trial.checkpoints.mkdir()
        trial.checkpoint(STEPS).write_bytes(b"weights")
    publish(bench, server)
    before = bench.everything()
    places = {name: run.info.artifact_uri for name, run in bench.runs().items()}
    folders = {name: bench.home.artifacts / place.partition(":/")[2] for name, place in places.items()}
    shutil.rmtree(folders["gone"].parent)
    (folders["part"] / journal_copies.NAME).unlink()
    publish(bench, server)
    assert (folders["gone"] / journal_copies.NAME).exists()
    assert not (folders["part"] / journal_copies.NAME).exists()
    Publisher(bench.home, bench.folder, server, {}).publish(running=True, verify=True)
    assert bench.everything() == before
    assert copied(bench, server) == {"gone", "part"}


def test_what_an_older_version_sent_gets_its_copy(bench: Bench, server: str) -> None:
    trial = bench.trial("a", losses(3), ENDED)
    publish(bench, server)
    note: dict[str, Any] = read_json(trial.published)
    bench.client.delete_tag(note["run_id"], journal_copies.TAG)
    del note["journal"], note["tags"][journal_copies.TAG]
    write_json(trial.published, note)
    assert copied(bench, server) == set()
    publish(bench, server)
    assert copied(bench, server) == {"a"}


def test_who_asks_is_named_as_mlflow_says_it(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []

    class Guard(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            seen.append((self.headers["Authorization"], self.path))
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b"content")

        def log_message(self, *_: object) -> None:
            pass

    monkeypatch.setenv("MLFLOW_TRACKING_TOKEN", "sesame")
    with HTTPServer(("127.0.0.1", 0), Guard) as guard:
        threading.Thread(target=guard.serve_forever, daemon=True).start()
        where = artifacts.repository(f"http://127.0.0.1:{guard.server_port}", "mlflow-artifacts:/1/run/artifacts")
        assert artifacts.content(where, "images/a+b.png") == b"content"
        guard.shutdown()
    assert seen == [("Bearer sesame", "/api/2.0/mlflow-artifacts/artifacts/1/run/artifacts/images/a+b.png")]
