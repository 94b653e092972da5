"""Kinds of verdicts: what each one means, and how it is shown."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


class Standing(Enum):
    """Standing of a kind of verdict, in order of precedence."""

    FAILURE = "failure"
    HEALTHY = "healthy"
    UNDECIDED = "undecided"
    STATE = "state"
    INFORMATION = "information"


@dataclass(frozen=True)
class Kind:
    """A kind of verdict.

    Args:
        name: Its name in sweep files, records and tables, such as `mode_collapse`.
        standing: Whether it is a failure, a conclusion, a state of the game between D and G, or information.
        meaning: An explanation in one clause, without a full stop.
        colour: Its colour in reports, as `#RRGGBB`. Kinds that can name a run have different colours.
        stops: Whether a verdict of this kind ends a trial unless `stop.on` says otherwise.
        short: Its name where there is little room, such as `D won`. If empty, the words of `name` are used.
        ranked: Whether trials that failed in this way are ranked if no trial ended without a failure. They have learned
            something, so some are better than others.
    """

    name: str
    standing: Standing
    meaning: str
    colour: str
    stops: bool = False
    short: str = ""
    ranked: bool = False


HEALTHY = Kind("healthy", Standing.HEALTHY, "no failure, and enough evaluations to say so", "#117733")
UNDECIDED = Kind(
    "undecided", Standing.UNDECIDED, "no failure, and too few evaluations to call the run healthy", "#A8A8A8"
)
INFORMATION_COLOUR = "#44AA99"  # of every kind that is no failure and names no run
# Names that version 0.1.0 recorded → those of today. Readers of records, sweep files and thresholds accept both.
FORMER = {
    "not_learning": "never_took_off",
    "discriminator_dominance": "discriminator_won",
    "discriminator_strong": "discriminator_won",
    "discriminator_failure": "generator_won",
}


def current_kind(name: str) -> str:
    """Return today's name of a kind of verdict."""
    return FORMER.get(name, name)


def title(kind: str) -> str:
    """Return the name of a kind, an outcome or a metric as people read it, such as `mode collapse`."""
    return kind.replace("_", " ")
