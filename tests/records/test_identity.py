"""A sweep's id: made once, by whoever comes first, and shared by homes that share a storage."""

from __future__ import annotations

import multiprocessing
from pathlib import Path

import pytest

from gansweep.errors import UserError
from gansweep.records import identity
from gansweep.records.identity import Place, Whereabouts
from gansweep.records.layout import Home, SweepFolder, write_json
from gansweep.sync.collector import Collector
from gansweep.sync.storage import FolderStorage


@pytest.fixture
def folder(tmp_path: Path) -> SweepFolder:
    made = Home(tmp_path / "home").sweep("s")
    made.path.mkdir(parents=True)
    return made


def test_processes_that_race_agree(folder: SweepFolder) -> None:
    with multiprocessing.get_context("fork").Pool(8) as pool:
        found = pool.map(identity.ensure, [folder] * 64, chunksize=1)
    assert len({one.sweep_id for one in found}) == 1
    assert [path.name for path in folder.path.iterdir()] == ["identity.json"]


@pytest.mark.parametrize("sweep_id", ["", "x" * 32, "a' OR 'a", 7])
def test_a_damaged_file_is_reported_in_one_line(folder: SweepFolder, sweep_id: object) -> None:
    write_json(folder.identity, {"sweep_id": sweep_id, "place": {"host": "h", "path": "p", "inode": 1}})
    with pytest.raises(UserError, match=r"identity.json: damaged \(.*\); restore it from a copy"):
        identity.read(folder)


@pytest.mark.parametrize(
    "tag", ["", "{}", "[]", '{"host": 1, "path": "p", "inode": 1}', '{"host": "h", "path": 5, "inode": 1}']
)
def test_an_edited_tag_names_no_place(tag: str) -> None:
    assert Place.from_json(tag) is None


def test_homes_of_one_storage_are_one_sweep(tmp_path: Path) -> None:
    storage = FolderStorage(tmp_path / "storage")
    found = set()
    for who in ("a", "b", "a"):
        folder = Home(tmp_path / who).sweep("s")
        folder.path.mkdir(parents=True, exist_ok=True)
        identity.ensure(folder)
        Collector(storage, folder, print).download()
        found.add(identity.ensure(folder).sweep_id)
    assert len(found) == 1


def test_a_folder_seen_from_another_machine(folder: SweepFolder) -> None:
    """The same inode means that the machines share a file system; anything else cannot be told from here."""
    here = Place.of(folder)
    assert identity.whereabouts(here, folder) is Whereabouts.HERE
    assert identity.whereabouts(Place("other", here.path, here.inode), folder) is Whereabouts.HERE
    assert identity.whereabouts(Place("other", "/mnt/home/sweeps/s", here.inode), folder) is Whereabouts.HERE
    assert identity.whereabouts(Place("other", here.path, here.inode + 1), folder) is Whereabouts.UNSEEN
    assert identity.whereabouts(Place("other", "/gone", here.inode + 1), folder) is Whereabouts.UNSEEN
    assert identity.whereabouts(Place(here.host, "/gone", 1), folder) is Whereabouts.MOVED


def test_a_place_that_holds_another_sweep_by_now(folder: SweepFolder, tmp_path: Path) -> None:
    identity.ensure(folder)
    other = Home(tmp_path / "other").sweep("s")
    other.path.mkdir(parents=True)
    assert identity.whereabouts(Place.of(other), folder) is Whereabouts.MOVED
    identity.ensure(other)
    assert identity.whereabouts(Place.of(other), folder) is Whereabouts.MOVED
