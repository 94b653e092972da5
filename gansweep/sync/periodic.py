"""A task that is repeated in the background and uses a storage that may become unavailable."""

from __future__ import annotations

import threading
from collections.abc import Callable

from gansweep.records import disk
from gansweep.sync.storage import StorageError


class PeriodicTask:
    """A thread that calls `task` every `pause_s` seconds, from start() to stop(), or until `task` returns False.

    If a call fails because the storage does not answer or this machine's disk is full, the thread calls `task` again.

    Args:
        task: Function to call; False ends the thread.
        pause_s: Pause between calls, in seconds.
        notify: Called with a notice once when the storage becomes unavailable, and once when it is available again.
        meanwhile: Consequence of the outage for the user, with which the first notice ends.
    """

    def __init__(self, task: Callable[[], bool], pause_s: float, notify: Callable[[str], None], meanwhile: str) -> None:
        self._task, self._pause_s, self._notify, self._meanwhile = task, pause_s, notify, meanwhile
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._loop, name="periodic", daemon=True)

    @property
    def started(self) -> bool:
        """Whether the thread was ever started."""
        return self._thread.ident is not None

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Make no further calls, and wait until a running call has ended. The thread need not have been started."""
        self._over.set()
        if self.started:
            self._thread.join()

    def _loop(self) -> None:
        away = False
        while not self._over.wait(self._pause_s):
            try:
                if not self._task():
                    return
            except (StorageError, OSError) as error:
                if not away:
                    self._notify(f"{disk.lack(error) or f'the storage does not answer ({error})'}; {self._meanwhile}")
                away = True
            else:
                if away:
                    self._notify("the storage is available again")
                away = False
