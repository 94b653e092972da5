"""Deaths of trials that share a GPU under NVIDIA's MPS, and what follows from them for the others.

Clients of MPS share one server. A fault of one is reported to all on its GPU, and one that is killed in the middle of
work leaves the others in an undefined state: their weights may be wrong without any error. So all of them are killed,
which also ends those that hang in a kernel, and restart in new processes from what is older than the death.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable
from dataclasses import dataclass
from typing import Protocol

DOUBT_S = 1.0  # the state of a GPU is doubted from this time before the last sign of life of the trial that died
BLAMED = 2  # incidents after which the suspect gets a GPU of its own


class Process(Hashable, Protocol):
    """Process of a trial; psutil.Process in a sweep."""

    def kill(self) -> None:
        """Send SIGKILL. Raises psutil.NoSuchProcess if the process has ended."""


@dataclass(frozen=True)
class Place:
    """Process that trains a trial, and value of its CUDA_VISIBLE_DEVICES; "" for the CPU."""

    process: Process
    gpu: str


@dataclass(frozen=True)
class Incident:
    """Death of a trial that shares its GPU, and its consequences. Trials are named by Tune's ids.

    Attributes:
        since: Time in seconds since the epoch from which on nothing counts that trials on the GPU recorded.
        processes: Processes to kill.
        running: Other trials that were running on the GPU.
        ended: Trials on the GPU that ended since then.
        alone: Whether the trial that died continues on a GPU of its own.
    """

    since: float
    processes: frozenset[Process]
    running: tuple[str, ...]
    ended: tuple[str, ...]
    alone: bool


@dataclass
class _Trial:
    job: str
    place: Place
    heard: float
    ended: bool = False


class Incidents:
    """Trials on GPUs that are shared under MPS. One that was never `started` is on no such GPU."""

    def __init__(self) -> None:
        self._trials: dict[str, _Trial] = {}
        self._blamed: Counter[str] = Counter()
        self._since: dict[str, float] = {}  # of trials that an incident restarts

    def started(self, trial: str, job: str, place: Place, at: float) -> None:
        """Note the start of a trial. `at`: time in seconds since the epoch, before the trial uses its GPU."""
        if place.gpu:
            self._trials[trial] = _Trial(job, place, at)

    def heard(self, trial: str, at: float) -> None:
        """Note a message of a trial, sent at a time."""
        if trial in self._trials:
            self._trials[trial].heard = at

    def ended(self, trial: str) -> float | None:
        """Note the end of a trial without an error, or after an incident.

        Returns:
            For a trial that an incident restarts, the time from which on its records do not count.
        """
        if trial in self._trials:
            self._trials[trial].ended = True
        return self._since.pop(trial, None)

    def died(self, trial: str) -> Incident | None:
        """Note the death of a trial.

        Only the first death on a GPU is an incident; for the others see `ended`.

        Returns:
            None if the trial's GPU is not shared under MPS.
        """
        dead = self._trials.pop(trial, None)
        if dead is None:
            return None
        since = dead.heard - DOUBT_S
        others = {name: other for name, other in self._trials.items() if other.place.gpu == dead.place.gpu}
        running = tuple(name for name, other in others.items() if not other.ended)
        ended = tuple(name for name, other in others.items() if other.ended and other.heard >= since)
        for name in others:
            del self._trials[name]
        self._since |= dict.fromkeys(running, since)
        if running:
            self._blamed[dead.job] += 1
        processes = frozenset(other.place.process for other in (dead, *others.values()))
        return Incident(since, processes, running, ended, self._blamed[dead.job] >= BLAMED)
