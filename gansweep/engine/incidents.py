"""Deaths of trials that share a GPU under NVIDIA's MPS, and the consequences for the other trials on that GPU.

Clients of MPS share one server process. A fault of one client is reported to all clients on its GPU. A client that is
killed while it uses the GPU leaves the others in an undefined state: their weights may be wrong without any error.
Therefore all trials on the GPU are killed, including those that hang in a kernel. They restart in new processes, from
checkpoints that are older than the death.
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
    """Where a trial is trained.

    Attributes:
        process: Process that trains the trial.
        gpu: Value of CUDA_VISIBLE_DEVICES in that process; "" for the CPU.
    """

    process: Process
    gpu: str


@dataclass(frozen=True)
class Incident:
    """Death of a trial that shares its GPU, and its consequences. Trials are named by Tune's ids.

    Attributes:
        since: Time in seconds since the epoch. What trials on the GPU have recorded since then is not valid.
        processes: Processes to kill.
        running: Other trials that were running on the GPU.
        ended: Other trials on the GPU that have ended since the time `since`.
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
    """Tracker of the trials on GPUs that are shared under MPS. Trials are named by Tune's ids.

    Trials that were not passed to `started` are not on such a GPU.
    """

    def __init__(self) -> None:
        self._trials: dict[str, _Trial] = {}
        self._blamed: Counter[str] = Counter()
        self._since: dict[str, float] = {}  # of trials that an incident restarts

    def started(self, trial: str, job: str, place: Place, at: float) -> None:
        """Note the start of a trial.

        Args:
            trial: Tune's id of the trial.
            job: Id of the trial's job, which stays the same when the job is tried again.
            place: Where the trial is trained. A trial on the CPU is ignored.
            at: Time in seconds since the epoch, before the trial uses its GPU.
        """
        if place.gpu:
            self._trials[trial] = _Trial(job, place, at)

    def heard(self, trial: str, at: float) -> None:
        """Note that a trial sent a message at the time `at`, in seconds since the epoch."""
        if trial in self._trials:
            self._trials[trial].heard = at

    def ended(self, trial: str) -> float | None:
        """Note the end of a trial, for whatever reason.

        Returns:
            For a trial that restarts because of an incident, Incident.since; None for other trials.
        """
        if trial in self._trials:
            self._trials[trial].ended = True
        return self._since.pop(trial, None)

    def died(self, trial: str) -> Incident | None:
        """Note the death of a trial's process.

        Only the first death on a GPU is an incident. The other trials on that GPU are then killed: for these, `ended`
        returns the time since which their records are not valid.

        Returns:
            The incident; None if the trial's GPU is not shared under MPS.
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
