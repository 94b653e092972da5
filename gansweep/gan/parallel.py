"""Processing of many files on all cores, with progress on stderr if it takes long."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from typing import TypeVar

from gansweep.gan.cores import cores

T = TypeVar("T")
R = TypeVar("R")

CHUNK = 16  # items per task
QUIET_S = 3.0  # no progress is shown before
EVERY_S = 10.0


def each(work: Callable[[T], R], items: Sequence[T], doing: str) -> list[R]:
    """Return `work(item)` for each item, in order, computed by one thread per core.

    Threads are sufficient because Pillow, which does the work, releases the GIL.

    Args:
        work: The function. Errors that it raises are raised again after the threads have ended.
        items: Its arguments.
        doing: Description for the progress, as in "decoding".
    """
    pool = ThreadPoolExecutor(cores(), "gansweep-decode")
    progress = _Progress(doing, len(items))
    try:
        chunks = {
            pool.submit(lambda part: [work(item) for item in part], items[at : at + CHUNK]): at
            for at in range(0, len(items), CHUNK)
        }
        for done in as_completed(chunks):
            progress.add(len(done.result()))
        return [result for chunk in chunks for result in chunk.result()]
    finally:
        pool.shutdown(cancel_futures=True)


class _Progress:
    """A line of progress on stderr every few seconds; none for short tasks."""

    def __init__(self, doing: str, total: int) -> None:
        self._doing, self._total, self._done = doing, total, 0
        self._next = time.monotonic() + QUIET_S

    def add(self, count: int) -> None:
        self._done += count
        if time.monotonic() >= self._next:
            self._next = time.monotonic() + EVERY_S
            with contextlib.suppress(OSError):  # a closed terminal
                print(f"{self._doing}: {self._done:,} of {self._total:,} images", file=sys.stderr, flush=True)
