"""A thread that writes files in order, from a bounded queue, so that training does not wait for the disk."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from types import TracebackType
from typing import Self

MOST_WRITES = 64
MOST_BYTES = 1 << 28


class BackgroundWriter:
    """Thread that makes queued writes one after another, in the order of `put`.

    If a write fails, the writes after it are dropped, because they may rely on it. From then on, `put` and `drain`
    raise the error of the failed write.

    Args:
        most_writes: Maximum number of writes in the queue, including the current one.
        most_bytes: Maximum size in bytes of the data of all writes in the queue. A write with more data is added once
            the queue is empty.
    """

    def __init__(self, most_writes: int = MOST_WRITES, most_bytes: int = MOST_BYTES) -> None:
        self._most_writes, self._most_bytes = most_writes, most_bytes
        self._queue: deque[tuple[Callable[[], object], int]] = deque()  # the first one is being made
        self._bytes = 0
        self._error: BaseException | None = None
        self._closing = False
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._loop, name="writer", daemon=True)
        self._thread.start()

    def put(self, write: Callable[[], object], size: int = 0) -> None:
        """Add a write to the queue. Waits while the queue is full.

        Args:
            write: Function that makes the write.
            size: Size of the data that it writes, in bytes.

        Raises:
            OSError: An earlier write has failed, so the new one is dropped. An error of another type is raised as well.
        """
        with self._changed:
            self._changed.wait_for(lambda: self._error or not self._queue or self._has_room(size))
            self._raise_error()
            self._queue.append((write, size))
            self._bytes += size
            self._changed.notify_all()

    def drain(self) -> None:
        """Wait until all writes are complete.

        Raises:
            OSError: A write has failed. An error of another type is raised as well.
        """
        with self._changed:
            self._changed.wait_for(lambda: not self._queue)
            self._raise_error()

    def close(self) -> None:
        """Complete all writes and end the thread. Unlike `drain`, it does not raise the error of a failed write."""
        with self._changed:
            self._closing = True
            self._changed.notify_all()
        self._thread.join()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _has_room(self, size: int) -> bool:
        return len(self._queue) < self._most_writes and self._bytes + size <= self._most_bytes

    def _raise_error(self) -> None:
        if self._error is not None:
            raise self._error

    def _loop(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._queue or self._closing)
                if not self._queue:
                    return
                write, size = self._queue[0]
            try:
                write()
            except BaseException as error:
                self._end_with(error)
                return
            with self._changed:
                self._queue.popleft()
                self._bytes -= size
                self._changed.notify_all()
            del write  # with its data, before the next one is waited for

    def _end_with(self, error: BaseException) -> None:
        with self._changed:
            self._error = error
            self._queue.clear()
            self._changed.notify_all()
