"""Where a trial's process works: in the home folder itself, or in a folder of its own whose copy lies in a storage."""

from __future__ import annotations

import os
import tempfile
import threading
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Protocol

from gansweep.errors import TakenOverError, UserError
from gansweep.gan.data import ImageSet
from gansweep.planning.job import Job
from gansweep.records import lock
from gansweep.records.layout import TrialFolder, write_atomically
from gansweep.records.scratch import scratch
from gansweep.sync import copies
from gansweep.sync.copies import Pushed
from gansweep.sync.periodic import PeriodicTask
from gansweep.sync.storage import Storage, open_storage, patiently

PUSH_S = 2.0
FETCH_WAIT_S = 600.0  # for another process of this machine that fetches the same images
CACHE = "cache"


class Workspace(Protocol):
    """folder: to open the run in, once it is prepared. notices: sentences for the user."""

    folder: TrialFolder
    notices: list[str]

    def prepare(self) -> ImageSet:
        """The images, where they lie here. Raises StorageError, and UserError where they cannot be had."""

    def report(self) -> None:
        """Be sure that the driver can know of all that is recorded by now. Raises TakenOverError, StorageError."""

    def look(self) -> None:
        """Be sure to know of a request that was made by now."""

    def request(self) -> str | None:
        """The rule that ended the trial, "" where it should end for now, None where it goes on.

        Raises TakenOverError where another process trains it now.
        """

    def close(self) -> None:
        """Call when the run is closed: everything is where it belongs, or StorageError is raised."""


def workspace(job: Job) -> Workspace:
    """Raises UserError where this machine cannot use the storage."""
    return RemoteWorkspace(job, open_storage(job.storage)) if job.storage else LocalWorkspace(job)


class LocalWorkspace:
    """Every machine sees the home folder."""

    def __init__(self, job: Job) -> None:
        self.folder, self._images = job.folder, job.images
        self.notices: list[str] = []
        self._sweep_stop = job.sweep_folder.stop

    def prepare(self) -> ImageSet:
        return self._images

    def report(self) -> None: ...

    def look(self) -> None: ...

    def request(self) -> str | None:
        found = _request(self.folder)
        return "" if found is None and self._sweep_stop.exists() else found

    def close(self) -> None: ...


class RemoteWorkspace:
    """The folder is this process's own. A periodic task pushes what is new and fetches requests: training
    does not wait for the storage, but at the beginning and the end."""

    def __init__(self, job: Job, storage: Storage) -> None:
        self._storage, self._job, self._stack = storage, job, ExitStack()
        self.notices: list[str] = []
        self._lost: TakenOverError | None = None
        self._turn = threading.Lock()
        self._task = PeriodicTask(self._exchange, PUSH_S, self.notices.append, "training continues, records are kept")
        self.folder = TrialFolder(self._stack.enter_context(scratch()) / job.id)
        self._pushed = Pushed(storage, copies.of_trial(job.sweep_folder.name, job.id), self.folder)

    def prepare(self) -> ImageSet:
        patiently(self._pushed.claim)
        self._task.start()
        images = patiently(lambda: fetch(self._storage, self._job.images))
        if self._job.samples:
            self.notices += patiently(lambda: share_reference(self._storage, images))
        return images

    def report(self) -> None:
        patiently(self._push)

    def look(self) -> None:
        patiently(self._pushed.fetch_stop)

    def request(self) -> str | None:
        if self._lost:
            raise self._lost
        return _request(self.folder)

    def close(self) -> None:
        with self._stack:
            self._task.stop()
            if self._task.started and not self._lost:  # else the trial was never its own, or is not any more
                patiently(self._push)

    def _push(self) -> None:
        with self._turn:
            self._pushed.push()

    def _exchange(self) -> bool:
        try:
            self._push()
            self._pushed.fetch_stop()
        except TakenOverError as error:
            self._lost = error
        return self._lost is None


def fetch(storage: Storage, images: ImageSet) -> ImageSet:
    """The set, where it lies on this machine: as the driver named it, or fetched once into a cache of this machine's.

    Raises UserError where the storage does not have it.
    """
    if all(path.exists() for path in _arrays(Path(images.file))):
        return images
    here = Path(node_cache(), Path(images.file).name)
    with lock.acquire(here.with_suffix(".lock"), wait_s=FETCH_WAIT_S):
        for path in _arrays(here):
            if not path.exists():
                content = storage.get(f"{CACHE}/{path.name}")
                if content is None:
                    raise UserError(f"{storage.uri}/{CACHE}/{path.name}: is missing; run the sweep again")
                write_atomically(path, content)
    return replace(images, file=str(here))


def share(storage: Storage, images: ImageSet) -> None:
    """What `fetch` finds: for the driver."""
    there = storage.names(CACHE)
    for path in _arrays(Path(images.file)):
        if path.name not in there:
            storage.put(f"{CACHE}/{path.name}", path.read_bytes())


def share_reference(storage: Storage, images: ImageSet) -> list[str]:
    """All machines judge by the same: by what the first of them made. Returns sentences for the user."""
    from gansweep.gan.reference import path_of, reference_of

    path = path_of(images)
    notices: list[str] = []
    name = f"{CACHE}/{path.name}"
    there = storage.get(name)
    if there is None:
        _, notices = reference_of(images)
        there = path.read_bytes() if storage.create(name, path.read_bytes()) else storage.get(name)
    if there is not None and not (path.exists() and path.read_bytes() == there):
        write_atomically(path, there)
    return notices


def node_cache() -> Path:
    """This user's, on this machine, between runs. Raises UserError where somebody else has made it."""
    folder = Path(tempfile.gettempdir(), f"gansweep-cache-{os.getuid()}")
    folder.mkdir(mode=0o700, exist_ok=True)
    if folder.is_symlink() or folder.stat().st_uid != os.getuid():
        raise UserError(f"{folder}: is not yours; remove it, or set TMPDIR")
    return folder


def _arrays(file: Path) -> tuple[Path, Path]:
    return file.with_suffix(".labels.npy"), file


def _request(folder: TrialFolder) -> str | None:
    return folder.stop.read_text() if folder.stop.exists() else None
