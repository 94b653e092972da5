"""Graceful early end of a sweep: by a signal, `gansweep stop`, or the time budget.

The request to end is the file `stop` in the sweep's folder. Every trial's process looks for the file about once a
second; if it exists, the process writes a checkpoint and ends. Nothing depends on how Ray's processes pass on signals.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import NoReturn

import psutil

from gansweep.records.layout import SweepFolder

PATIENCE_S = 9.0  # from a signal until all processes are killed
FAILED = 1  # exit code
SIGNALS = (signal.SIGINT, signal.SIGTERM)

_spared: set[int] = set()  # see `sparing`


class Ending:
    """Request to end the sweep early, whether by a signal, `gansweep stop`, the time budget or a failure.

    Attributes:
        reason: Why the sweep ends; None while it continues.
        signal: Number of the first signal received; None if there was none.
        failure: Whether this machine cannot continue, for example because a disk is full.
    """

    def __init__(self, folder: SweepFolder, time_budget_s: float | None) -> None:
        self._folder = folder
        self._deadline = time.monotonic() + time_budget_s if time_budget_s is not None else None
        self.reason: str | None = None
        self.signal: int | None = None
        self.failure = False
        folder.stop.unlink(missing_ok=True)

    def requested(self) -> bool:
        """Whether the sweep should end now. Cheap: it is called several times a second."""
        if self.reason is None:
            if self._deadline is not None and time.monotonic() >= self._deadline:
                self._request("time budget used up")
            elif self._folder.stop.exists():
                self.reason = "stopped on request"
        return self.reason is not None

    def fail(self) -> None:
        """Request the end of the sweep because records can no longer be written."""
        self.failure = True
        if self.reason is None:
            self._request("records cannot be written")

    @contextmanager
    def catching_signals(self) -> Iterator[None]:
        """Within the block, end the sweep gracefully at the first SIGINT or SIGTERM, and exit at once at the second.

        SIGHUP is ignored: training does not need the terminal that was closed (see cli/streams.py).
        """
        # A signal that the caller ignores (a shell's background job) stays ignored.
        caught = [s for s in SIGNALS if signal.getsignal(s) != signal.SIG_IGN]
        before = {s: signal.signal(s, self._on_signal) for s in caught}
        before[signal.SIGHUP] = signal.signal(signal.SIGHUP, signal.SIG_IGN)
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        if self.signal is not None:
            leave_at_once(128 + self.signal)
        self.signal = number
        if self._request("Ctrl-C" if number == signal.SIGINT else signal.Signals(number).name):
            self._end_patience()

    def _request(self, reason: str) -> bool:
        """Create the file `stop`, which asks the trials' processes to end.

        Returns:
            Whether the file could be created. If not, all processes are killed after PATIENCE_S seconds.
        """
        self.reason = reason
        try:
            self._folder.stop.touch()
        except OSError:
            self._end_patience()
            return False
        return True

    def _end_patience(self) -> None:
        """Start a thread that ends this process and its descendants after PATIENCE_S seconds."""
        threading.Thread(target=self._watch, daemon=True).start()

    def _watch(self) -> None:
        time.sleep(PATIENCE_S)
        leave_at_once(128 + self.signal if self.signal is not None else FAILED)


@contextmanager
def shielding_children() -> Iterator[None]:
    """Block SIGINT, SIGTERM and SIGHUP in processes that are started in the block, and in their children.

    This also applies to signals sent to the whole process group: a blocked signal stays blocked across fork and exec.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, (*SIGNALS, signal.SIGHUP))
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextmanager
def sparing(pid: int) -> Iterator[None]:
    """Within the block, exempt a child process and its descendants from `kill_descendants`: they end by themselves."""
    _spared.add(pid)
    try:
        yield
    finally:
        _spared.discard(pid)


def kill_descendants(chosen: Callable[[psutil.Process], bool] = lambda _: True) -> None:
    """Send SIGKILL to the chosen descendants of this process until they have ended, for at most one second.

    Processes exempted by `sparing` are left alive.

    Args:
        chosen: Returns whether to kill a process. By default all are killed.
    """
    deadline = time.monotonic() + 1
    while time.monotonic() < deadline:
        spared = {process for pid in _spared for process in _family(pid)}
        alive = [p for p in _family(os.getpid())[1:] if p not in spared and _is_alive(p) and chosen(p)]
        if not alive:
            return
        for process in alive:
            with suppress(psutil.NoSuchProcess):
                process.kill()
        time.sleep(0.02)


def leave_at_once(code: int) -> NoReturn:
    """Kill the descendants of this process, and exit with a code immediately, without running exit handlers."""
    kill_descendants()
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError):
            stream.flush()
    os._exit(code)


def _family(pid: int) -> list[psutil.Process]:
    """Return a process and all its descendants; [] if the process does not exist."""
    try:
        process = psutil.Process(pid)
        return [process, *process.children(recursive=True)]
    except psutil.NoSuchProcess:
        return []


def _is_alive(process: psutil.Process) -> bool:
    try:
        return bool(process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False
