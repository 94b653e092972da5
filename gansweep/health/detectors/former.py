"""Conversion of thresholds whose kinds have the names of version 0.1.0."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gansweep.health.detectors.registry import DETECTORS
from gansweep.health.kinds import FORMER, current_kind


def current_thresholds(thresholds: Mapping[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """Return thresholds with today's names of kinds, and a sentence for the user about each kind that was renamed.

    A threshold of a renamed kind that no longer exists is left out. `thresholds`: Kind → threshold → value, where kinds
    may have the names of version 0.1.0.
    """
    found: dict[str, Any] = {kind: values for kind, values in thresholds.items() if kind not in FORMER}
    sentences = []
    for former in (kind for kind in thresholds if kind in FORMER):
        kind = current_kind(former)
        known = next(one for one in DETECTORS if one.kind.name == kind).thresholds()
        values = thresholds[former]
        if not isinstance(values, Mapping):
            found[kind] = values  # refused elsewhere
            continue
        found[kind] = {name: value for name, value in values.items() if name in known} | found.get(kind, {})
        left_out = [name for name in values if name not in known]
        words = f"thresholds.{former}: this kind is called {kind} now"
        sentences.append(f"{words}; {', '.join(left_out)} no longer exists" if left_out else words)
    return found, sentences
