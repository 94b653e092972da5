"""Why a trial's process gave no result: it died, and may do better when it is tried again, or it raised an error."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from ray.exceptions import RayActorError, RayTaskError
from ray.tune.schedulers import FIFOScheduler

COLOUR = re.compile(r"\x1b\[\d+m")


class TryAgainError(Exception):
    """Raised by a trial's process where the trial itself is not at fault."""


@dataclass(frozen=True)
class Failure:
    """An error that trying again would not mend. reason: its last line. trace: the traceback in the process."""

    reason: str
    trace: str


def failure_of(error: Exception | None) -> Failure | None:
    """What Ray caught, if it was raised by code; None for a process that died or asks to be tried again."""
    if isinstance(error, RayActorError):
        raised = error.actor_init_failed
    else:
        raised = isinstance(error, RayTaskError) and not isinstance(error.cause, TryAgainError)
    if not raised:
        return None
    trace = COLOUR.sub("", str(error)).strip()
    return Failure(trace.splitlines()[-1], trace)


class Errors(FIFOScheduler):  # type: ignore[misc]  # Ray has no types
    """Tune's own order of trials, and what they raised: Tune hands errors to its scheduler, and then tells its search
    algorithm merely that there was one."""

    def __init__(self) -> None:
        super().__init__()
        self._found: dict[str, Failure] = {}

    def on_trial_error(self, tune_controller: object, trial: Any) -> None:
        """Keep it for `take`."""
        if found := failure_of(trial.get_pickled_error()):
            self._found[trial.trial_id] = found

    def take(self, trial_id: str) -> Failure | None:
        """The error that ended a trial of Tune's."""
        return self._found.pop(trial_id, None)
