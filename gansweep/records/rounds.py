"""Something that is done every few seconds beside everything else, with a storage that may go away."""

from __future__ import annotations

import threading
from collections.abc import Callable

from gansweep.records import disk
from gansweep.records.storage import StorageError


class Rounds:
    """A thread that makes a round every pause_s seconds, from start() to stop(), or until a round returns False.

    A round that fails, because the storage does not answer or this machine's disk is full, is made again.

    say: told once when the storage goes away (`meanwhile` says what that means), and when it is back.
    """

    def __init__(self, make: Callable[[], bool], pause_s: float, say: Callable[[str], None], meanwhile: str) -> None:
        self._make, self._pause_s, self._say, self._meanwhile = make, pause_s, say, meanwhile
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._loop, name="rounds", daemon=True)

    @property
    def begun(self) -> bool:
        """Whether it was ever started."""
        return self._thread.ident is not None

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Returns when no round is made any more; harmless where none ever was."""
        self._over.set()
        if self.begun:
            self._thread.join()

    def _loop(self) -> None:
        away = False
        while not self._over.wait(self._pause_s):
            try:
                if not self._make():
                    return
            except (StorageError, OSError) as error:
                if not away:
                    self._say(f"{disk.lack(error) or f'the storage does not answer ({error})'}; {self._meanwhile}")
                away = True
            else:
                if away:
                    self._say("the storage is back")
                away = False
