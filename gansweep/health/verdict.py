"""Verdicts on a run, the evidence for them, and their order."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from gansweep.health.detectors.registry import DETECTORS
from gansweep.health.kinds import HEALTHY, UNDECIDED, Kind, Standing, current_kind
from gansweep.health.kinds import title as title

# By precedence: failures, then conclusions, then states, then information. Within each in the order of the registry.
_PRECEDENCE = [*Standing]
KINDS: Mapping[str, Kind] = {
    kind.name: kind
    for kind in sorted(
        (*(detector.kind for detector in DETECTORS), HEALTHY, UNDECIDED),
        key=lambda kind: _PRECEDENCE.index(kind.standing),
    )
}
ORDER = tuple(KINDS)
FAILURES = tuple(name for name, kind in KINDS.items() if kind.standing is Standing.FAILURE)
RANKED_FAILURES = tuple(name for name, kind in KINDS.items() if kind.ranked)
STATES = tuple(name for name, kind in KINDS.items() if kind.standing is Standing.STATE)
INFORMATION = tuple(name for name, kind in KINDS.items() if kind.standing is Standing.INFORMATION)
CONCLUSIONS = (HEALTHY.name, UNDECIDED.name)


@dataclass(frozen=True)
class Verdict:
    """A verdict on a run.

    Args:
        kind: The name of a kind in `KINDS`.
        since_step: The onset: the first step at which it shows.
        reason: A sentence with the figures that decided.
        evidence: The figures and thresholds that decided, as data.
    """

    kind: str
    since_step: int
    reason: str
    evidence: Mapping[str, Any] = field(default_factory=dict)

    @property
    def is_failure(self) -> bool:
        return self.kind in FAILURES

    @property
    def is_state(self) -> bool:
        """Whether it is a fact about the game between D and G, which is shown beside the primary verdict."""
        return self.kind in STATES

    def to_json(self) -> dict[str, Any]:
        """Return the verdict as plain data for records."""
        return asdict(self)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Verdict:
        """Return the verdict that `to_json` converted to this data. Kinds of version 0.1.0 get today's names.

        Raises TypeError for unknown fields.
        """
        verdict = cls(**data)
        kind = current_kind(verdict.kind)
        if kind == verdict.kind:
            return verdict
        return replace(verdict, kind=kind, reason=f"{verdict.reason} (called {title(verdict.kind)} by version 0.1.0)")


def tag_of(verdicts: Iterable[Verdict]) -> str | None:
    """Return the tag of a run, the kind of its first failure or conclusion; None if it has neither.

    A live run without a failure has no tag yet. A run recorded by version 0.1.0 has none if its only verdict is of a
    kind that is a state today.

    `verdicts`: Verdicts on the run, by precedence.
    """
    return next((one.kind for one in verdicts if one.is_failure or one.kind in CONCLUSIONS), None)


def states_of(verdicts: Iterable[Verdict]) -> list[dict[str, Any]]:
    """Return the states among verdicts as data: kind, first step, reason, and figures by metric."""
    return [
        {
            "kind": one.kind,
            "since_step": one.since_step,
            "reason": one.reason,
            "figures": dict(one.evidence.get("figures", {})),
        }
        for one in verdicts
        if one.is_state
    ]


def short_title(kind: str) -> str:
    """Return the name of a kind where there is little room, such as `D won`."""
    return (KINDS[kind].short if kind in KINDS else "") or title(kind)


def by_precedence(verdicts: Iterable[Verdict]) -> tuple[Verdict, ...]:
    """Return verdicts sorted by precedence: failures, healthy or undecided, states, information."""
    return tuple(sorted(verdicts, key=lambda v: ORDER.index(v.kind)))
