"""Graceful early end of a sweep: by a signal, `gansweep stop`, or the time budget.

The request is a file in the sweep's folder. Every trial's process checks for the file about once a second, writes a
checkpoint and ends. Nothing depends on how signals travel through Ray's processes.
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
    """Request to end the sweep, from any of its sources.

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
        """Request the end because records can no longer be written."""
        self.failure = True
        if self.reason is None:
            self._request("records cannot be written")

    @contextmanager
    def catching_signals(self) -> Iterator[None]:
        """Within the block, let the first signal request the end, and a second one exit immediately.

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
        """Write the request for the trials.

        Returns:
            False if the file cannot be written. All processes are then killed after PATIENCE_S.
        """
        self.reason = reason
        try:
            self._folder.stop.touch()
        except OSError:
            self._end_patience()
            return False
        return True

    def _end_patience(self) -> None:
        """Kill all processes after PATIENCE_S, unless they have ended by then."""
        threading.Thread(target=self._watch, daemon=True).start()

    def _watch(self) -> None:
        time.sleep(PATIENCE_S)
        leave_at_once(128 + self.signal if self.signal is not None else FAILED)


@contextmanager
def shielding_children() -> Iterator[None]:
    """Keep signals from processes that are started in the block, and from their children.

    This includes signals sent to the whole process group: a blocked signal stays blocked across exec.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, (*SIGNALS, signal.SIGHUP))
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextmanager
def sparing(pid: int) -> Iterator[None]:
    """Within the block, let a child and its descendants live on when descendants are killed: it ends by itself."""
    _spared.add(pid)
    try:
        yield
    finally:
        _spared.discard(pid)


def kill_descendants(chosen: Callable[[psutil.Process], bool] = lambda _: True) -> None:
    """Send SIGKILL to the chosen descendants of this process until none but spared ones is alive, for at most a second.

    Args:
        chosen: Whether to kill a process; all by default.
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
    """End this process and its descendants immediately, without running exit handlers."""
    kill_descendants()
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError):
            stream.flush()
    os._exit(code)


def _family(pid: int) -> list[psutil.Process]:
    """Return a process and its descendants; [] if it does not exist."""
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
