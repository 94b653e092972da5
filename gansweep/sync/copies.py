"""Copies of trial folders in a storage: uploaded by the process that trains the trial, downloaded by its readers.

In the storage, the names of a trial's files are those in its folder, with the prefix `sweeps/NAME/trials/ID/`. Only the
journal is stored differently: in segments `journal/OFFSET.jsonl`, each named by the offset of its first byte, created
once and never changed. A checkpoint is uploaded after the records that precede it, and the outcome last. The copy is
therefore at any moment in a state that a killed process could have left behind.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import secrets
import socket
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from gansweep.errors import TakenOverError, UserError
from gansweep.records.layout import TrialFolder, write_atomically
from gansweep.sync.storage import Storage, StorageError
from gansweep.usercode.code import Code, digest_of, write

# Other names are never downloaded: a name is used as a path.
FILES = re.compile(
    r"samples/\d{8}\.png|checkpoints/\d{8}\.safetensors|(cadence|devices|evaluator|fid|owner|outcome)\.json|traceback\.txt"
)
SEGMENTS = re.compile(r"journal/(\d{12})\.jsonl")
OWNER, STOP, CODE = "owner.json", "stop", "code"


def sweep_prefix(name: str) -> str:
    """Return the prefix of the names of a sweep's objects in a storage."""
    return f"sweeps/{name}"


def trial_prefix(sweep: str, trial_id: str) -> str:
    """Return the prefix of the names of a trial's objects in a storage."""
    return f"{sweep_prefix(sweep)}/trials/{trial_id}"


class Pushed:
    """The folder in which this process trains a trial, and the copy of the folder in a storage.

    The process that has claimed the trial last is its owner. Only the owner uploads.

    Args:
        storage: The storage.
        prefix: Prefix of the trial's objects, as returned by `trial_prefix`.
        folder: Folder of the trial.
    """

    def __init__(self, storage: Storage, prefix: str, folder: TrialFolder) -> None:
        self._storage, self._prefix, self._folder = storage, prefix, folder
        owner = {"host": socket.gethostname(), "pid": os.getpid(), "token": secrets.token_hex(8)}
        self._owner = json.dumps(owner).encode()
        self._journal = 0  # bytes of the journal that the copy holds
        self._known: dict[str, tuple[int, int]] = {}  # name → time and size of the local file, for files in the copy

    def claim(self) -> None:
        """Claim the trial for this process, and download its files from the storage, except for sample grids.

        Raises:
            StorageError: The storage is currently unavailable.
        """
        self.own()
        names = self._storage.names(self._prefix)
        pull(self._storage, self._prefix, self._folder, names, samples=False)
        self._journal = _size(self._folder.journal)
        self._known = {name: _stamp(path) for name, path in self._files().items() if name in names}

    def own(self) -> None:
        """Record this process as the trial's owner in the storage. A previous owner notices this at its next `push`."""
        self._storage.put(f"{self._prefix}/{OWNER}", self._owner)

    def push(self) -> None:
        """Upload new and changed files, and delete files from the storage that the folder no longer has.

        Files that could not be uploaded are uploaded by the next call.

        Raises:
            TakenOverError: Another process has claimed the trial.
            StorageError: The storage is currently unavailable.
        """
        self._check_owner()
        files = self._files()  # before the journal is read, so that it holds the records before each checkpoint
        self._push_cadence()
        self._push_journal()
        for name, path in files.items():
            with contextlib.suppress(FileNotFoundError):  # a checkpoint that was deleted in the meantime
                self._push_file(name, path)
        for name in set(self._known) - set(self._files()):
            self._storage.delete(f"{self._prefix}/{name}")
            del self._known[name]

    def fetch_stop(self) -> None:
        """Download the driver's request to end the trial, if there is one."""
        request = self._storage.get(f"{self._prefix}/{STOP}")
        if request is not None:
            write_atomically(self._folder.stop, request)

    def _check_owner(self) -> None:
        if self._storage.get(f"{self._prefix}/{OWNER}") != self._owner:
            raise TakenOverError(f"{self._folder.id}: another process has taken over this trial")

    def _push_cadence(self) -> None:
        """Upload cadence.json, the intervals between the trial's records. It is uploaded before any record.

        A trial with records but without this file counts as one of version 0.1.0.
        """
        if self._folder.cadence.exists():
            self._push_file(self._folder.cadence.name, self._folder.cadence)

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
                # A push that seemed to fail may have succeeded. Then the segment is a beginning of the content.
                there = self._storage.get(name) or b""
                if not there or not content.startswith(there):
                    raise TakenOverError(f"{self._folder.id}: another process has extended its journal")
            self._journal += len(there)
            content = content[len(there) :]

    def _push_file(self, name: str, path: Path) -> None:
        stamp = _stamp(path)
        if self._known.get(name) == stamp:
            return
        if name.startswith("samples/"):
            self._storage.create(f"{self._prefix}/{name}", path.read_bytes())  # keeps the time of its creation
        else:
            self._storage.put(f"{self._prefix}/{name}", path.read_bytes())
        self._known[name] = stamp

    def _files(self) -> dict[str, Path]:
        """Return name → path of all existing files except the journal, in the order in which they are uploaded."""
        folder = self._folder
        plain = (folder.cadence, folder.devices, folder.evaluator, folder.fid, folder.traceback, folder.outcome)
        paths = (*folder.all_samples(), *folder.all_checkpoints(), *plain)
        return {path.relative_to(folder.path).as_posix(): path for path in paths if path.exists()}


def share_code(storage: Storage, sweep: str, code: Code) -> None:
    """Upload the files of a user's code that the storage lacks, for `fetch_code` on other machines."""
    prefix = f"{sweep_prefix(sweep)}/{CODE}/{code.digest}"
    there = storage.names(prefix)
    for name, content in code.files().items():
        if name not in there:
            storage.put(f"{prefix}/{name}", content)


def fetch_code(storage: Storage, sweep: str, code: Code, cache: Callable[[], Path]) -> Code:
    """Return a user's code with its path on this machine. The code is downloaded if its given path does not exist.

    Args:
        storage: The storage.
        sweep: Name of the sweep.
        code: The code, with its path on the driver's machine.
        cache: Returns a folder on this machine; the code is downloaded to its subfolder `code`.

    Raises:
        UserError: The storage does not have the code, or has files with another digest.
    """
    if not code.digest or code.path.exists():
        return code
    prefix = f"{sweep_prefix(sweep)}/{CODE}/{code.digest}"
    files = {name: storage.get(f"{prefix}/{name}") or b"" for name in storage.names(prefix)}
    if digest_of(files) != code.digest:
        raise UserError(f"{storage.uri}/{prefix}: the code of the trial is missing or was changed; run the sweep again")
    return write(files, cache() / CODE)


def adopt(storage: Storage, prefix: str, folder: TrialFolder) -> None:
    """Upload the folder of a trial that was trained without a storage, and record this process as the trial's owner."""
    pushed = Pushed(storage, prefix, folder)
    pushed.own()
    pushed.push()


def remove(storage: Storage, sweep: str) -> None:
    """Delete all objects of a sweep from a storage.

    Raises:
        StorageError: The storage is currently unavailable.
    """
    for name in storage.names(sweep_prefix(sweep)):
        storage.delete(f"{sweep_prefix(sweep)}/{name}")


def pull(
    storage: Storage,
    prefix: str,
    folder: TrialFolder,
    names: Mapping[str, float] | None = None,
    *,
    samples: bool = True,
    checkpoints: bool = True,
) -> None:
    """Download what a trial's local folder lacks of the trial's copy in a storage.

    Args:
        storage: The storage.
        prefix: Prefix of the trial's objects, as returned by `trial_prefix`.
        folder: Local folder of the trial.
        names: Result of `storage.names(prefix)`, if already known.
        samples: Whether to download sample grids.
        checkpoints: Whether to download checkpoints and the outcome, and to delete local ones that the storage lacks.
            An outcome is never downloaded without the checkpoint that belongs to it.

    Raises:
        StorageError: The storage is unavailable, or its segments of the journal do not continue the local journal.
    """
    names = storage.names(prefix) if names is None else names
    _pull_journal(storage, prefix, folder, names)
    wanted = {name: at for name, at in names.items() if FILES.fullmatch(name)}
    if not samples:
        wanted = {name: at for name, at in wanted.items() if not name.startswith("samples/")}
    if not checkpoints:  # an outcome implies its checkpoint
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
    """Download a file unless the local one is up to date. Samples and checkpoints never change once they exist.

    The local file gets the object's time of writing `at` as its modification time, by which publishing orders images.
    """
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
    write_atomically(folder.journal, whole)  # only whole segments, even if the process is killed


def _segment(offset: int) -> str:
    return f"journal/{offset:012d}.jsonl"


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _stamp(path: Path) -> tuple[int, int]:
    found = path.stat()
    return found.st_mtime_ns, found.st_size
