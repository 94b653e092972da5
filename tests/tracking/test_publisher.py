"""Trial folders → a real SQLite store: whatever is sent again is stored once."""

from __future__ import annotations

import json
import math
import sqlite3
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest
from bench import BEGAN, STEPS, Bench, append, losses
from mlflow import MlflowClient
from PIL import Image

from gansweep.errors import UserError
from gansweep.health.verdict import ORDER, Verdict
from gansweep.records import journal, lock, outcome
from gansweep.records.layout import TrialFolder, read_json, write_json
from gansweep.records.outcome import Outcome
from gansweep.records.withdrawal import withdraw
from gansweep.tracking import publisher
from gansweep.tracking.published import Published
from gansweep.tracking.publisher import Publisher
from gansweep.tracking.sender import BATCH

COLLAPSE = Verdict("mode_collapse", 1200, "mode collapse since step 1,200: samples cover 12% | few", {"at_step": 1400})
DROPPING = Verdict("mode_dropping", 900, "mode dropping since step 900: 3 classes are missing", {"figures": {}})
HEALTHY = Verdict("healthy", 0, "healthy: no failure in 22 evaluations, best FD ratio 8", {})
D_WON = Verdict("discriminator_won", 7, "discriminator won since step 7: AUC 0.999", {"figures": {"d_auc": 0.999}})
G_WON = Verdict("generator_won", 8, "generator won since step 8: AUC 0.500", {"figures": {"d_auc": 0.5}})
IMBALANCE = Verdict("imbalance", 9, "imbalance since step 9: unevenly", {})
NAMED = ("gansweep.verdict", "gansweep.verdicts", "gansweep.reason", "mlflow.note.content")
NOTE = NAMED[-1]


def tags(bench: Bench, name: str) -> dict[str, str]:
    found: dict[str, str] = bench.runs()[name].data.tags
    return found


@contextmanager
def reopened(trial: TrialFolder) -> Iterator[None]:
    """As a process does that trains it further."""
    with lock.acquire(trial.lock):
        trial.outcome.unlink()
        yield


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
    assert sum(f"+step+{STEPS}+" in file for file in before["files"] if bench.folder.name in file) == 2
    bench.publish()
    assert bench.everything() == before


def test_a_lost_note_makes_no_second_run(bench: Bench) -> None:
    trial = bench.trial("a", losses(STEPS), Outcome("completed", STEPS))
    bench.publish()
    run = bench.runs()["a"].info.run_id
    before = bench.everything()
    trial.published.unlink()
    bench.folder.tracking.unlink()
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
        bench.publish(running=True)
        bench.publish(running=True)
    assert sizes == [20, 10]
    assert bench.stored(trial) == Counter((name, step) for name in ("loss_d", "loss_g") for step in range(1, 16))


def test_withdrawn_records_that_prove_right_are_stored_once(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    trial = bench.trial("a", losses(10))
    made = bench.publish(running=True)
    withdraw(trial, BEGAN + 6)
    with batches(monkeypatch) as sizes:
        for part in (losses(12)[5:7], losses(12)[7:]):
            append(trial, part)
            made.publish(running=True)
    assert sizes == [4]
    assert bench.stored(trial) == Counter((name, step) for name in ("loss_d", "loss_g") for step in range(1, 13))


OTHERS = {  # than ten records of which the last five are withdrawn
    "shorter": [{"loss_d": 0.1, "loss_g": 1.0}] * 4,
    "as long": [{"loss_d": 0.7, "loss_g": float(step)} for step in range(6, 11)],
    "longer": [{"loss_d": 0.12, "loss_g": 1e-5}] * 9,
}


@pytest.mark.parametrize("by", ["itself", "another", "another after fewer"])
@pytest.mark.parametrize("others", OTHERS)
def test_a_run_with_wrong_records_is_replaced(bench: Bench, others: str, by: str) -> None:
    trial = bench.trial("a", [{**values, "loss_d": 0.5} for values in losses(10)], steps=10)
    made = bench.publish(running=True)
    wrong = bench.runs()["a"].info.run_id
    withdraw(trial, BEGAN + 6)
    if by.endswith("fewer"):
        append(trial, OTHERS[others][:1])
        bench.publish(running=True)
        assert bench.runs()["a"].info.run_id == wrong, "they may prove right"
    append(trial, OTHERS[others][len(journal.read(trial.journal)) - 5 :])
    outcome.write(trial, Outcome("completed", 10))
    (made if by == "itself" else Publisher(bench.home, bench.folder, bench.uri, {})).publish(running=True)
    assert bench.runs()["a"].info.run_id != wrong
    assert bench.client.get_run(wrong).info.lifecycle_stage == "deleted"
    assert_stored_as_recorded(bench, trial)
    before = bench.everything()
    bench.publish()
    assert bench.everything()["metrics"] == before["metrics"]


@pytest.mark.parametrize("killed_after", ["set_tag", "delete_tag", "delete_run"])
def test_a_process_killed_while_it_replaces_a_run(
    bench: Bench, killed_after: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    trial = bench.trial("a", losses(10))
    made = bench.publish(running=True)
    wrong = bench.runs()["a"].info.run_id
    withdraw(trial, BEGAN + 6)
    append(trial, OTHERS["longer"])
    original = getattr(MlflowClient, killed_after)

    def kill(*arguments: Any) -> None:
        original(*arguments)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(MlflowClient, killed_after, kill)
        patch.setattr(Published, "write", lambda *_: None)
        with pytest.raises(KeyboardInterrupt):
            made.publish(running=True)
    bench.publish(running=True)
    assert bench.client.get_run(wrong).info.lifecycle_stage == "deleted"
    assert_stored_as_recorded(bench, trial)


def test_a_note_of_an_earlier_version_in_the_middle_of_a_record(bench: Bench) -> None:
    trial = bench.trial("a", losses(10))
    bench.publish(running=True)
    write_json(trial.published, {k: v for k, v in read_json(trial.published).items() if k != "digest"})
    bench.publish(running=True)
    assert_stored_as_recorded(bench, trial)
    withdraw(trial, BEGAN + 6)
    append(trial, OTHERS["longer"])
    write_json(trial.published, {k: v for k, v in read_json(trial.published).items() if k != "digest"})
    bench.publish(running=True)
    assert_stored_as_recorded(bench, trial)


def assert_stored_as_recorded(bench: Bench, trial: TrialFolder) -> None:
    """Each value of the journal is stored once, and no other."""
    run = bench.runs()[trial.id]
    recorded = Counter((name, r.step, value) for r in journal.read(trial.journal) for name, value in r.values.items())
    assert recorded == Counter(
        (name, point.step, point.value)
        for name in run.data.metrics
        for point in bench.client.get_metric_history(run.info.run_id, name)
    )


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
    with batches(monkeypatch, fail_at=1), pytest.raises(UserError, match=r"a: ConnectionError: the store is gone"):
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
    bench.trial("stopped", losses(7), Outcome("stopped", 7, verdict.reason, (verdict,), "divergence"))
    bench.trial("crashed", losses(3), Outcome("crashed", 3, "OSError: no", rule="out_of_memory"))
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
    assert (tags["stopped"]["gansweep.rule"], tags["crashed"]["gansweep.rule"]) == ("divergence", "out_of_memory")
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


def test_a_failure_is_told_where_the_ui_shows_it(bench: Bench) -> None:
    ended = Outcome("stopped", 7, COLLAPSE.reason, (COLLAPSE, DROPPING), COLLAPSE.kind)
    bench.trial("a", losses(7), ended)
    bench.publish()
    found = tags(bench, "a")
    assert found["gansweep.verdict"] == "mode_collapse"
    assert [Verdict.from_json(v) for v in json.loads(found["gansweep.verdicts"])] == [COLLAPSE, DROPPING]
    assert found["gansweep.reason"] == COLLAPSE.reason
    assert found[NOTE].splitlines() == [
        "**mode collapse since step 1,200**  ",
        r"samples cover 12% \| few",
        "",
        "- mode dropping since step 900: 3 classes are missing",
    ]


@pytest.mark.parametrize(
    ("ended", "reason", "note"),
    [
        (Outcome("completed", STEPS, "", (HEALTHY,)), HEALTHY.reason,
         "**healthy**  \nno failure in 22 evaluations, best FD ratio 8"),
        (Outcome("completed", STEPS, "", (HEALTHY, D_WON)), HEALTHY.reason,
         "**healthy**  \nno failure in 22 evaluations, best FD ratio 8\n\n"
         "- discriminator won since step 7: AUC 0.999"),
        (Outcome("stopped", 9, "asha: 5 were better", (HEALTHY,), "asha"), "asha: 5 were better",
         "**healthy**  \nno failure in 22 evaluations, best FD ratio 8  \n"
         "**stopped at step 9**  \nasha: 5 were better"),
        (Outcome("crashed", 1200, "OSError: no\n<b>`room`</b>"), "OSError: no\n<b>`room`</b>",
         "**crashed at step 1,200**  \nOSError: no &lt;b>\\`room\\`&lt;/b>  \n`gansweep show a` shows the traceback"),
        (Outcome("completed", STEPS), "", ""),
        (Outcome("interrupted", 3, "stopped on request"), "stopped on request", ""),
    ],
    ids=["healthy", "state", "asha", "crashed", "unjudged", "interrupted"],
)  # fmt: skip
def test_every_end_has_its_note(bench: Bench, ended: Outcome, reason: str, note: str) -> None:
    bench.trial("a", losses(3), ended)
    bench.publish()
    found = tags(bench, "a")
    assert (found["gansweep.reason"], found[NOTE]) == (reason, note)
    assert found["gansweep.verdict"] == (ended.verdict or "")


def test_states_are_a_tag_of_their_own_that_a_search_finds(bench: Bench) -> None:
    """Beside the verdict, whether that is a failure or not; what is neither is in no tag but that of all verdicts."""
    both = (COLLAPSE, D_WON, G_WON, IMBALANCE)
    ends = {"both": both, "one": (HEALTHY, G_WON), "none": (HEALTHY, IMBALANCE), "former": (D_WON,)}
    for name, verdicts in ends.items():
        bench.trial(name, losses(3), Outcome("completed", STEPS, "", verdicts))
    bench.publish()
    assert {name: (tags(bench, name)["gansweep.verdict"], tags(bench, name)["gansweep.states"]) for name in ends} == {
        "both": ("mode_collapse", "discriminator_won,generator_won"),
        "one": ("healthy", "generator_won"),
        "none": ("healthy", ""),
        "former": ("", "discriminator_won"),  # a verdict of version 0.1.0, which is a state today, names no run
    }
    query = "tags.`gansweep.states` LIKE '%discriminator_won%'"
    found = bench.client.search_runs([bench.experiment()], query)
    assert {run.data.tags["gansweep.trial_id"] for run in found} == {"both", "former"}
    head = tags(bench, "parent")[NOTE].partition("\n")[0]
    assert "Verdicts: 1 mode collapse, 2 healthy. States: 2 discriminator won, 2 generator won." in head


@pytest.mark.parametrize("kind", ["stopped", "crashed", "completed"])
def test_nothing_is_reported_of_a_trial_that_goes_on(bench: Bench, kind: Any) -> None:
    """The publisher of a sweep begins before its trials are opened again."""
    trial = bench.trial("a", losses(3), Outcome(kind, STEPS, COLLAPSE.reason, (COLLAPSE,)))
    driver = bench.publish(running=True)
    assert all(tags(bench, "a")[name] for name in NAMED)
    with reopened(trial):
        append(trial, losses(2))
        driver.publish(running=True)
        run = bench.runs()["a"]
    assert (run.info.status, run.data.tags["gansweep.outcome"]) == ("RUNNING", "running")
    assert [run.data.tags[name] for name in NAMED] == [""] * len(NAMED)
    assert len(bench.stored(trial)) == 10
    driver.publish(running=False)
    found = tags(bench, "a")
    assert found["gansweep.outcome"] == "interrupted"
    assert [found[name] for name in NAMED] == [""] * len(NAMED)


def test_a_second_end_that_nobody_saw_begin(bench: Bench) -> None:
    """Completed, continued and completed again between two looks."""
    trial = bench.trial("a", losses(3), Outcome("completed", STEPS, "", (HEALTHY,), time=BEGAN + 3))
    bench.publish()
    outcome.write(trial, Outcome("completed", STEPS, "", (COLLAPSE,), time=BEGAN + 9))
    bench.publish()
    run = bench.runs()["a"]
    assert (run.info.end_time, run.data.tags["gansweep.verdict"]) == (int(1000 * (BEGAN + 9)), "mode_collapse")


def test_long_verdicts_lose_evidence_and_stay_json(bench: Bench) -> None:
    kinds: list[Any] = list(ORDER)
    figures = {f"figure {i}": i / 7 for i in range(40)}
    verdicts = tuple(Verdict(kind, 7, f"{kind}: {'σ' * 200}", {"figures": figures}) for kind in kinds)
    bench.trial("a", losses(7), Outcome("stopped", 7, verdicts[0].reason, verdicts))
    bench.trial("b", losses(7), Outcome("stopped", 7, verdicts[0].reason, verdicts[:4]))
    bench.trial("c", losses(7), Outcome("stopped", 7, "x" * 9_000, (Verdict(kinds[0], 7, "x" * 9_000),)))
    bench.publish()
    found = {name: tags(bench, name) for name in "abc"}
    told = {name: json.loads(found[name]["gansweep.verdicts"]) for name in "abc"}
    assert all(len(value) <= 5_000 for one in found.values() for value in one.values())
    assert [v["kind"] for v in told["a"]] == kinds
    assert [v["reason"] for v in told["b"]] == [v.reason for v in verdicts[:4]]
    assert [bool(v["evidence"]) for v in told["b"]] == [True, True, True, False]
    assert all(v["evidence"] in ({}, {"figures": figures}) for name in "abc" for v in told[name])


def test_more_steps_are_a_larger_budget(bench: Bench) -> None:
    trial = bench.trial("a", losses(STEPS), Outcome("completed", STEPS, "", (HEALTHY,)))
    bench.publish()
    found = tags(bench, "a")
    assert (found["gansweep.steps"], json.loads(found["gansweep.varied"])) == (
        str(STEPS),
        {"training.learning_rate": 1e-4},
    )
    write_json(trial.trial, {**read_json(trial.trial), "steps": 2 * STEPS, "varied": {}})
    bench.publish()
    found = tags(bench, "a")
    assert found["gansweep.steps"] == str(2 * STEPS)
    assert (found["gansweep.varied"], found["gansweep.outcome"]) == ("{}", "interrupted")
    assert found["gansweep.verdict"] == ""


@pytest.mark.parametrize(("accuracy", "told"), [(0.98765, "0.9877"), (None, None)])
def test_what_judged_a_trial(bench: Bench, accuracy: float | None, told: str | None) -> None:
    trial = bench.trial("a", losses(3))
    bench.publish(running=True)
    assert "gansweep.evaluator_accuracy" not in tags(bench, "a")
    features = {"features": {"name": "imagenet"}}
    write_json(trial.evaluator, {**features, "accuracy": accuracy, "classes": 10, "samples": 256})
    bench.publish(running=True)
    assert tags(bench, "a").get("gansweep.evaluator_accuracy") == told
    assert tags(bench, "a")["gansweep.features"] == "imagenet"


def test_where_a_trial_ran_last(bench: Bench) -> None:
    trial = bench.trial("a", losses(3))
    bench.publish(running=True)
    assert "gansweep.host" not in tags(bench, "a")
    write_json(trial.owner, {"host": "node-7", "pid": 1, "token": "t"})
    bench.publish(running=True)
    assert tags(bench, "a")["gansweep.host"] == "node-7"


def test_records_of_an_older_version_are_completed(bench: Bench) -> None:
    trial = bench.trial("a", losses(3), Outcome("completed", STEPS, "", (HEALTHY,)))
    bench.publish()
    new = ("gansweep.steps", "gansweep.varied", "gansweep.verdicts", NOTE)
    for name in new:
        bench.client.delete_tag(bench.runs()["a"].info.run_id, name)
    old = {k: v for k, v in read_json(trial.published).items() if k not in ("tags", "ended_s")}
    write_json(trial.published, old)
    bench.publish()
    assert tags(bench, "a").keys() >= set(new)


def test_tags_are_sent_once(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    ended = bench.trial("a", losses(3), Outcome("completed", STEPS, "", (HEALTHY,)))
    running = bench.trial("b", losses(3))
    sent: list[str] = []
    log_batch, set_tag = MlflowClient.log_batch, MlflowClient.set_tag

    def spy_batch(self: MlflowClient, run_id: str, *rest: Any, tags: Any = (), **more: Any) -> None:
        sent.extend(tag.key for tag in tags)
        log_batch(self, run_id, *rest, tags=tags, **more)

    def spy_tag(self: MlflowClient, run_id: str, key: str, value: str) -> None:
        sent.append(key)
        set_tag(self, run_id, key, value)

    with lock.acquire(running.lock):
        driver = bench.publish(running=True)
        monkeypatch.setattr(MlflowClient, "log_batch", spy_batch)
        monkeypatch.setattr(MlflowClient, "set_tag", spy_tag)
        append(running, losses(3))
        driver.publish(running=True)
        assert sent == []
    ended.published.unlink()
    outcome.write(running, Outcome("completed", STEPS, "", (HEALTHY,)))
    driver.publish(running=True)
    assert sorted(sent) == sorted(["gansweep.outcome", "gansweep.journal", *NAMED]), "of b alone: a is settled"


def table(note: str) -> list[Mapping[str, str]]:
    """A row a failed trial."""
    lines = [line.strip("| ").split(" | ") for line in note.splitlines() if line.startswith("|")]
    return [dict(zip(lines[0], line, strict=True)) for line in lines[2:]]


def test_the_parent_tells_what_failed(bench: Bench) -> None:
    both = {"training.learning_rate": 0.2, "training.beta1": 0.9}
    bench.trial("pending")
    bench.trial("healthy", losses(3), Outcome("completed", STEPS, "", (HEALTHY,)))
    bench.trial("flagged", losses(3), Outcome("completed", STEPS, "", (DROPPING,)), varied=both)
    bench.trial("stopped", losses(3), Outcome("stopped", 7, COLLAPSE.reason, (COLLAPSE, DROPPING)))
    bench.trial("crashed", losses(3), Outcome("crashed", 3, "OSError: a|b"))
    driver = bench.publish(running=True)
    assert tags(bench, "parent")[NOTE] == ""
    driver.publish(running=False)
    note, runs = tags(bench, "parent")[NOTE], bench.runs()
    assert note.splitlines()[0] == (
        "**5 trials**: 1 pending, 2 completed, 1 stopped, 1 crashed."
        " Verdicts: 1 mode collapse, 1 mode dropping, 1 healthy."
    )

    def link(trial: str) -> str:
        return f"[{trial}](#/experiments/{bench.experiment()}/runs/{runs[trial].info.run_id})"

    assert table(note.replace(r"\|", "¦")) == [
        {"trial": link("flagged"), "learning_rate": "0.2", "beta1": "0.9", "verdict": "**mode dropping**",
         "since step": "900", "reason": "3 classes are missing"},
        {"trial": link("stopped"), "learning_rate": "0.0001", "beta1": "", "verdict": "**mode collapse**",
         "since step": "1,200", "reason": "samples cover 12% ¦ few"},
        {"trial": link("crashed"), "learning_rate": "0.0001", "beta1": "", "verdict": "*crashed*",
         "since step": "3", "reason": "OSError: a¦b"},
    ]  # fmt: skip
    driver.publish(running=True)
    assert tags(bench, "parent")[NOTE] == ""


def test_the_parent_names_the_best_and_links_to_them(bench: Bench) -> None:
    for number, last in enumerate((7.0, 3.5, 9.0, math.inf, 4.0, 5.0, 6.0)):
        records = [{"fd_ratio": 1.0}, {"fd_ratio": last}]
        bench.trial(f"t{number}", records, Outcome("completed", STEPS, "", (HEALTHY,)), config={"seed": number})
    bench.trial("failed", [{"fd_ratio": 0.5}], Outcome("completed", STEPS, "", (DROPPING,)))
    bench.trial("asked", [{"fd_ratio": 0.5}], Outcome("interrupted", 3, "Ctrl-C"))
    bench.publish()
    note = tags(bench, "parent")[NOTE]
    head, best, failed = note.split("\n\nT")
    assert (best.partition("\n")[0], failed.partition("\n")[0]) == ("he best:", "hose that failed:")
    rows = table(best)
    assert [(row["seed"], row["fd_ratio"]) for row in rows] == [
        ("1", "3.5"), ("4", "4"), ("5", "5"), ("6", "6"), ("0", "7"),
    ]  # fmt: skip
    assert rows[0]["trial"] == f"[t1](#/experiments/{bench.experiment()}/runs/{bench.runs()['t1'].info.run_id})"
    assert [row["verdict"] for row in table(failed)] == ["**mode dropping**"]
    assert head.startswith("**9 trials**")


def test_the_parents_table_names_seeds_and_is_cut_where_it_is_long(bench: Bench) -> None:
    long = Verdict("dead_generator", 7, f"dead generator since step 7: {'the same image ' * 20}")
    for number in range(20):
        bench.trial(f"trial-{number}", losses(1), Outcome("stopped", 7, "", (long,)), config={"seed": number})
    bench.publish()
    note = tags(bench, "parent")[NOTE]
    rows = table(note)
    assert 4_500 < len(note) <= 5_000
    assert [row["seed"] for row in rows] == list(map(str, range(len(rows))))
    assert note.splitlines()[-1] == f"and {20 - len(rows)} more: `gansweep diagnose {bench.folder.name}`"
