"""What is said of a run, with the evidence for it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

Kind = Literal["divergence"]


@dataclass(frozen=True)
class Verdict:
    """kind; since_step: first step that shows it; reason: a sentence with its figures; evidence: the same as data."""

    kind: Kind
    since_step: int
    reason: str
    evidence: Mapping[str, Any] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """As records keep it."""
        return asdict(self)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Verdict:
        """The reverse of `to_json`. Raises TypeError for unknown fields."""
        return cls(**data)
