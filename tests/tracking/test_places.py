"""Homes that are moved and copied: where their records and artifacts are looked for, and how records are corrected."""

from __future__ import annotations

import shutil
import signal
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import old_homes
import pytest
import stored
from bench import STEPS, Bench, empty_home, losses
from mlflow.tracking._tracking_service.utils import _artifact_repos_cache

from gansweep.records.layout import Home, read_json, write_json
from gansweep.records.outcome import Outcome
from gansweep.tracking import places, reader, store
from gansweep.tracking.publisher import Publisher

KILLED_BEFORE_COMMIT = """
import os, signal, sqlite3, sys
from functools import partial
from pathlib import Path
from gansweep.records.layout import Home
from gansweep.tracking import places

class Dying(sqlite3.Connection):
    def execute(self, statement, *values):
        if statement == "COMMIT":
            os.kill(os.getpid(), signal.SIGKILL)
        return super().execute(statement, *values)

sqlite3.connect = partial(sqlite3.connect, factory=Dying)
places.correct(Home(Path(sys.argv[1])))
"""


@pytest.fixture
def published(home: Home) -> Bench:
    """A home of its own with a sweep `s` of one trial, all of it in the home's own store."""
    bench = Bench(empty_home(home.path), "s")
    bench.trial("a", losses(3), Outcome("completed", STEPS))
    bench.publish()
    return bench


def at(home: Home) -> str:
    return store.local_uri(home)


def named_places(home: Home) -> set[str]:
    """Every artifact place that the store has of the sweep, without what follows the sweep's folder."""
    with closing(sqlite3.connect(home.database)) as database:
        rows = database.execute(
            "SELECT artifact_location FROM experiments WHERE name != 'Default' UNION ALL SELECT artifact_uri FROM runs"
        ).fetchall()
    return {place.partition("/artifacts/")[0] for (place,) in rows}


def journal_of(home: Home) -> bytes | None:
    """The copy of the trial's journal among its artifacts."""
    found = stored.sweep(home, reader.where(home, "s", None), "s")
    return found.files.content(found.trials[0], "journal.jsonl.gz")


def test_a_sweep_names_the_store_of_its_home_relative_to_it(published: Bench) -> None:
    assert read_json(published.folder.tracking)["uri"] == "sqlite:///mlflow.db"
    assert reader.where(published.home, "s", None) == published.uri


def test_other_stores_are_recorded_by_absolute_paths(
    home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert places.as_recorded(home, "sqlite:///shared.db") == f"sqlite:///{tmp_path}/shared.db"
    assert places.as_recorded(home, "http://mlflow:5000") == "http://mlflow:5000"


def test_a_relative_path_that_0_1_0_recorded_is_relative_to_the_working_directory(
    published: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("mlflow.db").touch()
    write_json(
        published.folder.tracking, {"uri": "sqlite:///mlflow.db", "experiment_id": "1", "parent_run_id": "another"}
    )
    assert reader.where(published.home, "s", None) == f"sqlite:///{tmp_path}/mlflow.db"


def test_a_moved_home_is_read_as_it_is(published: Bench, tmp_path: Path) -> None:
    before = journal_of(published.home)
    home = Home(tmp_path / "else where" / "home")
    home.path.parent.mkdir()
    published.home.path.rename(home.path)
    assert reader.where(home, "s", None) == at(home)
    assert before
    assert journal_of(home) == before
    assert named_places(home) == {f"file://{published.home.path}"}, "reading changes nothing"
    assert not published.home.path.exists()


def test_a_copied_home_is_read_from_the_copy(published: Bench, tmp_path: Path) -> None:
    copy = Home(tmp_path / "copy")
    shutil.copytree(published.home.path, copy.path)
    before = journal_of(copy)
    for file in published.home.artifacts.rglob("journal.jsonl.gz"):
        file.write_bytes(b"of the original")
    assert before
    assert journal_of(copy) == before
    assert journal_of(published.home) == b"of the original"


def test_a_moved_home_is_corrected_once(published: Bench, tmp_path: Path) -> None:
    old, home = published.home.path, Home(tmp_path / "moved häuser")
    old.rename(home.path)
    assert places.correct(home) == f"{old}/artifacts"
    assert named_places(home) == {home.path.as_uri()}
    assert places.correct(home) == ""
    folder = home.sweep("s")
    _artifact_repos_cache.clear()  # MLflow's, of a process: homes are moved between processes
    Publisher(home, folder, at(home), {}).publish(running=False)
    assert not old.exists(), "new artifacts go to the new place"


def test_a_killed_correction_changes_nothing_and_is_done_again(published: Bench, tmp_path: Path) -> None:
    old, home = published.home.path, Home(tmp_path / "moved")
    old.rename(home.path)
    done = subprocess.run([sys.executable, "-c", KILLED_BEFORE_COMMIT, str(home.path)])
    assert done.returncode == -signal.SIGKILL
    assert named_places(home) == {f"file://{old}"}
    assert places.correct(home) == f"{old}/artifacts"
    assert named_places(home) == {home.path.as_uri()}


def test_a_home_that_lost_its_artifacts_gets_new_ones_in_itself(published: Bench, tmp_path: Path) -> None:
    old, home = published.home.path, Home(tmp_path / "moved")
    old.rename(home.path)
    shutil.rmtree(home.artifacts)
    assert places.correct(home) == f"{old}/artifacts"
    assert named_places(home) == {home.path.as_uri()}


def test_artifacts_of_another_home_that_uses_the_store_stay_there(published: Bench, tmp_path: Path) -> None:
    guest = Home(tmp_path / "guest")
    folder = guest.sweep("s")
    shutil.copytree(published.folder.path, folder.path)
    for name in ("identity.json", "tracking.json"):
        (folder.path / name).unlink(missing_ok=True)
    Publisher(guest, folder, published.uri, {}).publish(running=False)
    home = Home(tmp_path / "moved")
    published.home.path.rename(home.path)
    places.correct(home)
    assert named_places(home) == {home.path.as_uri(), guest.path.as_uri()}


def test_a_home_reached_by_another_path_is_not_a_moved_one(published: Bench, tmp_path: Path) -> None:
    link = tmp_path / "link"
    link.symlink_to(published.home.path)
    assert places.correct(Home(link)) == ""
    assert journal_of(Home(link)) == journal_of(published.home)


def test_a_home_of_0_1_0_is_corrected_with_the_notes_of_its_trials(tmp_path: Path) -> None:
    home = old_homes.unpack(tmp_path)
    folder = home.sweep("old")
    before = read_json(folder.tracking)
    former = before["uri"].removeprefix("sqlite:///").removesuffix("/mlflow.db")
    assert places.recorded(home, folder) == at(home)
    places.correct_database(home.database, home)  # as if killed here
    noted = [trial.published for trial in folder.all_trials() if trial.published.exists()]
    content = noted[0].read_text()
    noted[0].write_text("{")  # the others are corrected all the same
    assert places.correct(home) == ""
    assert read_json(folder.tracking) == {**before, "uri": "sqlite:///mlflow.db"}
    assert [read_json(note)["uri"] for note in noted[1:]] == ["sqlite:///mlflow.db"]
    noted[0].write_text(content)
    assert not Path(former).exists()


def test_a_copy_of_a_home_of_0_1_0_uses_its_own_store(tmp_path: Path) -> None:
    original, copy = old_homes.unpack(tmp_path / "a"), old_homes.unpack(tmp_path / "b")
    for home in (original, copy):
        noted = home.sweep("old").tracking
        write_json(noted, {**read_json(noted), "uri": f"sqlite:///{original.database}"})
    assert reader.where(copy, "old", None) == at(copy)
    copy.database.unlink()
    assert reader.where(copy, "old", None) == at(original), "it may have been sent there: the copy knows nothing"
