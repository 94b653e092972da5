"""Why a trial's process gave no result: it died, and may do better when it is tried again, or it raised an error."""

from __future__ import annotations

import re
from dataclasses import dataclass

from ray.exceptions import RayActorError, RayTaskError

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
