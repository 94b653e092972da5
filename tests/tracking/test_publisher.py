"""Trial folders → a real SQLite store: whatever is sent again is stored once."""

from __future__ import annotations

import math
import sqlite3
from collections import Counter
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest
from bench import BEGAN, STEPS, Bench, append, losses
from mlflow import MlflowClient
from PIL import Image

from gansweep.health.verdict import Verdict
from gansweep.records import lock
from gansweep.records.layout import read_json
from gansweep.records.outcome import Outcome
from gansweep.tracking import publisher
from gansweep.tracking.publisher import BATCH, Publisher


@contextmanager
def batches(monkeypatch: pytest.MonkeyPatch, fail_at: int | None = None) -> Iterator[list[int]]:
    """Sizes of the metric batches that are sent; the one with number `fail_at` finds no store."""
    sizes: list[int] = []
    original = MlflowClient.log_batch

    def log_batch(self: MlflowClient, run_id: str, metrics: Any = (), *rest: Any, **more: Any) -> Any:
        if metrics:
            if len(sizes) == fail_at:
                raise ConnectionError("the store is gone")
            sizes.append(len(metrics))
        return original(self, run_id, metrics, *rest, **more)

    with monkeypatch.context() as patch:
        patch.setattr(MlflowClient, "log_batch", log_batch)
        yield sizes


def test_publishing_again_changes_nothing(bench: Bench) -> None:
    trial = bench.trial("a", losses(STEPS), Outcome("completed", STEPS))
    trial.samples.mkdir()
    Image.new("L", (16, 16)).save(trial.sample(STEPS))
    trial.checkpoints.mkdir()
    trial.checkpoint(STEPS).write_bytes(b"weights")
    bench.publish().publish(running=False)
    before = bench.everything()
    assert sum("+step+30+" in file for file in before["files"] if bench.folder.name in file) == 2
    bench.publish()
    assert bench.everything() == before
    assert publisher.is_current(bench.folder, bench.uri)


def test_a_lost_note_makes_no_second_run(bench: Bench) -> None:
    trial = bench.trial("a", losses(STEPS), Outcome("completed", STEPS))
    bench.publish()
    run = bench.runs()["a"].info.run_id
    before = bench.everything()
    trial.published.unlink()
    bench.folder.tracking.unlink()
    assert not publisher.is_current(bench.folder, bench.uri)
    bench.publish()
    assert bench.everything() == before
    assert read_json(trial.published)["run_id"] == run
    assert set(bench.stored(trial).values()) == {1}


def test_only_what_is_new_is_sent(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    trial = bench.trial("a", losses(10))
    with batches(monkeypatch) as sizes:
        bench.publish(running=True)
        append(trial, losses(5))
        trial.journal.open("a").write('{"step": 16, "ti')  # a line in the making
        assert not publisher.is_current(bench.folder, bench.uri)
        bench.publish(running=True)
        bench.publish(running=True)
    assert sizes == [20, 10]
    assert bench.stored(trial) == Counter((name, step) for name in ("loss_d", "loss_g") for step in range(1, 16))


def test_many_metrics_go_in_batches_that_split_no_record(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    records = [{f"m{i}": float(step) for i in range(7)} for step in range(1, 301)]  # 2,100 metrics
    trial = bench.trial("a", records)
    with batches(monkeypatch) as sizes:
        bench.publish(running=True)
    assert sizes == [994, 994, 112]
    assert max(sizes) <= BATCH
    assert len(bench.stored(trial)) == 2_100


def test_a_store_that_goes_away_between_two_batches(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    trial = bench.trial("a", [{f"m{i}": float(step) for i in range(7)} for step in range(1, 301)])
    with batches(monkeypatch, fail_at=1), pytest.raises(ConnectionError):
        bench.publish(running=True)
    assert 0 < read_json(trial.published)["offset"] < trial.journal.stat().st_size
    assert len(bench.stored(trial)) == 994
    with batches(monkeypatch) as sizes:
        bench.publish(running=True)
    assert sizes == [994, 112], "the first batch is not sent again"
    stored = bench.stored(trial)
    assert (len(stored), set(stored.values())) == (2_100, {1})


def test_numbers_that_are_not_finite_arrive_as_they_are(bench: Bench) -> None:
    trial = bench.trial("a", [{"loss_d": math.nan, "loss_g": math.inf}, {"loss_d": -math.inf, "loss_g": math.nan}])
    bench.publish(running=True)
    trial.published.unlink()
    bench.publish(running=True)
    run = bench.runs()["a"].info.run_id
    d, g = (bench.client.get_metric_history(run, name) for name in ("loss_d", "loss_g"))
    assert (len(d), len(g)) == (2, 2)
    assert math.isnan(d[0].value)
    assert math.isnan(g[1].value)
    assert d[1].value < -1e308, "SQLite has no infinity; MLflow stores its largest number"
    assert g[0].value > 1e308


def test_each_state_has_a_status_of_its_own(bench: Bench) -> None:
    verdict = Verdict("divergence", 7, "divergence: a loss is not finite", {})
    bench.trial("pending")
    running = bench.trial("running", losses(3))
    bench.trial("interrupted", losses(3))
    bench.trial("asked", losses(3), Outcome("interrupted", 3, "stopped on request"))
    bench.trial("short", losses(3), Outcome("completed", 3))  # of 30 steps: it will go on
    bench.trial("completed", losses(STEPS), Outcome("completed", STEPS))
    bench.trial("stopped", losses(7), Outcome("stopped", 7, verdict.reason, verdict))
    bench.trial("crashed", losses(3), Outcome("crashed", 3, "OSError: no"))
    with lock.acquire(running.lock):
        bench.publish(running=True)
        runs = bench.runs()
    assert {name: run.info.status for name, run in runs.items()} == {
        "parent": "RUNNING",
        "running": "RUNNING",
        "interrupted": "SCHEDULED",
        "asked": "SCHEDULED",
        "short": "SCHEDULED",
        "completed": "FINISHED",
        "stopped": "KILLED",
        "crashed": "FAILED",
    }
    tags = {name: run.data.tags for name, run in runs.items()}
    assert {tags[n]["gansweep.outcome"] for n in ("interrupted", "asked", "short")} == {"interrupted"}
    assert (tags["stopped"]["gansweep.verdict"], tags["stopped"]["gansweep.reason"]) == ("divergence", verdict.reason)
    assert (tags["crashed"]["gansweep.verdict"], tags["crashed"]["gansweep.reason"]) == ("", "OSError: no")
    assert all(t["mlflow.parentRunId"] == runs["parent"].info.run_id for n, t in tags.items() if n != "parent")


@pytest.mark.parametrize(
    ("kinds", "status"),
    [
        (("completed", "stopped"), "FINISHED"),
        (("completed", "crashed"), "FAILED"),
        (("crashed", "interrupted"), "SCHEDULED"),
    ],
)
def test_the_parent_ends_as_its_trials_did(bench: Bench, kinds: tuple[Any, ...], status: str) -> None:
    for kind in kinds:
        bench.trial(kind, losses(STEPS), Outcome(kind, STEPS))
    bench.publish()
    assert bench.runs()["parent"].info.status == status


def test_a_run_lasts_as_long_as_its_trial(bench: Bench) -> None:
    """However late it is published."""
    bench.trial("a", losses(STEPS), Outcome("completed", STEPS, time=BEGAN + STEPS))
    bench.publish()
    info = bench.runs()["a"].info
    assert (info.start_time, info.end_time) == (int(1000 * (BEGAN + 1)), int(1000 * (BEGAN + STEPS)))


def test_settings_become_parameters(bench: Bench) -> None:
    bench.trial("a", losses(1))
    bench.publish()
    run = bench.runs()["a"]
    assert run.info.run_name == "0.0001 · seed 3"
    assert run.data.params == {"seed": "3", "training.learning_rate": "0.0001", "parameters.generator": "5"}
    assert bench.runs()["parent"].data.tags["gansweep.machine"] == "a bench"


def test_deleting_frees_the_name(bench: Bench) -> None:
    trial = bench.trial("a", losses(STEPS), Outcome("completed", STEPS))
    bench.publish()
    old = bench.experiment()
    publisher.delete(bench.home, bench.folder, bench.uri)
    assert bench.client.get_experiment_by_name(bench.folder.name) is None
    deleted = bench.client.get_experiment(old)
    assert deleted.lifecycle_stage == "deleted"
    assert deleted.name.startswith(f"{bench.folder.name} (deleted ")
    publisher.delete(bench.home, bench.folder, bench.uri)  # nothing there: harmless
    trial.published.unlink()
    bench.publish()
    assert bench.experiment() != old
    assert set(bench.stored(trial).values()) == {1}


def test_another_store_gets_everything(bench: Bench, tmp_path: Path) -> None:
    trial = bench.trial("a", losses(STEPS), Outcome("completed", STEPS))
    bench.publish()
    copy = tmp_path / "other.db"
    with closing(sqlite3.connect(bench.home.database)) as source, closing(sqlite3.connect(copy)) as target:
        source.backup(target)  # a store with the tables made already
        for table in ("latest_metrics", "metrics", "tags", "params", "runs"):
            target.execute(f"DELETE FROM {table}")
        target.commit()
    other = Publisher(bench.home, bench.folder, f"sqlite:///{copy}", {})
    other.publish(running=False)
    (run,) = MlflowClient(other.uri).search_runs([bench.experiment()], "tags.`gansweep.trial_id` = 'a'")
    assert len(MlflowClient(other.uri).get_metric_history(run.info.run_id, "loss_d")) == STEPS
    assert read_json(trial.published)["uri"] == other.uri
