"""The driver's side of a storage: downloads records of trials on other machines, and uploads images and requests."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable
from functools import partial
from types import TracebackType
from typing import IO, Self

from gansweep.errors import UserError
from gansweep.gan.data import ImageSet
from gansweep.records import identity, lock
from gansweep.records.layout import SweepFolder, write_atomically
from gansweep.sync import copies
from gansweep.sync.periodic import PeriodicTask
from gansweep.sync.storage import Storage, with_retries
from gansweep.sync.workspace import share
from gansweep.usercode.code import DIGEST, Code

PULL_S = 2.0
ID = re.compile("[0-9a-f]{12}")  # nothing else is taken from a storage: a name is a path


class Collector:
    """Synchronisation of a sweep's folder with its storage, for the driver that holds the sweep's lock.

    Call `download` before the sweep is planned, and use the collector as a context manager while the sweep runs. The
    collector holds the local locks of running trials, so that they count as running.

    Args:
        storage: The storage.
        folder: Folder of the sweep.
        notify: Called with messages for the user.
    """

    def __init__(self, storage: Storage, folder: SweepFolder, notify: Callable[[str], None]) -> None:
        self.uri = storage.uri
        self._storage, self._folder = storage, folder
        self._prefix = copies.sweep_prefix(folder.name)
        self._shared: set[str] = set()  # files of image sets, and hashes of code, that the storage has
        self._running: dict[str, IO[str]] = {}  # trial → its local lock
        self._asked: set[str] = set()  # trials that were asked to end
        self._turn = threading.Lock()
        self._task = PeriodicTask(self._round, PULL_S, notify, "trials continue and keep their records")

    def download(self) -> None:
        """Download the whole sweep from the storage. If the sweep had no storage before, upload its local trials.

        Raises:
            StorageError: The storage is currently unavailable.
            UserError: The sweep belongs to another storage.
        """
        check_belongs(self._folder, self.uri)
        self._take_identity()
        names: dict[str, dict[str, float]] = {}
        for name, at in self._storage.names(f"{self._prefix}/trials").items():
            trial_id, _, file = name.partition("/")
            names.setdefault(trial_id, {})[file] = at
        for trial_id in filter(ID.fullmatch, names):
            copies.pull(self._storage, self._trial_prefix(trial_id), self._folder.trial(trial_id), names[trial_id])
        if not self._folder.storage.exists():
            for trial in self._folder.all_trials():
                if trial.id not in names:
                    copies.adopt(self._storage, self._trial_prefix(trial.id), trial)
        digests = {name.partition("/")[0] for name in self._storage.names(f"{self._prefix}/{copies.CODE}")}
        for digest in filter(DIGEST.fullmatch, digests):
            code = Code(digest, str(self._folder.code))
            copies.fetch_code(self._storage, self._folder.name, code, lambda: self._folder.path)
        suggestions = self._storage.get(f"{self._prefix}/{self._folder.suggestions.name}")
        if suggestions is not None:
            write_atomically(self._folder.suggestions, suggestions)
        write_atomically(self._folder.storage, self.uri.encode(), durable=True)

    def _take_identity(self) -> None:
        """Adopt the sweep's id from the storage, or upload the local one if the storage has none.

        All home folders that use a storage share one id of the sweep.
        """
        name = f"{self._prefix}/{self._folder.identity.name}"
        own = identity.to_storage(self._folder)
        self._storage.create(name, own)
        identity.take(self._folder, self._storage.get(name) or own)

    def upload_plan(self) -> None:
        """Upload the files from which a driver in another home continues: sweep file, plan, optuna's suggestions."""
        for path in (self._folder.source, self._folder.plan, self._folder.suggestions):
            if path.exists():
                with_retries(partial(self._storage.put, f"{self._prefix}/{path.name}", path.read_bytes()))

    def upload(self, images: ImageSet) -> None:
        """Upload images, and the sweep's copies of users' code, for all machines, unless the storage has them."""
        for path in self._folder.code.glob("*"):
            if path.name not in self._shared:
                code = Code(path.name, str(path.parent))
                with_retries(partial(copies.share_code, self._storage, self._folder.name, code))
                self._shared.add(path.name)
        if images.file not in self._shared:
            with_retries(lambda: share(self._storage, images))
            self._shared.add(images.file)

    def begin(self, trial_id: str, images: ImageSet) -> None:
        """Prepare a trial that is about to be handed to a process: upload its images and code, and take its lock."""
        folder = self._folder.trial(trial_id)
        self.upload(images)
        with_retries(lambda: self._storage.delete(f"{self._trial_prefix(trial_id)}/{copies.STOP}"))
        self._asked.discard(trial_id)
        with self._turn:
            self._running[trial_id] = lock.acquire(folder.lock, "it runs on a cluster")

    def download_records(self, trial_id: str) -> None:
        """Download the records of a running trial, without its checkpoints."""
        with self._turn:
            with_retries(lambda: self._pull_records(trial_id))

    def ask_to_stop(self, trial_id: str) -> None:
        """Upload a trial's local file `stop`, which asks its process to end."""
        with_retries(lambda: self._send_stop(trial_id))

    def end(self, trial_id: str) -> None:
        """Download all files of a trial that has ended, or whose process has ended, and release its local lock."""
        with self._turn:
            with_retries(lambda: copies.pull(self._storage, self._trial_prefix(trial_id), self._folder.trial(trial_id)))
            held = self._running.pop(trial_id, None)
        if held:
            held.close()

    def end_all(self) -> None:
        """End all trials when training is over, including those whose process died or never started."""
        for trial_id in list(self._running):
            self.end(trial_id)

    def __enter__(self) -> Self:
        self._task.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._task.stop()
        for held in self._running.values():
            held.close()

    def _round(self) -> bool:
        """Download the records of running trials, and upload requests to end them. Returns True, to be called again."""
        for trial_id in list(self._running):
            folder = self._folder.trial(trial_id)
            with self._turn:
                if trial_id not in self._running:
                    continue  # ended in the meantime
                self._pull_records(trial_id)
            if trial_id not in self._asked and (self._folder.stop.exists() or folder.stop.exists()):
                self._send_stop(trial_id)
        return True

    def _pull_records(self, trial_id: str) -> None:
        copies.pull(self._storage, self._trial_prefix(trial_id), self._folder.trial(trial_id), checkpoints=False)

    def _send_stop(self, trial_id: str) -> None:
        stop = self._folder.trial(trial_id).stop
        self._storage.put(f"{self._trial_prefix(trial_id)}/{copies.STOP}", stop.read_bytes() if stop.exists() else b"")
        self._asked.add(trial_id)

    def _trial_prefix(self, trial_id: str) -> str:
        return copies.trial_prefix(self._folder.name, trial_id)


def check_belongs(folder: SweepFolder, uri: str | None) -> None:
    """Raise UserError if a sweep belongs to a storage and is run with another storage or with none.

    Args:
        folder: Folder of the sweep.
        uri: URI of the storage that the sweep is run with; None if it is run without a storage.
    """
    there = folder.storage.read_text() if folder.storage.exists() else None
    if there is not None and there != uri:
        raise UserError(f"{folder.name} is in the storage {there}; run it with --storage {there}")
