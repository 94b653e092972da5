"""Reasons for a missing result of a trial's process: it died and may be retried, or it raised an error."""

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
    """Return the failure that Ray caught; None if the process died, or raised TryAgainError."""
    if isinstance(error, RayActorError):
        raised = error.actor_init_failed
    else:
        raised = isinstance(error, RayTaskError) and not isinstance(error.cause, TryAgainError)
    if not raised:
        return None
    trace = COLOUR.sub("", str(error)).strip()
    return Failure(trace.splitlines()[-1], trace)
