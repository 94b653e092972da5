"""The driver's side of a storage: brings what trials on other machines record into the home, from where it is
published, and takes data and requests to them."""

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
from gansweep.sync.storage import Storage, patiently
from gansweep.sync.workspace import share

PULL_S = 2.0
ID = re.compile("[0-9a-f]{12}")  # nothing else is taken from a storage: a name is a path


class Collector:
    """Of a sweep whose lock is held. Use: bring() before it is planned, then as a context manager while it runs.

    A trial that was begun counts as running here: its lock is held for it. notify: takes sentences for the user.
    """

    def __init__(self, storage: Storage, folder: SweepFolder, notify: Callable[[str], None]) -> None:
        self.uri = storage.uri
        self._storage, self._folder = storage, folder
        self._place = copies.of_sweep(folder.name)
        self._shared: set[str] = set()  # files of sets that the storage has
        self._running: dict[str, IO[str]] = {}
        self._asked: set[str] = set()  # to end
        self._turn = threading.Lock()
        self._task = PeriodicTask(self._round, PULL_S, notify, "trials continue and keep their records")

    def bring(self) -> None:
        """The whole sweep, as it lies in the storage; what was trained here without one goes there.

        Raises StorageError, and UserError where the sweep lies in another storage.
        """
        check_belongs(self._folder, self.uri)
        self._take_identity()
        names: dict[str, dict[str, float]] = {}
        for name, at in self._storage.names(f"{self._place}/trials").items():
            trial_id, _, file = name.partition("/")
            names.setdefault(trial_id, {})[file] = at
        for trial_id in filter(ID.fullmatch, names):
            copies.pull(self._storage, self._prefix(trial_id), self._folder.trial(trial_id), names[trial_id])
        if not self._folder.storage.exists():
            for trial in self._folder.all_trials():
                if trial.id not in names:
                    copies.adopt(self._storage, self._prefix(trial.id), trial)
        suggestions = self._storage.get(f"{self._place}/{self._folder.suggestions.name}")
        if suggestions is not None:
            write_atomically(self._folder.suggestions, suggestions)
        write_atomically(self._folder.storage, self.uri.encode(), durable=True)

    def _take_identity(self) -> None:
        """All homes of a storage are one sweep: the storage's id holds, and is ours where it has none yet."""
        name = f"{self._place}/{self._folder.identity.name}"
        own = identity.to_storage(self._folder)
        self._storage.create(name, own)
        identity.take(self._folder, self._storage.get(name) or own)

    def put_on_record(self) -> None:
        """What a driver in another home needs to go on: the sweep file, the plan, optuna's suggestions."""
        for path in (self._folder.source, self._folder.plan, self._folder.suggestions):
            if path.exists():
                patiently(partial(self._storage.put, f"{self._place}/{path.name}", path.read_bytes()))

    def lend(self, images: ImageSet) -> None:
        """To all machines."""
        if images.file not in self._shared:
            patiently(lambda: share(self._storage, images))
            self._shared.add(images.file)

    def begin(self, trial_id: str, images: ImageSet) -> None:
        """Before its process has it."""
        folder = self._folder.trial(trial_id)
        self.lend(images)
        patiently(lambda: self._storage.delete(f"{self._prefix(trial_id)}/{copies.STOP}"))
        self._asked.discard(trial_id)
        with self._turn:
            self._running[trial_id] = lock.acquire(folder.lock, "it runs on a cluster")

    def bring_records(self, trial_id: str) -> None:
        """What a running trial has reported."""
        with self._turn:
            patiently(lambda: self._pull_records(trial_id))

    def ask_to_stop(self, trial_id: str) -> None:
        """What its folder's `stop` says here, said there."""
        patiently(lambda: self._send_stop(trial_id))

    def end(self, trial_id: str) -> None:
        """When its process has ended it, or has ended."""
        with self._turn:
            patiently(lambda: copies.pull(self._storage, self._prefix(trial_id), self._folder.trial(trial_id)))
            held = self._running.pop(trial_id, None)
        if held:
            held.close()

    def end_all(self) -> None:
        """When no more is trained: trials whose process died or never began count as running no longer."""
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
        """What running trials have recorded comes here, requests to end go there."""
        for trial_id in list(self._running):
            folder = self._folder.trial(trial_id)
            with self._turn:
                if trial_id not in self._running:
                    continue  # it has ended meanwhile
                self._pull_records(trial_id)
            if trial_id not in self._asked and (self._folder.stop.exists() or folder.stop.exists()):
                self._send_stop(trial_id)
        return True

    def _pull_records(self, trial_id: str) -> None:
        copies.pull(self._storage, self._prefix(trial_id), self._folder.trial(trial_id), checkpoints=False)

    def _send_stop(self, trial_id: str) -> None:
        stop = self._folder.trial(trial_id).stop
        self._storage.put(f"{self._prefix(trial_id)}/{copies.STOP}", stop.read_bytes() if stop.exists() else b"")
        self._asked.add(trial_id)

    def _prefix(self, trial_id: str) -> str:
        return copies.of_trial(self._folder.name, trial_id)


def check_belongs(folder: SweepFolder, uri: str | None) -> None:
    """Raises UserError where a sweep that lies in a storage is run without it, or with another."""
    there = folder.storage.read_text() if folder.storage.exists() else None
    if there is not None and there != uri:
        raise UserError(f"{folder.name} lies in {there}; run it with --storage {there}")
