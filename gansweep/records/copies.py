"""A trial's folder and its copy in a storage: pushed by the process that trains it, pulled by whoever needs it.

In the storage a trial is `sweeps/NAME/trials/ID/`, with the names of its folder but for the journal, which is
`journal/OFFSET.jsonl`: segments, each named by the byte at which it begins, created once and never changed. A
checkpoint is pushed after the records before it, the outcome last: at any moment the copy is what a killed process
leaves behind.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import secrets
import socket
from collections.abc import Iterable, Mapping
from pathlib import Path

from gansweep.errors import TakenOverError
from gansweep.records.layout import TrialFolder, write_atomically
from gansweep.records.storage import Storage, StorageError

# Nothing else is taken from a storage: a name is a path.
FILES = re.compile(r"samples/\d{8}\.png|checkpoints/\d{8}\.safetensors|(evaluator|owner|outcome)\.json|traceback\.txt")
SEGMENTS = re.compile(r"journal/(\d{12})\.jsonl")
OWNER, STOP = "owner.json", "stop"


def of_sweep(name: str) -> str:
    """The prefix of a sweep's copy."""
    return f"sweeps/{name}"


def of_trial(sweep: str, trial_id: str) -> str:
    """The prefix of a trial's."""
    return f"{of_sweep(sweep)}/trials/{trial_id}"


class Pushed:
    """A trial's folder that this process trains in, and its copy. Of several that claim it the last one owns it."""

    def __init__(self, storage: Storage, prefix: str, folder: TrialFolder) -> None:
        self._storage, self._prefix, self._folder = storage, prefix, folder
        owner = {"host": socket.gethostname(), "pid": os.getpid(), "token": secrets.token_hex(8)}
        self._owner = json.dumps(owner).encode()
        self._journal = 0  # bytes of it that the copy has
        self._known: dict[str, tuple[int, int]] = {}  # what the copy has, by name: time and size of the file here

    def claim(self) -> None:
        """Take the trial over from whoever had it, and fill the (empty) folder with its copy, samples left out.

        Raises StorageError where that cannot be done now.
        """
        self.own()
        pull(self._storage, self._prefix, self._folder, samples=False)
        self._journal = _size(self._folder.journal)
        self._known = {name: _stamp(path) for name, path in self._files().items()}

    def own(self) -> None:
        """Whoever owned it notices at the next push."""
        self._storage.put(f"{self._prefix}/{OWNER}", self._owner)

    def push(self) -> None:
        """What the copy lacks.

        Raises TakenOverError where another process has claimed the trial, StorageError where the copy is out of reach:
        what is not there yet is pushed by the next call.
        """
        self._check_owner()
        files = self._files()  # before the journal is read: it holds the records before each checkpoint here
        self._push_journal()
        for name, path in files.items():
            with contextlib.suppress(FileNotFoundError):  # a checkpoint that is kept no longer
                self._push_file(name, path)
        for name in set(self._known) - set(self._files()):
            self._storage.delete(f"{self._prefix}/{name}")
            del self._known[name]

    def fetch_stop(self) -> None:
        """Look whether the driver wants the trial to end."""
        request = self._storage.get(f"{self._prefix}/{STOP}")
        if request is not None:
            write_atomically(self._folder.stop, request)

    def _check_owner(self) -> None:
        if self._storage.get(f"{self._prefix}/{OWNER}") != self._owner:
            raise TakenOverError(f"{self._folder.id}: another process trains it now")

    def _push_journal(self) -> None:
        try:
            with self._folder.journal.open("rb") as file:
                file.seek(self._journal)
                content = file.read()
        except FileNotFoundError:
            return
        content = content[: content.rfind(b"\n") + 1]
        while content:
            name, there = f"{self._prefix}/{_segment(self._journal)}", content
            if not self._storage.create(name, content):
                # A push that failed may have succeeded; then the segment is ours, and less than we have now.
                there = self._storage.get(name) or b""
                if not there or not content.startswith(there):
                    raise TakenOverError(f"{self._folder.id}: another process has gone on with its journal")
            self._journal += len(there)
            content = content[len(there) :]

    def _push_file(self, name: str, path: Path) -> None:
        stamp = _stamp(path)
        if self._known.get(name) == stamp:
            return
        if name.startswith("samples/"):
            self._storage.create(f"{self._prefix}/{name}", path.read_bytes())  # keeps the time of its first drawing
        else:
            self._storage.put(f"{self._prefix}/{name}", path.read_bytes())
        self._known[name] = stamp

    def _files(self) -> dict[str, Path]:
        """All but the journal, in the order in which they are pushed."""
        folder = self._folder
        paths = [*folder.all_samples(), *folder.all_checkpoints(), folder.evaluator, folder.traceback, folder.outcome]
        return {path.relative_to(folder.path).as_posix(): path for path in paths if path.exists()}


def adopt(storage: Storage, prefix: str, folder: TrialFolder) -> None:
    """Push a folder that was trained in without a storage."""
    pushed = Pushed(storage, prefix, folder)
    pushed.own()
    pushed.push()


def remove(storage: Storage, sweep: str) -> None:
    """Everything of a sweep. Raises StorageError where it is out of reach."""
    for name in storage.names(of_sweep(sweep)):
        storage.delete(f"{of_sweep(sweep)}/{name}")


def pull(
    storage: Storage,
    prefix: str,
    folder: TrialFolder,
    names: Mapping[str, float] | None = None,
    *,
    samples: bool = True,
    checkpoints: bool = True,
) -> None:
    """Bring a folder up to date with its copy. names: what the copy has, where that is known.

    Raises StorageError where it is out of reach, or its journal is not the continuation of the one here.
    """
    names = storage.names(prefix) if names is None else names
    _pull_journal(storage, prefix, folder, names)
    wanted = {name: at for name, at in names.items() if FILES.fullmatch(name)}
    if not samples:
        wanted = {name: at for name, at in wanted.items() if not name.startswith("samples/")}
    if not checkpoints:  # an outcome vouches for its checkpoint
        wanted = {
            name: at for name, at in wanted.items() if not name.startswith("checkpoints/") and name != "outcome.json"
        }
    for name in sorted(wanted, key=lambda name: (name == "outcome.json", name)):
        _pull_file(storage, f"{prefix}/{name}", folder.path / name, wanted[name])
    if checkpoints:
        for path in (*folder.all_checkpoints(), folder.outcome):
            if path.relative_to(folder.path).as_posix() not in names:
                path.unlink(missing_ok=True)


def _pull_file(storage: Storage, name: str, path: Path, at: float) -> None:
    """Samples and checkpoints never change. The file gets the time of the copy: publishing names images by it."""
    if path.exists() and (path.suffix in (".png", ".safetensors") or path.stat().st_mtime == at):
        return
    content = storage.get(name)
    if content is not None:
        write_atomically(path, content, durable=True)
        os.utime(path, (at, at))


def _pull_journal(storage: Storage, prefix: str, folder: TrialFolder, names: Iterable[str]) -> None:
    offsets = sorted(int(found[1]) for name in names if (found := SEGMENTS.fullmatch(name)))
    here = _size(folder.journal)
    new = [offset for offset in offsets if offset >= here]
    if not new:
        return
    whole = folder.journal.read_bytes() if here else b""
    for offset in new:
        if offset != len(whole):
            raise StorageError(f"{folder.journal}: {len(whole)} bytes, but the next segment begins at {offset}")
        whole += storage.get(f"{prefix}/{_segment(offset)}") or b""
    write_atomically(folder.journal, whole)  # whole segments, whenever we are killed


def _segment(offset: int) -> str:
    return f"journal/{offset:012d}.jsonl"


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _stamp(path: Path) -> tuple[int, int]:
    found = path.stat()
    return found.st_mtime_ns, found.st_size
