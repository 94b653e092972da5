"""Durations of the phases between the start of a command or process and its first training step."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
R = TypeVar("R")


class Stopwatch:
    """Durations of consecutive phases.

    Args:
        began: time.monotonic() at the start of the first phase; None for now.
        tell: Called with a line of text at the end of each phase.

    Attributes:
        began: time.monotonic() at the start of the first phase.
        laps: Name and seconds of each phase that has ended.
    """

    def __init__(self, began: float | None = None, tell: Callable[[str], None] = lambda _: None) -> None:
        self.began = self._last = time.monotonic() if began is None else began
        self.laps: list[tuple[str, float]] = []
        self._named: set[str] = set()
        self._tell = tell

    @classmethod
    def of_process(cls) -> Stopwatch:
        """Return a stopwatch whose first phase began when this process started."""
        import psutil

        return cls(time.monotonic() - (time.time() - psutil.Process().create_time()))

    def lap(self, phase: str) -> None:
        """End the current phase under the name `phase`, and begin the next one."""
        now = time.monotonic()
        self._named.add(phase)
        self.laps.append((phase, now - self._last))
        self._last = now
        self._tell(f"{now - self.began:6.1f} s  {shown(self.laps[-1:])}")

    def lap_once(self, phase: str) -> None:
        """End the current phase as `lap` does, unless a phase of that name has already ended."""
        if phase not in self._named:
            self.lap(phase)

    def timed(self, phase: str, function: Callable[P, R]) -> Callable[P, R]:
        """Return a wrapper of a function that records each call as a phase.

        The time of the call also counts in the phase during which the call is made.
        """

        def call(*args: P.args, **kwargs: P.kwargs) -> R:
            began = time.monotonic()
            try:
                return function(*args, **kwargs)
            finally:
                self.laps.append((phase, time.monotonic() - began))

        return call

    def tell_of(self, name: str, laps: list[tuple[str, float]]) -> None:
        """Report the phases of another process.

        Args:
            name: Name of the process in the report.
            laps: Name and seconds of each phase, as returned by `take`.
        """
        if laps:
            self._tell(f"{time.monotonic() - self.began:6.1f} s  {name}: {shown(laps)}")

    def take(self) -> list[tuple[str, float]]:
        """Return name and seconds of each phase in `laps`, and empty `laps`."""
        laps, self.laps = self.laps, []
        return laps


def shown(laps: list[tuple[str, float]]) -> str:
    """Format phases as text, as in `device 1.2 s, capture 0.3 s`."""
    return ", ".join(f"{phase} {seconds:.1f} s" for phase, seconds in laps)
