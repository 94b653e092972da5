"""A trial's folder and its copy: what is pushed, in which order, by whom, and what comes back."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from gansweep.errors import TakenOverError
from gansweep.records import journal
from gansweep.records.journal import Journal, Record
from gansweep.records.layout import TrialFolder, read_json
from gansweep.sync import copies
from gansweep.sync.copies import Pushed, pull
from gansweep.sync.storage import FolderStorage, Storage, StorageError

PREFIX = "sweeps/s/trials/0123456789ab"


def folder(tmp_path: Path, name: str) -> TrialFolder:
    made = TrialFolder(tmp_path / name / "0123456789ab")
    made.path.mkdir(parents=True)
    return made


def claimed(storage: Storage, place: TrialFolder) -> Pushed:
    pushed = Pushed(storage, PREFIX, place)
    pushed.claim()
    return pushed


def train(place: TrialFolder, *steps: int, checkpoint: int | None = None) -> None:
    """Records, and a checkpoint that replaces the one before."""
    with Journal(place.journal) as file:
        for step in steps:
            file.append(Record(step, 100.0 + step, {"loss_d": step}))
    if checkpoint is not None:
        for old in place.all_checkpoints():
            old.unlink()
        place.checkpoints.mkdir(exist_ok=True)
        place.checkpoint(checkpoint).write_bytes(b"weights %d" % checkpoint)


def content(place: TrialFolder) -> dict[str, bytes]:
    """All of it but who owned it."""
    return {
        p.relative_to(place.path).as_posix(): p.read_bytes()
        for p in place.path.rglob("*")
        if p.is_file() and p != place.owner
    }


def test_what_was_pushed_comes_back(storage: Storage, tmp_path: Path) -> None:
    here, there = folder(tmp_path, "here"), folder(tmp_path, "there")
    pushed = claimed(storage, here)
    train(here, 1, 2, checkpoint=2)
    here.samples.mkdir()
    here.sample(2).write_bytes(b"png")
    here.evaluator.write_text("{}")
    pushed.push()
    train(here, 3, 4, checkpoint=4)
    here.outcome.write_text("{}")
    pushed.push()
    pull(storage, PREFIX, there)
    assert content(there) == content(here)
    assert [r.step for r in journal.read(there.journal)] == [1, 2, 3, 4]
    pull(storage, PREFIX, there)
    assert content(there) == content(here)


def test_what_is_measured_after_the_last_step_comes_back(storage: Storage, tmp_path: Path) -> None:
    here, there = folder(tmp_path, "here"), folder(tmp_path, "there")
    pushed = claimed(storage, here)
    train(here, 1, 2, checkpoint=2)
    pushed.push()
    with Journal(here.journal) as file:
        file.append_more(Record(2, 102.0, {"fid": 1.0}))
    here.fid.write_text("{}")
    pushed.push()
    pull(storage, PREFIX, there)
    assert content(there) == content(here)
    assert [{*r.values} for r in journal.read(there.journal)] == [{"loss_d"}, {"loss_d"}, {"fid"}]


def test_a_push_of_nothing_new_writes_nothing(storage: Storage, tmp_path: Path) -> None:
    here = folder(tmp_path, "here")
    pushed = claimed(storage, here)
    train(here, 1, checkpoint=1)
    pushed.push()
    before = storage.names("")
    pushed.push()
    assert storage.names("") == before


def test_only_whole_records_are_pushed(storage: Storage, tmp_path: Path) -> None:
    here = folder(tmp_path, "here")
    pushed = claimed(storage, here)
    train(here, 1)
    whole = here.journal.read_bytes()
    here.journal.write_bytes(whole + b'{"step": 2, "ti')
    pushed.push()
    assert storage.get(f"{PREFIX}/journal/000000000000.jsonl") == whole


def test_whoever_claims_it_goes_on_where_the_copy_ends(storage: Storage, tmp_path: Path) -> None:
    first, second, home = (folder(tmp_path, name) for name in ("first", "second", "home"))
    before = claimed(storage, first)
    train(first, 1, 2, checkpoint=2)
    before.push()
    train(first, 3)  # lost with its machine
    after = claimed(storage, second)
    assert [p.name for p in second.all_checkpoints()] == ["00000002.safetensors"]
    train(second, 3, 4, checkpoint=4)
    after.push()
    pull(storage, PREFIX, home)
    assert [r.step for r in journal.read(home.journal)] == [1, 2, 3, 4]
    assert [p.name for p in home.all_checkpoints()] == ["00000004.safetensors"]


def test_a_process_that_lost_its_trial_writes_nothing_more(storage: Storage, tmp_path: Path) -> None:
    zombie, owner = folder(tmp_path, "zombie"), folder(tmp_path, "owner")
    before = claimed(storage, zombie)
    train(zombie, 1, checkpoint=1)
    before.push()
    claimed(storage, owner)
    train(zombie, 2, checkpoint=2)
    there = storage.names("")
    with pytest.raises(TakenOverError, match="another process has taken over this trial"):
        before.push()
    assert storage.names("") == there


def test_the_home_knows_which_process_had_it_last(storage: Storage, tmp_path: Path) -> None:
    home = folder(tmp_path, "home")
    claimed(storage, folder(tmp_path, "there"))
    pull(storage, PREFIX, home)
    found = read_json(home.owner)
    assert (found["host"], found["pid"]) == (socket.gethostname(), os.getpid())


def test_a_journal_that_somebody_else_continued_is_not_doubled(tmp_path: Path) -> None:
    """The moment between asking who owns it and writing."""
    storage = FolderStorage(tmp_path / "storage")
    zombie, owner = folder(tmp_path, "zombie"), folder(tmp_path, "owner")
    before = claimed(storage, zombie)
    train(zombie, 1)
    after = claimed(storage, owner)
    train(owner, 1, 2)
    after.push()
    before.own()  # as if it had asked just before the other claimed it
    with pytest.raises(TakenOverError, match="has extended its journal"):
        before.push()
    assert storage.get(f"{PREFIX}/journal/000000000000.jsonl") == owner.journal.read_bytes()


def test_a_push_that_was_cut_off_is_made_good(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The segment arrived, its answer did not."""
    storage = FolderStorage(tmp_path / "storage")
    here, there = folder(tmp_path, "here"), folder(tmp_path, "there")
    pushed = claimed(storage, here)
    create = storage.create

    def cut_off(name: str, content: bytes) -> bool:
        create(name, content)
        raise StorageError("timed out")

    train(here, 1)
    with monkeypatch.context() as patch:
        patch.setattr(storage, "create", cut_off)
        with pytest.raises(StorageError):
            pushed.push()
    train(here, 2, checkpoint=2)
    pushed.push()
    pull(storage, PREFIX, there)
    assert content(there) == content(here)


def test_a_checkpoint_is_pushed_after_the_records_before_it_and_the_outcome_last(tmp_path: Path) -> None:
    names: list[str] = []

    class Watched(FolderStorage):
        def put(self, name: str, content: bytes) -> None:
            names.append(name.removeprefix(f"{PREFIX}/"))
            super().put(name, content)

        def create(self, name: str, content: bytes) -> bool:
            names.append(name.removeprefix(f"{PREFIX}/"))
            return super().create(name, content)

    here = folder(tmp_path, "here")
    pushed = claimed(Watched(tmp_path / "storage"), here)
    train(here, 1, checkpoint=1)
    here.outcome.write_text("{}")
    pushed.push()
    assert names == ["owner.json", "journal/000000000000.jsonl", "checkpoints/00000001.safetensors", "outcome.json"]


def test_an_outcome_that_holds_no_more_goes_there_as_well(storage: Storage, tmp_path: Path) -> None:
    here, home = folder(tmp_path, "here"), folder(tmp_path, "home")
    pushed = claimed(storage, here)
    train(here, 1, checkpoint=1)
    here.outcome.write_text("{}")
    pushed.push()
    pull(storage, PREFIX, home)
    assert home.outcome.exists()
    again = folder(tmp_path, "again")
    pushed = claimed(storage, again)
    again.outcome.unlink()  # as a run does that is opened again
    pushed.push()
    pull(storage, PREFIX, home)
    assert not home.outcome.exists()


def test_while_it_runs_checkpoints_and_the_outcome_stay_where_they_are(storage: Storage, tmp_path: Path) -> None:
    here, home = folder(tmp_path, "here"), folder(tmp_path, "home")
    pushed = claimed(storage, here)
    train(here, 1, checkpoint=1)
    here.outcome.write_text("{}")
    pushed.push()
    pull(storage, PREFIX, home, checkpoints=False)
    assert set(content(home)) == {"journal.jsonl"}


def test_samples_keep_the_time_of_their_first_drawing(storage: Storage, tmp_path: Path) -> None:
    """MLflow's images are named by it: from another home, or drawn again, they must not come twice."""
    here, one, two = (folder(tmp_path, name) for name in ("here", "one", "two"))
    pushed = claimed(storage, here)
    here.samples.mkdir()
    here.sample(1).write_bytes(b"png")
    pushed.push()
    pull(storage, PREFIX, one)
    os.utime(here.sample(1), (1, 1))
    pushed.push()
    pull(storage, PREFIX, two)
    assert one.sample(1).stat().st_mtime == two.sample(1).stat().st_mtime


def test_names_that_lead_elsewhere_are_not_taken(tmp_path: Path) -> None:
    storage, home = FolderStorage(tmp_path / "storage"), folder(tmp_path, "home")
    hostile = ["../../escaped", "samples/../../../x.png", "checkpoints/1.safetensors", "trial.json", "lock", "/etc/x"]
    pull(storage, PREFIX, home, dict.fromkeys([*hostile, "journal/../1.jsonl"], 0.0))
    assert content(home) == {}


def test_a_gap_in_the_journal_is_an_error_and_changes_nothing(storage: Storage, tmp_path: Path) -> None:
    home = folder(tmp_path, "home")
    storage.put(f"{PREFIX}/journal/000000000000.jsonl", b"12345\n")
    storage.put(f"{PREFIX}/journal/000000000009.jsonl", b"x\n")
    with pytest.raises(StorageError, match="6 bytes, but the next segment begins at 9"):
        pull(storage, PREFIX, home)
    assert content(home) == {}


def test_a_folder_trained_without_a_storage_is_adopted(storage: Storage, tmp_path: Path) -> None:
    here, there = folder(tmp_path, "here"), folder(tmp_path, "there")
    train(here, 1, 2, checkpoint=2)
    here.outcome.write_text("{}")
    copies.adopt(storage, PREFIX, here)
    pull(storage, PREFIX, there)
    assert content(there) == content(here)


def test_a_request_to_stop_arrives(storage: Storage, tmp_path: Path) -> None:
    here = folder(tmp_path, "here")
    pushed = claimed(storage, here)
    pushed.fetch_stop()
    assert not here.stop.exists()
    storage.put(f"{PREFIX}/stop", b"asha")
    pushed.fetch_stop()
    assert here.stop.read_text() == "asha"
