"""Records of version 0.1.0, which carry no id: they are labelled once, whenever that is killed."""

from __future__ import annotations

import json
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import old_homes
import pytest
import stored
import writers
from bench import TABLES
from click.testing import CliRunner, Result
from mlflow import MlflowClient
from old_homes import COMPLETED, INTERRUPTED, PENDING

from gansweep.cli.main import cli
from gansweep.errors import UserError
from gansweep.records.layout import Home, SweepFolder, read_json, write_json
from gansweep.tracking import publisher
from gansweep.tracking.publisher import Publisher

THEIRS = "a" * 12  # a trial of the second home alone


class Lab:
    """A home of version 0.1.0 that published to a store which others use too."""

    def __init__(self, place: Path) -> None:
        self.home = old_homes.unpack(place)
        self.place, self.store, self.uri = place, place / "lab.db", f"sqlite:///{place / 'lab.db'}"
        with closing(sqlite3.connect(self.home.database)) as source, closing(sqlite3.connect(self.store)) as target:
            source.backup(target)
            location = (place / "artifacts").as_uri()
            target.execute("UPDATE experiments SET artifact_location = ?", (location,))
            target.execute("UPDATE runs SET artifact_uri = ? || '/' || run_uuid || '/artifacts'", (location,))
            target.commit()
        self.home.database.unlink()
        for path in (self.home.path / "sweeps").rglob("*.json"):
            if "uri" in (data := json.loads(path.read_text())):
                write_json(path, {**data, "uri": self.uri})
        self.client = MlflowClient(self.uri)
        self.parent = read_json(self.folder(self.home).tracking)["parent_run_id"]

    def folder(self, home: Home) -> SweepFolder:
        return home.sweep("old")

    def second_home(self) -> Home:
        """Another person's: one trial in common, one of its own, both below the same parent run."""
        home = Home(self.place / "second")
        shutil.copytree(self.home.path, home.path)
        folder = self.folder(home)
        folder.trial(INTERRUPTED).path.rename(folder.trial(THEIRS).path)
        shutil.rmtree(folder.trial(PENDING).path)
        trial = folder.trial(THEIRS)
        write_json(trial.trial, {**read_json(trial.trial), "id": THEIRS})
        write_json(folder.plan, {**read_json(folder.plan), "trials": [COMPLETED, THEIRS]})
        like = self.client.get_run(read_json(trial.published)["run_id"])
        run = self.client.create_run("1", tags={**like.data.tags, "gansweep.trial_id": THEIRS}).info.run_id
        write_json(trial.published, {**read_json(trial.published), "run_id": run, "offset": 0})
        return home

    def publish(self, home: Home, **more: Any) -> None:
        Publisher(home, self.folder(home), self.uri, {"gansweep.machine": "m"}, **more).publish(running=False)

    def trials(self, home: Home) -> list[str]:
        return [trial.id for trial in stored.trials(home, self.uri, "old")]

    def sweep_id(self, home: Home) -> str:
        return str(read_json(self.folder(home).path / "identity.json")["sweep_id"])

    def runs(self, home: Home) -> dict[str, str]:
        """Run id → trial id, of those that carry the home's id."""
        found = self.client.search_runs(["0", "1", "2"], f"tags.`gansweep.sweep_id` = '{self.sweep_id(home)}'")
        return {run.info.run_id: run.data.tags.get("gansweep.trial_id", "parent") for run in found}

    def rows(self) -> dict[str, list[tuple[Any, ...]]]:
        with closing(sqlite3.connect(self.store)) as database:
            tables = (*TABLES, "experiment_tags")
            return {table: sorted(database.execute(f"SELECT * FROM {table}"), key=repr) for table in tables}

    def doubled(self) -> list[tuple[Any, ...]]:
        """(run, metric, step) that the store has more than once."""
        query = "SELECT run_uuid, key, step FROM metrics GROUP BY run_uuid, key, step HAVING COUNT(*) > 1"
        with closing(sqlite3.connect(self.store)) as database:
            return database.execute(query).fetchall()


@pytest.fixture
def lab(tmp_path: Path) -> Lab:
    return Lab(tmp_path)


def test_old_records_are_read_before_anything_is_written(lab: Lab) -> None:
    before = lab.rows()
    assert lab.trials(lab.home) == [COMPLETED, INTERRUPTED]
    assert lab.rows() == before
    assert not (lab.folder(lab.home).path / "identity.json").exists()


def test_old_records_get_an_id_once(lab: Lab) -> None:
    notices: list[str] = []
    lab.publish(lab.home, notify=notices.append)
    assert notices[0] == "old: the records of version 0.1.0 now carry the sweep's own id"
    assert sorted(lab.runs(lab.home).values()) == sorted([COMPLETED, INTERRUPTED, "parent"])
    assert lab.parent in lab.runs(lab.home)
    before, count = lab.rows(), len(notices)
    lab.publish(lab.home, notify=notices.append)
    assert len(notices) == count
    assert lab.rows() == before
    assert lab.trials(lab.home) == [COMPLETED, INTERRUPTED]
    assert not lab.doubled()


@pytest.mark.slow
def test_old_records_may_be_killed_while_they_get_their_id(lab: Lab) -> None:
    for before in (1, 2, 3, 4, 5, 6, 9):
        assert writers.killed(lab.home.path, "old", lab.uri, before)
    lab.publish(lab.home)
    assert sorted(lab.runs(lab.home).values()) == sorted([COMPLETED, INTERRUPTED, "parent"])
    assert len(lab.client.search_runs(["0", "1"], run_view_type=3)) == 3
    assert len(lab.client.search_experiments(view_type=3)) == 2
    assert not lab.doubled()


@pytest.mark.parametrize("killed", [0, 1, 3, 5])
def test_two_old_homes_that_shared_a_parent_run_part(lab: Lab, killed: int) -> None:
    """killed: the write of the second home before which it is killed, while the first home publishes in between."""
    second = lab.second_home()
    if killed:
        assert writers.killed(second.path, "old", lab.uri, killed)
    lab.publish(lab.home)
    lab.publish(second)
    lab.publish(lab.home)
    mine, theirs = lab.runs(lab.home), lab.runs(second)
    assert not mine.keys() & theirs.keys()
    assert (lab.trials(lab.home), lab.trials(second)) == ([COMPLETED, INTERRUPTED], [COMPLETED, THEIRS])
    publisher.delete(second, lab.folder(second), lab.uri)
    assert lab.trials(lab.home) == [COMPLETED, INTERRUPTED]
    assert {lab.client.get_run(run).info.lifecycle_stage for run in mine} == {"active"}


def test_records_in_the_default_experiment_stay_there(lab: Lab) -> None:
    """A sweep named Default was published into MLflow's own experiment."""
    with closing(sqlite3.connect(lab.store)) as database:
        database.execute("UPDATE runs SET experiment_id = 0")
        database.commit()
    old = [run.info.run_id for run in lab.client.search_runs(["0"])]
    lab.publish(lab.home)
    assert not set(lab.runs(lab.home)) & set(old)
    publisher.delete(lab.home, lab.folder(lab.home), lab.uri)
    assert sorted(run.info.run_id for run in lab.client.search_runs(["0"])) == sorted(old)


def test_cleaning_old_records_leaves_those_of_others(lab: Lab) -> None:
    run = lab.client.create_run("1", run_name="of a colleague").info.run_id
    publisher.delete(lab.home, lab.folder(lab.home), lab.uri)
    assert [one.info.run_id for one in lab.client.search_runs(["1"])] == [run]


def test_a_copied_folder_does_not_take_the_records_of_an_original_without_an_id(tmp_path: Path) -> None:
    """Only sweeps/ was copied, so the copy names the original's store."""
    original, copy = old_homes.unpack(tmp_path), Home(tmp_path / "copy")
    folder = original.sweep("old")
    uri = f"sqlite:///{original.database}"
    write_json(folder.tracking, {**read_json(folder.tracking), "uri": uri})
    shutil.copytree(folder.path, copy.sweep("old").path)
    message = f"is a copy of {folder.path}, whose records it would change"
    with pytest.raises(UserError, match=message):
        publisher.delete(copy, copy.sweep("old"), uri)
    shutil.copytree(original.path, tmp_path / "whole")  # with a store of its own, which alone is changed
    whole = Home(tmp_path / "whole")
    publisher.delete(whole, whole.sweep("old"), f"sqlite:///{whole.database}")
    assert MlflowClient(uri).get_experiment("1").lifecycle_stage == "active"
    publisher.delete(original, folder, uri)
    assert MlflowClient(uri).get_experiment("1").lifecycle_stage == "deleted"


def call(home: Home, *command: str) -> Result:
    return CliRunner().invoke(cli, [*command, "--home", str(home.path)])


@pytest.mark.parametrize("command", [("sync", "old"), ("clean", "old", "--yes")])
def test_a_copy_takes_nothing_that_was_sent_to_a_shared_store_without_an_answer(
    lab: Lab, command: tuple[str, ...]
) -> None:
    """Version 0.1.0 recorded nothing that tells a home from its copy."""
    copy, before = Home(lab.place / "copy"), lab.rows()
    shutil.copytree(lab.home.path, copy.path)
    for home in (copy, lab.home, copy):  # asked until there is an answer
        result = call(home, *command)
        assert str(result.exception) == (
            f"{lab.folder(home).path}: version 0.1.0 sent its records to {lab.uri}, without recording the folder;"
            " add --moved if it was this one, --new-identity if this is a copy"
        )
        assert lab.rows() == before
    assert call(copy, *command, "--new-identity").exit_code == 0
    assert set(before["runs"]) <= set(lab.rows()["runs"])
    assert call(lab.home, "sync", "old", "--moved").exit_code == 0
    assert lab.parent in lab.runs(lab.home)
    assert call(lab.home, "sync", "old").exit_code == 0, "asked once"


def test_a_store_that_keeps_artifacts_in_the_home_tells_whose_records_they_are(lab: Lab) -> None:
    copy, location = Home(lab.place / "copy"), (lab.home.artifacts / "old").as_uri()
    with closing(sqlite3.connect(lab.store)) as database:
        database.execute("UPDATE experiments SET artifact_location = ?", (location,))
        database.commit()
    shutil.copytree(lab.home.path, copy.path)
    assert "add --moved" in str(call(copy, "clean", "old", "--yes").exception)
    assert call(lab.home, "sync", "old").exit_code == 0
    assert lab.parent in lab.runs(lab.home)
