"""What is said of a run, with the evidence for it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal, get_args

Failure = Literal[
    "divergence",
    "dead_generator",
    "mode_collapse",
    "discriminator_dominance",
    "not_learning",
    "late_instability",
    "mode_dropping",
    "condition_ignored",
]
Information = Literal[
    "discriminator_strong", "critic_stalled", "discriminator_failure", "discriminator_overfitting", "imbalance"
]
Conclusion = Literal["healthy", "undecided"]
Kind = Failure | Conclusion | Information
FAILURES: tuple[Failure, ...] = get_args(Failure)  # by precedence: the first that holds is the run's tag
INFORMATION: tuple[Information, ...] = get_args(Information)
CONCLUSIONS: tuple[Conclusion, ...] = get_args(Conclusion)
ORDER: tuple[str, ...] = (*FAILURES, *CONCLUSIONS, *INFORMATION)


@dataclass(frozen=True)
class Verdict:
    """kind; since_step: first step that shows it; reason: a sentence with its figures; evidence: the same as data."""

    kind: Kind
    since_step: int
    reason: str
    evidence: Mapping[str, Any] = field(default_factory=dict)

    @property
    def is_failure(self) -> bool:
        return self.kind in FAILURES

    def to_json(self) -> dict[str, Any]:
        """As records keep it."""
        return asdict(self)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Verdict:
        """The reverse of `to_json`. Raises TypeError for unknown fields."""
        return cls(**data)


def by_precedence(verdicts: Iterable[Verdict]) -> tuple[Verdict, ...]:
    """Failures, then healthy or undecided, then information: the first one names the run."""
    return tuple(sorted(verdicts, key=lambda v: ORDER.index(v.kind)))


def title(kind: str) -> str:
    """As people read it: `mode collapse`."""
    return kind.replace("_", " ")
