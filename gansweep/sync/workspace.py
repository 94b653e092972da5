"""Folder that a trial's process works in: the home folder, or a temporary folder that is copied to a storage."""

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
from gansweep.sync.copies import Pushed, fetch_code
from gansweep.sync.periodic import PeriodicTask
from gansweep.sync.storage import Storage, open_storage, with_retries

PUSH_S = 2.0
FETCH_WAIT_S = 600.0  # maximum wait for another process of this machine that downloads the same images
CACHE = "cache"


class Workspace(Protocol):
    """Workspace of a trial's process.

    Attributes:
        folder: Folder to open the run in, after `prepare`.
        notices: Messages for the user.
    """

    folder: TrialFolder
    notices: list[str]

    def prepare(self) -> Job:
        """Prepare the folder, and return the job with the images and the code on this machine.

        Raises:
            StorageError: The storage is currently unavailable.
            UserError: The images or the code are not available.
        """

    def report(self) -> None:
        """Make all records available to the driver.

        Raises:
            TakenOverError: Another process trains the trial now.
            StorageError: The storage is currently unavailable.
        """

    def fetch_request(self) -> None:
        """Download the driver's request to end the trial, if there is one."""

    def request(self) -> str | None:
        """Return the rule by which the trial is to end, "" if it is to be interrupted, or None if it continues.

        Raises:
            TakenOverError: Another process trains the trial now.
        """

    def close(self) -> None:
        """Upload remaining records after the run is closed. Raises StorageError if this fails."""


def workspace(job: Job) -> Workspace:
    """Return the workspace of a job. Raises UserError if this machine cannot use the storage."""
    return RemoteWorkspace(job, open_storage(job.storage)) if job.storage else LocalWorkspace(job)


class LocalWorkspace:
    """Workspace in the home folder, which all machines share."""

    def __init__(self, job: Job) -> None:
        self.folder, self._job = job.folder, job
        self.notices: list[str] = []
        self._sweep_stop = job.sweep_folder.stop

    def prepare(self) -> Job:
        return self._job

    def report(self) -> None: ...

    def fetch_request(self) -> None: ...

    def request(self) -> str | None:
        found = _request(self.folder)
        return "" if found is None and self._sweep_stop.exists() else found

    def close(self) -> None: ...


class RemoteWorkspace:
    """Workspace in a temporary folder of this process, which is copied to a storage.

    A periodic task uploads new records and downloads requests, so training waits for the storage only at the beginning,
    at rungs and at the end.
    """

    def __init__(self, job: Job, storage: Storage) -> None:
        self._storage, self._job, self._stack = storage, job, ExitStack()
        self.notices: list[str] = []
        self._lost: TakenOverError | None = None
        self._turn = threading.Lock()
        self._task = PeriodicTask(self._exchange, PUSH_S, self.notices.append, "training continues, records are kept")
        self.folder = TrialFolder(self._stack.enter_context(scratch()) / job.id)
        self._pushed = Pushed(storage, copies.trial_prefix(job.sweep_folder.name, job.id), self.folder)

    def prepare(self) -> Job:
        with_retries(self._pushed.claim)
        self._task.start()
        job = with_retries(lambda: fetched(self._storage, self._job))
        if job.samples:
            self.notices += with_retries(lambda: share_reference(self._storage, job))
        return job

    def report(self) -> None:
        with_retries(self._push)

    def fetch_request(self) -> None:
        with_retries(self._pushed.fetch_stop)

    def request(self) -> str | None:
        if self._lost:
            raise self._lost
        return _request(self.folder)

    def close(self) -> None:
        with self._stack:
            self._task.stop()
            if self._task.started and not self._lost:  # otherwise this process does not own the trial
                with_retries(self._push)

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


def fetched(storage: Storage, job: Job) -> Job:
    """Return a job with the paths of its images and code on this machine.

    Images and code that do not exist at the driver's paths are downloaded once to this machine's cache.

    Raises:
        StorageError: The storage is currently unavailable.
        UserError: The storage does not have the images or the code.
    """
    code = fetch_code(storage, job.sweep_folder.name, job.training.code, node_cache)
    return replace(job, images=fetch(storage, job.images), training=replace(job.training, code=code))


def fetch(storage: Storage, images: ImageSet) -> ImageSet:
    """Return an image set with its path on this machine.

    If the images do not exist at the driver's path, they are downloaded once to this machine's cache.

    Raises:
        UserError: The storage does not have the images.
        Locked: Another process has been downloading the same images for FETCH_WAIT_S seconds.
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
    """Upload the files of an image set that the storage lacks, for `fetch` on other machines. Called by the driver."""
    there = storage.names(CACHE)
    for path in _arrays(Path(images.file)):
        if path.name not in there:
            storage.put(f"{CACHE}/{path.name}", path.read_bytes())


def share_reference(storage: Storage, job: Job) -> list[str]:
    """Make all machines use the same reference data for evaluations: those that the first machine has computed.

    Returns:
        Messages for the user.
    """
    from gansweep.gan.reference import reference_of

    path = job.reference
    notices: list[str] = []
    name = f"{CACHE}/{path.name}"
    there = storage.get(name)
    if there is None:
        _, notices = reference_of(job.images, job.features, job.training.code)
        there = path.read_bytes() if storage.create(name, path.read_bytes()) else storage.get(name)
    if there is not None and not (path.exists() and path.read_bytes() == there):
        write_atomically(path, there)
    return notices


def node_cache() -> Path:
    """Return this user's cache folder on this machine. Raises UserError if another user has created it."""
    folder = Path(tempfile.gettempdir(), f"gansweep-cache-{os.getuid()}")
    folder.mkdir(mode=0o700, exist_ok=True)
    if folder.is_symlink() or folder.stat().st_uid != os.getuid():
        raise UserError(f"{folder}: is not yours; remove it, or set TMPDIR")
    return folder


def _arrays(file: Path) -> tuple[Path, Path]:
    return file.with_suffix(".labels.npy"), file


def _request(folder: TrialFolder) -> str | None:
    return folder.stop.read_text() if folder.stop.exists() else None
