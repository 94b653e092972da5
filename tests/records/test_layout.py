from __future__ import annotations

import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from gansweep.records.layout import Home, SweepFolder, TrialFolder, read_json, write_atomically, write_json

# Dies by SIGKILL half-way through the content, before it is on disk, or before it gets its name.
DIE_WITHIN = """
import os, signal, sys
from pathlib import Path
from gansweep.records.layout import write_atomically

def die(*_, **__):
    os.kill(os.getpid(), signal.SIGKILL)

def opened(self, *a, **k):
    file = real_open(self, *a, **k)
    file.write(b"new con")
    file.flush()
    die()

real_open = Path.open
match sys.argv[2]:
    case "write": Path.open = opened
    case "fsync": os.fsync = die
    case "replace": Path.replace = die
write_atomically(Path(sys.argv[1]), b"new content", durable=True)
"""


@pytest.mark.parametrize("place", ["write", "fsync", "replace"])
@pytest.mark.parametrize("old", [b"old content", None])
def test_a_write_that_is_killed_leaves_the_old_content(tmp_path: Path, place: str, old: bytes | None) -> None:
    path = tmp_path / "outcome.json"
    if old is not None:
        path.write_bytes(old)
    died = subprocess.run([sys.executable, "-c", DIE_WITHIN, str(path), place], check=False)
    assert died.returncode == -signal.SIGKILL
    assert (path.read_bytes() if path.exists() else None) == old
    (leftover,) = [p for p in tmp_path.iterdir() if p != path]
    assert leftover.name.startswith(".outcome.json.")  # no pattern of the layout takes it for a file of its own
    write_atomically(path, b"new content", durable=True)
    assert path.read_bytes() == b"new content"


KEEP_WRITING = """
import sys
from pathlib import Path
from gansweep.records.layout import write_atomically
print("begun", flush=True)
while True:
    for letter in b"ab":
        write_atomically(Path(sys.argv[1]), bytes([letter]) * 1_000_000)
"""


def test_killed_at_any_moment_the_file_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "file"
    write_atomically(path, b"a" * 1_000_000)
    for wait_s in (0.0, 0.003, 0.007):
        process = subprocess.Popen([sys.executable, "-c", KEEP_WRITING, str(path)], stdout=subprocess.PIPE)
        assert process.stdout is not None
        process.stdout.readline()
        threading.Event().wait(wait_s)
        process.kill()
        process.communicate()
        content = path.read_bytes()
        assert len(content) == 1_000_000
        assert len(set(content)) == 1


@pytest.mark.parametrize("durable", [False, True])
def test_writes_into_new_folders_and_replaces(tmp_path: Path, durable: bool) -> None:
    path = tmp_path / "new" / "deep" / "file"
    for content in (b"first, longer", b"second"):
        write_atomically(path, content, durable=durable)
        assert path.read_bytes() == content
        assert list(path.parent.iterdir()) == [path]


def test_a_write_that_fails_leaves_nothing_behind(tmp_path: Path) -> None:
    (tmp_path / "file").mkdir()
    with pytest.raises(IsADirectoryError):
        write_atomically(tmp_path / "file", b"x")
    assert list(tmp_path.iterdir()) == [tmp_path / "file"]


def test_two_threads_write_whole_files(tmp_path: Path) -> None:
    path = tmp_path / "file"
    contents = [bytes([65 + i]) * 100_000 for i in range(4)]
    threads = [threading.Thread(target=lambda c=c: [write_atomically(path, c) for _ in range(20)]) for c in contents]  # type: ignore[misc]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert path.read_bytes() in contents
    assert list(tmp_path.iterdir()) == [path]


def test_json_comes_back(tmp_path: Path) -> None:
    assert read_json(tmp_path / "gone.json") == {}
    write_json(tmp_path / "a.json", {"a": [1, 2.5, None, "é"]}, durable=True)
    assert read_json(tmp_path / "a.json") == {"a": [1, 2.5, None, "é"]}


def test_samples_and_checkpoints_are_listed_oldest_first_without_leftovers(tmp_path: Path) -> None:
    trial = TrialFolder(tmp_path)
    assert trial.all_samples() == trial.all_checkpoints() == []
    steps = (900, 20, 12_000)
    for path in [*(trial.sample(s) for s in steps), *(trial.checkpoint(s) for s in steps)]:
        write_atomically(path, b"")
        path.with_name(f".{path.name}.1.2").write_bytes(b"half")
    trial.checkpoint(20).rename(trial.checkpoint(20).with_suffix(".damaged"))
    assert trial.all_samples() == [trial.sample(s) for s in sorted(steps)]
    assert trial.all_checkpoints() == [trial.checkpoint(900), trial.checkpoint(12_000)]


def test_a_sweep_lists_its_plan_in_order_and_all_that_ever_began(tmp_path: Path) -> None:
    sweep = SweepFolder(tmp_path / "s")
    assert sweep.planned() == sweep.all_trials() == []
    write_json(sweep.plan, {"trials": ["b", "a"]})
    for name in ("a", "b", "earlier"):
        sweep.trial(name).path.mkdir(parents=True)
    assert [t.id for t in sweep.planned()] == ["b", "a"]
    assert [t.id for t in sweep.all_trials()] == ["a", "b", "earlier"]


def test_a_home_lists_the_sweeps_that_were_planned(home: Home) -> None:
    assert home.sweeps() == []
    for name in ("z", "a"):
        write_json(home.sweep(name).plan, {"trials": []})
    home.sweep("unplanned").path.mkdir()
    assert [s.name for s in home.sweeps()] == ["a", "z"]


def test_every_file_has_a_place_of_its_own(home: Home) -> None:
    sweep = home.sweep("s")
    trial = sweep.trial("t")
    everything: list[Path] = [trial.sample(1), trial.checkpoint(1)]
    for folder in (home, sweep, trial):
        names = [n for n, p in vars(type(folder)).items() if isinstance(p, property) and n not in ("id", "name")]
        everything += [place for n in names if isinstance(place := getattr(folder, n), Path)]
    assert len(everything) == len(set(everything))
    assert all(path.is_relative_to(home.path) for path in everything)


def test_runs_of_the_same_second_have_folders_of_their_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gansweep.records.layout.time.strftime", lambda _: "20260102-030405")
    folders = [Home(tmp_path).new_run("lr") for _ in range(3)]
    assert [folder.id for folder in folders] == [f"lr-20260102-030405{more}" for more in ("", "-2", "-3")]
    assert all(folder.path.parent == Home(tmp_path).runs and folder.path.is_dir() for folder in folders)
