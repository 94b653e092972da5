"""Colours of figures and tables. Verdicts use Tol's muted scheme, which is safe for colour-blind readers."""

from __future__ import annotations

from gansweep.health.verdict import KINDS

CRASHED = "#D55E00"  # a crash is not a verdict
INK, GREY, PALE = "#222222", "#6B6B6B", "#C9C9C9"


def colour(verdict: str) -> str:
    """Return the colour of a kind of verdict or of `crashed`, grey for anything else."""
    if verdict == "crashed":
        return CRASHED
    return KINDS[verdict].colour if verdict in KINDS else GREY
