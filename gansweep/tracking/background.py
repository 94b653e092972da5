"""A thread that sends a sweep's records to the tracking store while the sweep runs. Training never waits for it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from gansweep.records import disk
from gansweep.tracking.publisher import NotAllSentError, Publisher

PAUSE_S = 5.0
LONGEST_PAUSE_S = 30.0
RETRIES_S = 15.0  # at the end, for a store that does not accept records
SILENCE_S = 10.0  # at the end, time without a notice while the store accepts records


class Background:
    """Background publishing: call start(), then finish().

    `notify` is called from the thread when the store becomes unavailable, when it rejects some trials, when one of
    these states changes to the other, and when the store accepts everything again. `finish` calls it if sending takes
    long after the end of training.
    """

    def __init__(self, publisher: Publisher, notify: Callable[[str], None]) -> None:
        self._publisher, self._notify = publisher, notify
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._loop, name="publisher", daemon=True)
        self.failure: str | None = None
        self._is_away = False  # whether the store did not accept records at the last attempt

    def start(self) -> None:
        self._thread.start()

    def finish(self, wait_s: float, *, hurry: bool) -> bool:
        """Publish the remaining records, whether the thread was started or not.

        The thread is waited for first, for `wait_s` seconds. Without `hurry`, these seconds count from the last time
        that the store accepted records. Once the thread has ended, failed attempts are repeated for at most `wait_s` or
        RETRIES_S seconds, whichever is less.

        Returns:
            Whether the store has all records.
        """
        self._over.set()
        self._wait_for_thread(wait_s, hurry)
        deadline = time.monotonic() + min(wait_s, RETRIES_S)
        while not self._thread.is_alive():
            if self._try(running=False):
                return True
            if time.monotonic() + PAUSE_S > deadline:
                return False
            time.sleep(PAUSE_S)
        return False

    def _wait_for_thread(self, wait_s: float, hurry: bool) -> None:
        """Wait for the thread, which may be minutes behind if trials ended faster than the store accepts them."""
        began = since = time.monotonic()
        taken, notified = self._publisher.taken, False
        while self._thread.is_alive() and time.monotonic() < since + wait_s:
            self._thread.join(min(wait_s, 0.5))
            if not hurry and self._publisher.taken != taken:
                taken, since = self._publisher.taken, time.monotonic()
            if not notified and time.monotonic() > began + SILENCE_S:
                notified = True
                self._notify("training has ended; sending the last records to the tracking store")

    def _loop(self) -> None:
        pause = PAUSE_S
        while not self._over.is_set():
            self._try(running=True)
            pause = min(2 * pause, LONGEST_PAUSE_S) if self._is_away else PAUSE_S
            self._over.wait(pause)

    def _try(self, *, running: bool) -> bool:
        was_away, self._is_away = self._is_away, False
        try:
            self._publisher.publish(running=running)
        except Exception as error:
            self._is_away = not isinstance(error, NotAllSentError)
            if self.failure is None or self._is_away != was_away:
                self.failure = disk.lack(error) or (str(error) or type(error).__name__).splitlines()[0][:200]
                self._notify(_told(error, self.failure))
            return False
        if self.failure is not None:
            self._notify("the tracking store is back" if was_away else "the tracking store now accepts all trials")
            self.failure = None
        return True


def _told(error: Exception, reason: str) -> str:
    if isinstance(error, NotAllSentError):
        return f"{error}; training continues, and all other trials are sent"
    return f"the tracking store does not accept records ({reason}); training continues, and they are kept"
