"""Records that were deleted, edited or cut in a real store: publishing restores them from the trials' folders."""

from __future__ import annotations

import contextlib
import json
import shutil
import sqlite3
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import stored
from bench import STEPS, Bench, append, losses, sound
from click.testing import CliRunner, Result
from mlflow import MlflowClient
from PIL import Image

from gansweep.cli.main import cli
from gansweep.errors import UserError
from gansweep.records import lock, outcome
from gansweep.records.figures import figures_of
from gansweep.records.layout import TrialFolder, write_json
from gansweep.records.outcome import Outcome
from gansweep.records.ranking import ranking_of
from gansweep.tracking import publisher as publisher_module
from gansweep.tracking import store, thorough
from gansweep.tracking.notes import NOTE
from gansweep.tracking.publisher import NotAllSentError, Publisher
from gansweep.tracking.remote import RemoteSweep

ENDED = Outcome("completed", STEPS)
CHILDREN = ("tags", "params", "metrics", "latest_metrics")


def trial_with_everything(bench: Bench, name: str) -> TrialFolder:
    trial = bench.trial(name, losses(STEPS), ENDED)
    trial.samples.mkdir()
    for step in (10, STEPS):
        Image.new("L", (16, 16), step).save(trial.sample(step))
    trial.checkpoints.mkdir()
    trial.checkpoint(STEPS).write_bytes(b"weights")
    return trial


def change(bench: Bench, *statements: str, of: Sequence[Any] = ()) -> None:
    """In the database itself, as an old backup or `mlflow gc` leaves it."""
    with closing(sqlite3.connect(bench.home.database, timeout=30)) as database:
        for statement in statements:
            database.execute(statement, of)
        database.commit()


def purge(bench: Bench, run_id: str) -> None:
    change(bench, *(f"DELETE FROM {table} WHERE run_uuid = ?" for table in (*CHILDREN, "runs")), of=[run_id])


def contents(bench: Bench) -> dict[str, Any]:
    """What the store has of each trial, its run's id left out."""
    found = {}
    for name, run in bench.runs().items():
        folder = Path(run.info.artifact_uri.removeprefix("file://"))
        files = {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}
        tags = {key: value for key, value in run.data.tags.items() if key.startswith("gansweep.")}
        if name != "parent":
            points = {
                key: [(p.step, p.timestamp, p.value) for p in bench.client.get_metric_history(run.info.run_id, key)]
                for key in run.data.metrics
            }
            info = run.info.status, run.info.end_time, run.info.run_name
            found[name] = (tags, run.data.params, points, files, info)
    return found


def sync(bench: Bench, *options: str) -> Result:
    return CliRunner().invoke(cli, ["sync", bench.folder.name, "--home", str(bench.home.path), *options])


def test_a_run_deleted_in_the_ui_is_restored(bench: Bench) -> None:
    for name in "ab":
        trial_with_everything(bench, name)
    bench.publish()
    before, run_id = contents(bench), bench.runs()["a"].info.run_id
    bench.client.delete_run(run_id)
    assert {*bench.runs()} == {"parent", "b"}
    result = sync(bench)
    assert contents(bench) == before
    assert bench.runs()["a"].info.run_id == run_id
    assert ": restored in " in result.stderr
    assert "deleted runs of 1 trial\n" in result.stderr
    assert ": restored in " not in sync(bench).stderr


def test_a_run_deleted_while_its_trial_goes_on(bench: Bench) -> None:
    trials = [bench.trial(name, losses(3)) for name in "ab"]
    with lock.acquire(trials[0].lock), lock.acquire(trials[1].lock):
        driver = bench.publish(running=True)
        bench.client.delete_run(bench.runs()["a"].info.run_id)
        for trial in trials:
            append(trial, losses(2))
        with contextlib.suppress(Exception):
            driver.publish(running=True)
        assert len(bench.stored(trials[1])) == 10, "the other trial is sent all the same"
        driver.publish(running=True)
        assert len(bench.stored(trials[0])) == 10


def test_a_purged_run_is_made_again(bench: Bench) -> None:
    for name in "ab":
        trial_with_everything(bench, name)
    bench.publish()
    before, run = contents(bench), bench.runs()["a"]
    purge(bench, run.info.run_id)
    shutil.rmtree(run.info.artifact_uri.removeprefix("file://"))
    bench.publish()
    assert contents(bench) == before
    assert bench.runs()["a"].info.run_id != run.info.run_id


def test_a_store_that_lost_the_whole_sweep_gets_it_again(bench: Bench) -> None:
    trial_with_everything(bench, "a")
    bench.trial("stopped", losses(3), Outcome("stopped", 3, "asha", rule="asha"))
    bench.publish()
    before = contents(bench)
    experiment = bench.experiment()
    for run in bench.runs().values():
        purge(bench, run.info.run_id)
    change(bench, "DELETE FROM experiment_tags WHERE experiment_id = ?", of=[experiment])
    change(bench, "DELETE FROM experiments WHERE experiment_id = ?", of=[experiment])
    shutil.rmtree(bench.home.artifacts / bench.folder.name)
    assert sync(bench).exit_code == 0
    after = contents(bench)
    for found in (before, after):
        for tags, *_ in found.values():
            tags.pop("mlflow.parentRunId", None)
    assert after == before


@pytest.mark.parametrize("what", ["tags", "params", "metric", "artifacts", "samples", "status"])
def test_what_a_run_lost_is_sent_again(bench: Bench, what: str) -> None:
    trial_with_everything(bench, "a")
    bench.publish()
    before, run = contents(bench), bench.runs()["a"]
    run_id, folder = run.info.run_id, Path(run.info.artifact_uri.removeprefix("file://"))
    match what:
        case "tags":
            bench.client.set_tag(run_id, "gansweep.steps", "abc")
            bench.client.delete_tag(run_id, "gansweep.varied")
            bench.client.delete_tag(run_id, "gansweep.seed")
        case "params":
            change(bench, "DELETE FROM params WHERE run_uuid = ? AND key != 'seed'", of=[run_id])
        case "metric":
            for table in ("metrics", "latest_metrics"):
                change(bench, f"DELETE FROM {table} WHERE run_uuid = ? AND key = 'loss_g'", of=[run_id])
        case "artifacts":
            shutil.rmtree(folder)
        case "samples":
            for path in (folder / "images").glob("*+step+10+*"):
                path.unlink()
        case "status":
            bench.client.update_run(run_id, status="RUNNING")
            before["a"] = (*before["a"][:-1], (*before["a"][-1][:1], ended_ms(bench), before["a"][-1][2]))
    assert contents(bench) != before
    result = sync(bench)
    assert contents(bench) == before
    assert ": restored in " in result.stderr
    assert ": restored in " not in sync(bench).stderr


def ended_ms(bench: Bench) -> int:
    return int(bench.runs()["a"].info.end_time)


def test_a_description_that_a_person_wrote_stays(bench: Bench) -> None:
    trial_with_everything(bench, "a")
    bench.publish()
    run_id, note = bench.runs()["a"].info.run_id, "mlflow.note.content"
    bench.client.set_tag(run_id, note, "look at this one")
    bench.client.set_tag(run_id, "reviewed", "yes")
    sync(bench)
    tags = bench.runs()["a"].data.tags
    assert (tags[note], tags["reviewed"]) == ("look at this one", "yes")


def test_trials_of_earlier_plans_are_restored_as_well(bench: Bench) -> None:
    for name in "ab":
        trial_with_everything(bench, name)
    bench.publish()
    write_json(bench.folder.plan, {"trials": ["b"]})
    before = contents(bench)
    purge(bench, bench.runs()["a"].info.run_id)
    bench.publish()
    assert contents(bench).keys() == before.keys()
    assert contents(bench)["a"][2] == before["a"][2]


@pytest.mark.parametrize("damaged", ["journal", "outcome", "trial"])
def test_a_trial_in_trouble_keeps_no_other_from_being_sent(bench: Bench, damaged: str) -> None:
    first, second = (trial_with_everything(bench, name) for name in ("bad", "good"))
    getattr(first, damaged).write_text("{no record\n")
    with pytest.raises(UserError) as caught:
        bench.publish()
    assert len(bench.stored(second)) == 2 * STEPS
    assert str(caught.value).startswith(f"{bench.folder.name}: 1 trial could not be sent to {bench.uri} (bad: ")
    result = sync(bench)
    assert result.exit_code == 1
    assert "is up to date" not in result.stderr


def test_a_store_that_loses_all_runs_meanwhile_gets_them_again(bench: Bench) -> None:
    trial = trial_with_everything(bench, "a")
    publisher = bench.publish()
    before = contents(bench)
    for run in bench.runs().values():
        purge(bench, run.info.run_id)
    bench.trial("b", losses(STEPS), ENDED)
    with pytest.raises(Exception, match="not found"):
        publisher.publish(running=False)
    publisher.publish(running=False)
    assert contents(bench)["a"][2:] == before["a"][2:]
    assert len(bench.stored(trial)) == 2 * STEPS


def test_a_sweep_is_not_finished_while_a_trial_could_not_be_sent(bench: Bench) -> None:
    bad, _ = (trial_with_everything(bench, name) for name in ("bad", "good"))
    whole = bad.journal.read_bytes()
    bad.journal.write_text("{no record\n")
    with pytest.raises(NotAllSentError):
        bench.publish()
    parent, told = (
        bench.runs()["parent"],
        f"Not sent yet: 1 trial (bad); `gansweep sync {bench.folder.name}` sends them.",
    )
    assert (parent.info.status, told in parent.data.tags[NOTE]) == ("SCHEDULED", True)
    bad.journal.write_bytes(whole)
    bench.publish()
    parent = bench.runs()["parent"]
    assert (parent.info.status, "Not sent" in parent.data.tags[NOTE]) == ("FINISHED", False)


def test_only_the_trial_in_trouble_is_tried_again_and_more_and_more_seldom(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    bad, good = trial_with_everything(bench, "bad"), bench.trial("good", losses(3))
    whole = bad.journal.read_bytes()
    bad.journal.write_text("{no record\n")
    clock, listed, ask = SimpleNamespace(now=0.0), [], store.runs

    def counting(client: MlflowClient, experiment: str, condition: str = "", **more: bool) -> list[Any]:
        listed.append((clock.now, condition))
        return ask(client, experiment, condition, **more)

    monkeypatch.setattr(publisher_module, "time", SimpleNamespace(monotonic=lambda: clock.now))
    monkeypatch.setattr(store, "runs", counting)
    driver = Publisher(bench.home, bench.folder, bench.uri, {})
    with lock.acquire(good.lock):
        for clock.now in range(40):
            append(good, losses(1))
            with pytest.raises(NotAllSentError):
                driver.publish(running=True)
        assert len(bench.stored(good)) == 2 * 43, "the other trial is sent as before"
    once = "tags.`gansweep.trial_id` = 'bad'"
    assert [at for at, condition in listed if condition == once] == [1, 11, 31]
    assert {condition for _, condition in listed} == {once}, "the sweep is not listed again"
    bad.journal.write_bytes(whole)
    driver.publish(running=False)
    assert len(bench.stored(bad)) == 2 * STEPS


@pytest.mark.parametrize("lost", ["deleted", "purged", "without tags"])
def test_the_run_of_a_trial_in_trouble_is_found_again(bench: Bench, lost: str) -> None:
    bad, _ = (trial_with_everything(bench, name) for name in ("bad", "good"))
    driver = bench.publish()
    outcome.write(bad, Outcome("completed", STEPS, "again"))
    whole, run_id = bad.trial.read_bytes(), bench.runs()["bad"].info.run_id
    bad.trial.write_text("{")
    with pytest.raises(NotAllSentError):
        driver.publish(running=False)
    bad.trial.write_bytes(whole)
    match lost:
        case "deleted":
            bench.client.delete_run(run_id)
        case "purged":
            purge(bench, run_id)
        case "without tags":
            for tag in ("gansweep.trial_id", "gansweep.sweep_id"):
                bench.client.delete_tag(run_id, tag)
    driver.publish(running=False)
    assert len(bench.stored(bad)) == 2 * STEPS
    assert (bench.runs()["bad"].info.run_id == run_id) == (lost != "purged")


@pytest.mark.parametrize("damaged", ["journal", "trial"])
def test_a_sweep_of_which_no_trial_can_be_sent(bench: Bench, damaged: str) -> None:
    trial = trial_with_everything(bench, "bad")
    getattr(trial, damaged).write_text("{no record\n")
    with pytest.raises(NotAllSentError):
        bench.publish()


def test_a_damaged_note_counts_as_none(bench: Bench) -> None:
    trial = trial_with_everything(bench, "a")
    bench.publish()
    before = contents(bench)
    trial.published.write_text("{")
    assert sync(bench).exit_code == 0
    assert contents(bench) == before


def test_values_are_compared_where_that_is_asked_for(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(thorough, "CHUNK", 2)  # there are four runs
    for name in ("wrong", "hole", "files", "intact"):
        trial_with_everything(bench, name)
    bench.publish()
    before, runs = contents(bench), bench.runs()
    wrong, hole = runs["wrong"].info.run_id, runs["hole"].info.run_id
    change(bench, "UPDATE metrics SET value = 7 WHERE run_uuid = ? AND step = 5 AND key = 'loss_g'", of=[wrong])
    change(bench, "DELETE FROM metrics WHERE run_uuid = ? AND step = 5 AND key = 'loss_g'", of=[hole])
    folder = Path(runs["files"].info.artifact_uri.removeprefix("file://"))
    for path in (*(folder / "images").glob("*.png"), folder / "checkpoints" / "last.safetensors"):
        path.write_bytes(b"another")
    (folder / "journal.jsonl.gz").write_bytes(b"another")
    sync(bench)
    assert contents(bench) != before
    result = sync(bench, "--verify")
    assert result.exit_code == 0, result.output
    assert contents(bench) == before
    assert "values that differed of 1 trial" in result.stderr
    assert {name for name, run in bench.runs().items() if run.info.run_id != runs[name].info.run_id} == {"wrong"}
    assert ": restored in " not in sync(bench, "--verify").stderr


def read(bench: Bench, command: str, *options: str) -> Result:
    return CliRunner().invoke(cli, [command, bench.folder.name, "--home", str(bench.home.path), *options])


@pytest.mark.parametrize("by", ["", "edited", "deleted"])
def test_a_sweep_is_read_without_its_tags(bench: Bench, tmp_path: Path, by: str) -> None:
    """Tags can be edited in MLflow's UI."""
    bench.trial("a", sound(STEPS), ENDED, varied={"training.learning_rate": 1e-4}, steps=STEPS)
    bench.trial(
        "b", sound(STEPS), Outcome("stopped", STEPS, "asha", rule="asha"), varied={"training.learning_rate": 2e-4}
    )
    bench.publish()
    expected = read(bench, "diagnose", "--json").stdout
    for run in bench.runs().values():
        for tag in [tag for tag in run.data.tags if tag.startswith("gansweep.") and by]:
            if by == "deleted" and tag not in ("gansweep.sweep", "gansweep.sweep_id", "gansweep.trial_id"):
                bench.client.delete_tag(run.info.run_id, tag)
            elif tag not in ("gansweep.sweep", "gansweep.sweep_id", "gansweep.trial_id"):
                bench.client.set_tag(run.info.run_id, tag, "x")
    assert read(bench, "diagnose", "--json").stdout == expected
    result = read(bench, "export", "--csv", str(tmp_path / "csv"))
    assert result.exit_code == 0, result.output
    trials = (tmp_path / "csv" / "trials.csv").read_text()
    assert "asha" in trials
    assert "0.0002" in trials


LONG = [f"{'长名字的类别用来测试标签长度限制' * 5}{number}" for number in range(64)]
LONGER = ["c" * 250, "c" * 249 + "d"]


@pytest.mark.parametrize("classes", [LONG, LONGER], ids=["many", "longer-than-a-key"])
def test_class_names_of_any_length(bench: Bench, tmp_path: Path, classes: list[str]) -> None:
    shares = {name: 1 / len(classes) for name in classes}
    values = {f"{prefix}{name}": share for name, share in shares.items() for prefix in ("class_share/", "requested/")}
    trial = bench.trial("a", [{**one, **values} for one in sound(STEPS)], ENDED)
    write_json(trial.evaluator, {"accuracy": 0.9, "classes": len(classes), "real_shares": shares, "samples": 64})
    bench.publish()
    result = read(bench, "export", "--csv", str(tmp_path / "csv"))
    assert result.exit_code == 0, result.output
    head = (tmp_path / "csv" / "evaluations.csv").read_text().partition("\n")[0].split(",")
    assert [name for name in head if name.startswith("class_share/")] == [f"class_share/{name}" for name in classes]
    assert json.dumps(classes[-1]) in json.dumps(head).replace("class_share/", "")
    assert all(len(value) < 8_000 for value in bench.runs()["a"].data.tags.values()), "MLflow would cut it"


@pytest.mark.parametrize("which", ["trial", "parent", "experiment"])
def test_records_without_tags_are_found(bench: Bench, which: str) -> None:
    trial_with_everything(bench, "a")
    bench.publish()
    before, runs, experiment = contents(bench), bench.runs(), bench.experiment()
    if which == "experiment":
        change(bench, "DELETE FROM experiment_tags WHERE experiment_id = ?", of=[experiment])
    else:
        run = runs["a" if which == "trial" else "parent"]
        for tag in run.data.tags:
            if tag.startswith(("gansweep.", "mlflow.parentRunId")):
                bench.client.delete_tag(run.info.run_id, tag)
    bench.publish()
    assert contents(bench) == before
    after = bench.runs()
    assert {name: run.info.run_id for name, run in after.items()} == {n: run.info.run_id for n, run in runs.items()}
    assert after["parent"].data.tags == runs["parent"].data.tags


def test_a_parent_run_deleted_in_the_ui_is_restored(bench: Bench) -> None:
    trial_with_everything(bench, "a")
    bench.publish()
    run_id = bench.runs()["parent"].info.run_id
    bench.client.delete_run(run_id)
    assert sync(bench).exit_code == 0
    assert bench.runs()["parent"].info.run_id == run_id
    assert [trial.id for trial in stored.trials(bench.home, bench.uri, bench.folder.name)] == ["a"]


def test_a_sweep_folder_that_was_renamed_keeps_its_records(bench: Bench) -> None:
    trial_with_everything(bench, "a")
    bench.publish()
    runs = bench.runs()
    renamed = bench.home.sweep(f"{bench.folder.name}-renamed")
    bench.folder.path.rename(renamed.path)
    experiment, bench.folder = bench.experiment(), renamed
    assert sync(bench).exit_code == 0
    found = {run.info.run_id: run for run in bench.client.search_runs([experiment])}
    assert found.keys() == {run.info.run_id for run in runs.values()}
    assert {run.data.tags["gansweep.sweep"] for run in found.values()} == {renamed.name}
    assert len(bench.client.get_metric_history(runs["a"].info.run_id, "loss_d")) == STEPS


def test_status_from_elsewhere_needs_no_tags(bench: Bench) -> None:
    name = f"class_share/{'c' * 250}"
    trial = bench.trial("a", [{**one, name: 0.5} for one in losses(9)], Outcome("stopped", 9, "asha", rule="asha"))
    write_json(trial.evaluator, {"accuracy": 0.9, "real_shares": {"c" * 250: 1.0}})
    bench.trial("b")
    bench.publish()
    expected, _ = RemoteSweep(bench.home, bench.uri, bench.folder.name).trials()
    for run in bench.runs().values():
        for tag in run.data.tags:
            if tag.startswith("gansweep.") and tag not in ("gansweep.sweep", "gansweep.sweep_id", "gansweep.trial_id"):
                bench.client.set_tag(run.info.run_id, tag, "x")
    found, _ = RemoteSweep(bench.home, bench.uri, bench.folder.name).trials()
    here = [{**outcome.summary(one), **figures_of(one, ranking_of(bench.folder))} for one in bench.folder.planned()]
    assert found == expected == here
