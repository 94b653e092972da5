"""Why a trial's process returned no result: it died, and the trial may be retried, or it raised an error."""

from __future__ import annotations

import re
from dataclasses import dataclass

from ray.exceptions import RayActorError, RayTaskError

COLOUR = re.compile(r"\x1b\[\d+m")


class TryAgainError(Exception):
    """The trial's process failed for a reason outside the trial, and the trial should be retried."""


@dataclass(frozen=True)
class Failure:
    """An error that a retry would not fix.

    Attributes:
        reason: Last line of the error.
        trace: Traceback in the trial's process.
    """

    reason: str
    trace: str


def failure_of(error: Exception | None) -> Failure | None:
    """Return the error that a trial's process raised, as a Failure; None if it died or raised TryAgainError.

    Args:
        error: Exception that Ray reports for the process; None if unknown.
    """
    if isinstance(error, RayActorError):
        raised = error.actor_init_failed
    else:
        raised = isinstance(error, RayTaskError) and not isinstance(error.cause, TryAgainError)
    if not raised:
        return None
    trace = COLOUR.sub("", str(error)).strip()
    return Failure(trace.splitlines()[-1], trace)
