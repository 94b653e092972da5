"""Names in sweep files, homes and storages name something in their own folder, or are refused: nothing is read, written
or deleted outside."""

from __future__ import annotations

import json
import pickle
from pathlib import Path

import pytest
from bad_calls import GOOD, Call

from gansweep.errors import UserError
from gansweep.gan.reader import Source, reader_of
from gansweep.planning.plan import make_plan, write_trials
from gansweep.records.layout import Home, SweepFolder
from gansweep.sweepfile.loader import load
from gansweep.sync import copies
from gansweep.sync.collector import Collector
from gansweep.sync.storage import FolderStorage

ESCAPES = ["..", "../x", "/etc", "a/b", "a\\b", ".hidden", "", " ", "a\x00b", "a\nb", "~", "x" * 65, "con/../..", "ä"]


@pytest.fixture
def victim(tmp_path: Path) -> Path:
    """A folder outside the home, with something in it. It must stay as it is."""
    folder = tmp_path / "victim"
    folder.mkdir()
    (folder / "trial.json").write_text('{"secret": 1}')
    (folder / "x.png").write_bytes(b"mine")
    return folder


@pytest.fixture
def planned(tmp_path: Path, home: Home) -> SweepFolder:
    """A sweep of one trial, never run."""
    file = tmp_path / "s.yaml"
    file.write_text(GOOD)
    plan = make_plan(load(file), home)
    write_trials(plan, "gansweep run s.yaml", ())
    return plan.folder


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("name", ESCAPES)
def test_a_sweep_cannot_be_named_after_a_path(call: Call, tmp_path: Path, home: Home, name: str) -> None:
    file = tmp_path / "s.yaml"
    file.write_text(GOOD.replace("name: s", f"name: {json.dumps(name)}"))
    line = call("run", file)
    assert line.startswith(f"{file}:1:7: name: ")
    assert line.count("\n") == 1, line
    assert not home.path.exists()


@pytest.mark.parametrize("name", ["..", "../victim", "victim", "/etc"])
@pytest.mark.parametrize("command", ["status", "clean", "stop", "sync"])
def test_commands_know_sweeps_and_no_paths(
    call: Call, planned: SweepFolder, victim: Path, command: str, name: str
) -> None:
    before = contents(victim)
    assert "no sweep named" in call(command, name, *(["--yes"] if command == "clean" else []))
    assert planned.plan.exists()
    assert contents(victim) == before


@pytest.mark.parametrize("forged", ["../../../../victim", "/etc", "..", "a/b", "", "a\x00b", "a\\b", 7, {}, None])
def test_a_plan_that_names_a_trial_elsewhere(call: Call, planned: SweepFolder, victim: Path, forged: object) -> None:
    before = contents(victim)
    plan = json.loads(planned.plan.read_text())
    planned.plan.write_text(json.dumps({**plan, "trials": [*plan["trials"], forged]}))
    line = call("status", planned.name)
    assert line == f"{planned.path}: {forged!r} is not a trial id; its plan.json is damaged or forged\n"
    assert contents(victim) == before


@pytest.mark.parametrize(
    "content", ["[]", "7", '"x"', "{", "[" * 100_000, "9" * 10_000, "\x80"], ids=lambda text: text[:5]
)
def test_files_of_a_home_that_hold_something_else(call: Call, planned: SweepFolder, content: str) -> None:
    trial = planned.planned()[0]
    for path in (trial.trial, planned.plan):
        path.write_bytes(content.encode("latin-1"))
        line = call("status", planned.name)
        assert line.startswith(f"{path}: damaged (")
        assert line.count("\n") == 1, line


def test_clean_removes_no_more_than_lies_in_the_sweep(call: Call, planned: SweepFolder, victim: Path) -> None:
    (planned.path / "trials" / "linked").symlink_to(victim)
    (planned.planned()[0].path / "samples").symlink_to(victim)
    (planned.path / "storage.txt").symlink_to(victim / "x.png")
    before = contents(victim)
    assert call("clean", planned.name, "--yes", code=0) == f"removed {planned.name}\n"
    assert not planned.path.exists()
    assert contents(victim) == before


@pytest.mark.parametrize("which", ["sweep", "artifacts"])
def test_clean_follows_no_link(call: Call, planned: SweepFolder, home: Home, victim: Path, which: str) -> None:
    """Nor does it begin: the sweep stays whole."""
    place = planned.path if which == "sweep" else home.artifacts / planned.name
    if which == "sweep":
        planned.path.rename(victim / "moved")
    place.parent.mkdir(exist_ok=True)
    place.symlink_to(victim / "moved" if which == "sweep" else victim)
    before = contents(victim)
    line = call("clean", planned.name, "--yes")
    assert line == f"{place}: is a link, and only files in the home are removed; remove it by hand\n"
    assert {name: text for name, text in contents(victim).items() if "lock" not in name} == before
    assert place.is_symlink()


def test_clean_of_a_storage_follows_no_link(tmp_path: Path, victim: Path) -> None:
    storage = FolderStorage(tmp_path / "storage")
    storage.put("sweeps/s/trials/a/outcome.json", b"{}")
    (tmp_path / "storage" / "sweeps" / "s" / "linked").symlink_to(victim)
    (tmp_path / "storage" / "sweeps" / "s" / "x.png").symlink_to(victim / "x.png")
    before = contents(victim)
    copies.remove(storage, "s")
    assert storage.names("sweeps/s") == {}
    assert contents(victim) == before


class HostileStorage(FolderStorage):
    """Its lists hold whatever somebody has put there: in an object store a name may have any form."""

    def names(self, prefix: str) -> dict[str, float]:
        escapes = ("../../../escaped", "samples/../../../../escaped.png", "/escaped", "outcome.json/../../escaped")
        ids = ("..", "../..", ".", "/", "~", "0123456789ab/..", "0123456789ab")
        return {f"{trial}/{name}" if prefix.endswith("trials") else name: 1.0 for name in escapes for trial in ids}

    def get(self, name: str) -> bytes | None:
        return b"{}" if "escaped" in name else None


def test_a_storage_writes_nothing_outside_the_sweep(tmp_path: Path, home: Home) -> None:
    folder = home.sweep("s")
    folder.path.mkdir(parents=True)
    Collector(HostileStorage(tmp_path / "storage"), folder, print).download()
    assert [path for path in tmp_path.rglob("*") if "escaped" in path.name] == []
    assert {path.name for path in folder.path.iterdir()} == {"identity.json", "storage"}


def test_classes_are_folders_of_the_set_and_no_paths(tmp_path: Path, victim: Path) -> None:
    (tmp_path / "set" / "a").mkdir(parents=True)
    (tmp_path / "set" / "a" / "x.png").write_bytes(b"")
    for name in ("../victim", str(victim), "..", "."):
        source = Source("image_folder", 8, path=str(tmp_path / "set"), classes=(name,))
        with pytest.raises(UserError, match=r"dataset\.classes: .* has no class"):
            reader_of(source, tmp_path / "cache")


def test_a_cifar_archive_of_somebody_else_is_not_unpickled(tmp_path: Path, victim: Path) -> None:
    """CIFAR-10 comes as pickles: torchvision loads those alone whose checksums are the authors'."""

    class Payload:
        def __reduce__(self) -> tuple[object, ...]:
            return Path.unlink, (victim / "x.png",)

    folder = tmp_path / "data" / "cifar-10-batches-py"
    folder.mkdir(parents=True)
    for name in (*(f"data_batch_{i}" for i in range(1, 6)), "test_batch", "batches.meta"):
        (folder / name).write_bytes(pickle.dumps(Payload()))
    before = contents(victim)
    with pytest.raises(UserError, match="cifar10"):
        list(reader_of(Source("cifar10", 8, data_dir=str(tmp_path / "data")), tmp_path / "cache").pictures())  # type: ignore[attr-defined]
    assert contents(victim) == before
