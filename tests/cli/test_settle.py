"""Homes that were copied or moved: which commands go on with a sweep's records, and which are refused."""

from __future__ import annotations

import json
import shutil
import sqlite3
import subprocess
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from bad_calls import Call
from bench import STEPS, TABLES, Bench, empty_home, losses
from facts import assert_states

from gansweep.cli.settle import COPIED, settle
from gansweep.records.layout import Home, read_json, write_json
from gansweep.records.outcome import Outcome

REFUSED = "--new-identity"  # the option that a refusal names


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Home:
    """A store with its tables: making one takes seconds."""
    return empty_home(tmp_path_factory.mktemp("template") / "home")


@pytest.fixture
def original(template: Home, tmp_path: Path) -> Bench:
    """A home with one published sweep."""
    shutil.copytree(template.path, tmp_path / "original")
    bench = Bench(Home(tmp_path / "original"), "dig")
    bench.trial("a", losses(STEPS), Outcome("completed", STEPS))
    bench.publish()
    return bench


@pytest.fixture
def copied(original: Bench, tmp_path: Path) -> Path:
    shutil.copytree(original.home.path, tmp_path / "copy", symlinks=True)
    return tmp_path / "copy"


def rows(home: Path) -> dict[str, list[tuple[object, ...]]]:
    with closing(sqlite3.connect(home / "mlflow.db")) as database:
        tables = (*TABLES, "experiment_tags")
        return {table: sorted(database.execute(f"SELECT * FROM {table}"), key=repr) for table in tables}


def own_store(home: Path) -> tuple[str, str]:
    return "--tracking-uri", f"sqlite:///{home / 'mlflow.db'}"


def ids(home: Path) -> set[str]:
    """Ids of the sweeps whose runs are in a store and not deleted."""
    query = (
        "SELECT DISTINCT value FROM tags JOIN runs USING (run_uuid)"
        " WHERE key = 'gansweep.sweep_id' AND lifecycle_stage = 'active'"
    )
    with closing(sqlite3.connect(home / "mlflow.db")) as database:
        return {value for (value,) in database.execute(query)}


def sweep_id(home: Path) -> str:
    return str(read_json(home / "sweeps/dig/identity.json")["sweep_id"])


def test_a_copy_cleans_nothing_of_the_original(call: Call, original: Bench, copied: Path) -> None:
    before = rows(original.home.path)
    err = call("clean", "dig", "--yes", "--home", copied)
    assert_states(err, f"{copied}/sweeps/dig: ", f"copy of {original.folder.path}", REFUSED)
    assert err.count("\n") == 1
    assert rows(original.home.path) == before
    assert (copied / "sweeps/dig/plan.json").exists()
    err = call("clean", "dig", "--yes", "--new-identity", "--home", copied, code=0)
    assert err.splitlines()[-1] == "removed dig"
    assert rows(original.home.path) == before
    assert not ids(copied), "the copy's own store came along with it"
    assert not (copied / "sweeps/dig").exists()


def test_a_copy_is_refused_wherever_it_would_write(call: Call, original: Bench, copied: Path) -> None:
    Path("dig.yaml").write_text(Path("s.yaml").read_text().replace("name: s", "name: dig"))
    before, plan = rows(original.home.path), (copied / "sweeps/dig/plan.json").read_bytes()
    assert REFUSED in call("sync", "dig", "--home", copied, *own_store(copied))
    assert REFUSED in call("run", "dig.yaml", "--home", copied)
    shared = own_store(original.home.path)
    assert REFUSED in call("report", "dig", "--log", "--home", copied, *shared)
    assert rows(original.home.path) == before
    assert (copied / "sweeps/dig/plan.json").read_bytes() == plan


def test_a_new_identity_takes_the_copied_records_along(call: Call, original: Bench, copied: Path) -> None:
    before = rows(original.home.path)
    for _ in range(2):  # the second time there is nothing left to do
        call("sync", "dig", "--new-identity", "--home", copied, *own_store(copied), code=0)
        mine, theirs = rows(copied), rows(original.home.path)
        assert theirs == before
        assert [row[0] for row in mine["runs"]] == [row[0] for row in theirs["runs"]]
        assert mine["metrics"] == theirs["metrics"]
        assert ids(copied) == {sweep_id(copied)} != {sweep_id(original.home.path)}
        assert read_json(copied / "sweeps/dig/identity.json")["was"] == []


def test_in_a_shared_store_a_new_identity_begins_anew(call: Call, original: Bench, copied: Path) -> None:
    before = original.everything()["runs"]
    shared = own_store(original.home.path)
    err = call("sync", "dig", "--new-identity", "--home", copied, *shared, code=0)
    label = f"dig-{sweep_id(copied)[:8]}"
    assert f" {label}\n" in err
    assert set(before) < set(original.everything()["runs"])
    with closing(sqlite3.connect(original.home.database)) as database:
        (name,) = database.execute("SELECT name FROM experiments ORDER BY experiment_id DESC LIMIT 1").fetchone()
        points = database.execute("SELECT COUNT(*) FROM metrics GROUP BY run_uuid").fetchall()
    assert name == label
    assert points == [(2 * STEPS,), (2 * STEPS,)]


def test_a_moved_home_goes_on_and_says_so_once(call: Call, original: Bench, tmp_path: Path) -> None:
    runs, was, moved = rows(original.home.path)["runs"], original.folder.path, tmp_path / "elsewhere" / "home"
    moved.parent.mkdir()
    original.home.path.rename(moved)
    assert_states(call("sync", "dig", "--home", moved, *own_store(moved), code=0), "dig: ", "moved", f"from {was}")
    assert str(was) not in call("sync", "dig", "--home", moved, *own_store(moved), code=0)
    assert [row[0] for row in rows(moved)["runs"]] == [row[0] for row in runs]


def test_an_old_copy_of_a_home_that_has_moved_since(call: Call, original: Bench, copied: Path, tmp_path: Path) -> None:
    """Only the store, which lies outside of both, knows where the sweep is now."""
    shared = ("--tracking-uri", f"sqlite:///{tmp_path / 'shared.db'}")
    call("sync", "dig", "--home", original.home.path, *shared, code=0)
    shutil.copy(original.folder.tracking, copied / "sweeps/dig")
    moved = tmp_path / "moved"
    original.home.path.rename(moved)
    call("sync", "dig", "--home", moved, *shared, code=0)
    err = call("clean", "dig", "--yes", "--home", copied)
    assert f"copy of {moved}/sweeps/dig" in err


def as_from_another_machine(bench: Bench) -> None:
    """Both the file and the tag name a host that is not this one, and a path that is not here."""
    file = bench.folder.path / "identity.json"
    data = read_json(file)
    data["place"] = {"host": "another", "path": "/their/home/sweeps/dig", "inode": 1}
    write_json(file, data)
    parent = read_json(bench.folder.tracking)["parent_run_id"]
    bench.client.set_tag(parent, "gansweep.folder", json.dumps(data["place"]))


def test_what_cannot_be_seen_is_asked(call: Call, original: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    as_from_another_machine(original)
    home = ("--home", original.home.path)
    err = call("sync", "dig", *home)
    assert err.count("\n") == 1
    assert_states(err, "another:/their/home/sweeps/dig", "--moved")
    assert_states(call("sync", "dig", "--moved", *home, code=0), "dig: ", "moved", "another:/their/home")
    assert "moved" not in call("sync", "dig", *home, code=0)
    as_from_another_machine(original)
    monkeypatch.setattr("sys.stdin.isatty", lambda: True, raising=False)
    answers = iter([False, True])
    monkeypatch.setattr("click.confirm", lambda *_, **__: next(answers))
    assert_states(call("sync", "dig", *home), "another:/their/home", "--moved")
    assert_states(call("sync", "dig", *home, code=0), "moved", "another:/their/home")


@pytest.mark.parametrize(
    "copy",
    [
        lambda here, there: subprocess.run(["cp", "-al", here, there], check=True),  # hard links: the same inodes
        lambda here, there: shutil.copytree(here, there),
    ],
)
def test_copies_of_every_kind_are_told_from_links(
    call: Call, original: Bench, tmp_path: Path, copy: Callable[[Path, Path], object]
) -> None:
    copy(original.home.path, tmp_path / "copy")
    assert REFUSED in call("clean", "dig", "--yes", "--home", tmp_path / "copy")
    (tmp_path / "link").symlink_to(original.home.path)
    call("sync", "dig", "--home", tmp_path / "link", code=0)


def test_a_sweep_copied_within_its_home_leaves_the_original_its_records(call: Call, original: Bench) -> None:
    copy = original.home.path / "sweeps/dig2"
    shutil.copytree(original.folder.path, copy)
    home = ("--home", original.home.path)
    before = rows(original.home.path)
    assert f"copy of {original.folder.path}" in call("clean", "dig2", "--yes", *home)
    call("sync", "dig2", "--new-identity", *home, code=0)
    after = rows(original.home.path)
    assert set(before["runs"]) < set(after["runs"])
    assert set(before["tags"]) < set(after["tags"])
    call("clean", "dig2", "--yes", *home, code=0)
    assert ids(original.home.path) == {sweep_id(original.home.path)}


def test_cleaning_leaves_the_artifacts_of_runs_of_others(call: Call, original: Bench) -> None:
    artifacts = original.home.artifacts / "dig"
    assert (artifacts / original.runs()["a"].info.run_id).is_dir()
    foreign = original.client.create_run(original.experiment()).info
    original.client.log_text(foreign.run_id, "mine", "notes.txt")
    call("clean", "dig", "--yes", "--home", original.home.path, code=0)
    assert (artifacts / foreign.run_id / "artifacts/notes.txt").read_text() == "mine"
    assert [place.name for place in artifacts.iterdir()] == [foreign.run_id]


def test_cleaning_leaves_the_artifacts_of_a_sweep_that_had_the_name_before(call: Call, original: Bench) -> None:
    home, artifacts = original.home, original.home.artifacts / "dig"
    before = {path.name for path in artifacts.iterdir()}
    original.folder.path.rename(home.sweep("dug").path)
    call("sync", "dug", "--home", home.path, code=0)
    second = Bench(home, "dig")
    second.trial("b", losses(STEPS), Outcome("completed", STEPS))
    second.publish()
    assert {path.name for path in artifacts.iterdir()} > before
    call("clean", "dig", "--yes", "--home", home.path, code=0)
    assert {path.name for path in artifacts.iterdir()} == before
    call("clean", "dug", "--yes", "--home", home.path, code=0)
    assert not artifacts.exists() or not [*artifacts.iterdir()]


def test_a_copy_at_the_same_path_of_another_machine_keeps_the_store_that_came_along(
    call: Call, original: Bench
) -> None:
    before = read_json(original.folder.identity)
    place = {**before["place"], "host": "elsewhere", "inode": before["place"]["inode"] + 1}
    write_json(original.folder.identity, {**before, "place": place})
    original.client.set_tag(original.runs()["parent"].info.run_id, "gansweep.folder", json.dumps(place))
    call("sync", "dig", "--new-identity", "--home", original.home.path, code=0)
    assert before["sweep_id"] not in ids(original.home.path)
    assert ids(original.home.path) == {sweep_id(original.home.path)}


def test_a_sweep_copied_within_its_home_leaves_the_originals_records_wherever_that_was_mounted(
    call: Call, original: Bench
) -> None:
    home, before = original.home, read_json(original.folder.identity)
    second = home.sweep("dug")
    shutil.copytree(original.folder.path, second.path)
    place = {"host": "elsewhere", "path": "/mnt/home/sweeps/dig", "inode": 1}
    write_json(second.identity, {**before, "place": place})
    original.client.set_tag(original.runs()["parent"].info.run_id, "gansweep.folder", json.dumps(place))
    call("sync", "dug", "--new-identity", "--home", home.path, code=0)
    assert before["sweep_id"] in ids(home.path)
    assert len(ids(home.path)) == 2


def test_a_new_identity_holds_where_the_original_is_gone(call: Call, original: Bench, copied: Path) -> None:
    before, runs = sweep_id(copied), rows(copied)["runs"]
    shutil.rmtree(original.home.path)
    err = call("sync", "dig", "--new-identity", "--home", copied, code=0)
    assert f"dig: is now a separate sweep from {original.folder.path}\n" in err
    new = sweep_id(copied)
    assert ids(copied) == {new} != {before}
    assert [row[0] for row in rows(copied)["runs"]] == [row[0] for row in runs]
    call("sync", "dig", "--new-identity", "--home", copied, code=0)
    assert sweep_id(copied) == new, "the same command goes on with it"


def test_a_new_identity_holds_where_nothing_tells_of_a_copy(original: Bench) -> None:
    """As on a clone of the whole machine, where host, path and inode are the same."""
    before, told = sweep_id(original.home.path), list[str]()
    for _ in range(2):
        settle(original.home, original.folder, original.uri, COPIED, told.append, ask_store=False)
    assert len(told) == 1
    original.publish()
    assert ids(original.home.path) == {sweep_id(original.home.path)} != {before}


def test_a_sweep_in_a_storage_gets_no_new_identity(call: Call, original: Bench) -> None:
    original.folder.storage.write_text("file:///storage")
    err = call("sync", "dig", "--new-identity", "--home", original.home.path)
    assert err.startswith("--new-identity: dig is in a storage, and homes that use it share one sweep; ")
    assert err.count("\n") == 1


@pytest.mark.parametrize("content", ["{", "[]", '{"uri": 5}', '{"uri": "sqlite:///mlflow.db"}'])
def test_a_damaged_note_affects_its_own_sweep_alone(call: Call, original: Bench, tmp_path: Path, content: str) -> None:
    other = Bench(original.home, "dug")
    other.trial("b", losses(STEPS), Outcome("completed", STEPS))
    other.publish()
    other.folder.tracking.write_text(content)
    home = Home(tmp_path / "moved")
    original.home.path.rename(home.path)
    note = home.sweep("dug").tracking
    assert call("sync", "dig", "--home", home.path, code=0).endswith("is up to date\n")
    for command in (("sync",), ("clean", "--yes")):
        err = call(command[0], "dug", *command[1:], "--home", home.path)
        assert err.startswith(f"{note}: damaged (")
        assert "; remove it: `gansweep sync dug` finds the records again" in err
        assert err.count("\n") == 1
    call("clean", "dig", "--yes", "--home", home.path, code=0)
    before = rows(home.path)["runs"]
    note.unlink()
    call("sync", "dug", "--home", home.path, code=0)
    assert [row[0] for row in rows(home.path)["runs"]] == [row[0] for row in before]
