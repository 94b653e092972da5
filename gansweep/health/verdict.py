"""Verdicts on a run, the evidence for them, and their order."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from gansweep.health.detectors.registry import DETECTORS
from gansweep.health.kinds import HEALTHY, UNDECIDED, Kind, Standing
from gansweep.health.kinds import title as title

# By precedence: failures, then conclusions, then information. Within each in the order of the registry.
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
INFORMATION = tuple(name for name, kind in KINDS.items() if kind.standing is Standing.INFORMATION)
CONCLUSIONS = (HEALTHY.name, UNDECIDED.name)


@dataclass(frozen=True)
class Verdict:
    """A verdict on a run.

    Args:
        kind: The name of a kind in `KINDS`.
        since_step: The first step that shows it.
        reason: A sentence with the figures.
        evidence: The same as data.
    """

    kind: str
    since_step: int
    reason: str
    evidence: Mapping[str, Any] = field(default_factory=dict)

    @property
    def is_failure(self) -> bool:
        return self.kind in FAILURES

    def to_json(self) -> dict[str, Any]:
        """Return the form that records keep."""
        return asdict(self)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Verdict:
        """Reverse `to_json`. Raises TypeError for unknown fields."""
        return cls(**data)


def by_precedence(verdicts: Iterable[Verdict]) -> tuple[Verdict, ...]:
    """Sort verdicts: failures, then healthy or undecided, then information. The first one names the run."""
    return tuple(sorted(verdicts, key=lambda v: ORDER.index(v.kind)))
