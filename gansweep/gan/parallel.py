"""Work on many files by all cores, with progress on stderr where it takes long."""

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

CHUNK = 16  # items a thread takes at once
QUIET_S = 3.0  # nothing is said before
EVERY_S = 10.0


def each(work: Callable[[T], R], items: Sequence[T], doing: str) -> list[R]:
    """`work` of each item, in order, by as many threads as there are cores.

    Threads suffice where the work is done in Pillow, which releases the GIL. doing: for progress, as in "decoding".
    Raises what `work` raises, after the threads have ended.
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
    """A line on stderr every few seconds, none for what is done at once."""

    def __init__(self, doing: str, total: int) -> None:
        self._doing, self._total, self._done = doing, total, 0
        self._next = time.monotonic() + QUIET_S

    def add(self, count: int) -> None:
        self._done += count
        if time.monotonic() >= self._next:
            self._next = time.monotonic() + EVERY_S
            with contextlib.suppress(OSError):  # a closed terminal
                print(f"{self._doing}: {self._done:,} of {self._total:,} images", file=sys.stderr, flush=True)
