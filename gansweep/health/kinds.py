"""Kinds of verdicts: what each one means, and how it is shown."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


class Standing(Enum):
    """Standing of a kind of verdict, in order of precedence."""

    FAILURE = "failure"
    HEALTHY = "healthy"
    UNDECIDED = "undecided"
    INFORMATION = "information"


@dataclass(frozen=True)
class Kind:
    """A kind of verdict.

    Args:
        name: Its name in sweep files, records and tables, such as `mode_collapse`.
        standing: Whether it is a failure, a conclusion or information.
        meaning: An explanation in one clause, without a full stop.
        colour: Its colour in reports, as `#RRGGBB`. Kinds that can name a run have different colours.
        stops: Whether it ends a trial unless `stop.on` says otherwise.
    """

    name: str
    standing: Standing
    meaning: str
    colour: str
    stops: bool = False


HEALTHY = Kind("healthy", Standing.HEALTHY, "no failure, and enough evaluations to say so", "#117733")
UNDECIDED = Kind(
    "undecided", Standing.UNDECIDED, "no failure, and too few evaluations to call the run healthy", "#A8A8A8"
)
INFORMATION_COLOUR = "#44AA99"  # of every kind that is no failure and names no run


def title(kind: str) -> str:
    """Return the name of a kind, an outcome or a metric as people read it, such as `mode collapse`."""
    return kind.replace("_", " ")
