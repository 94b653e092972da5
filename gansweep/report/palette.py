"""One colour a verdict, in every figure and table: after Tol's muted scheme, which every kind of eye tells apart."""

from __future__ import annotations

VERDICTS = {
    "healthy": "#117733",
    "undecided": "#A8A8A8",
    "mode_collapse": "#332288",
    "discriminator_dominance": "#CC6677",
    "dead_generator": "#000000",
    "divergence": "#882255",
    "not_learning": "#B08A1E",
    "late_instability": "#AA4499",
    "mode_dropping": "#2F8FC4",
    "condition_ignored": "#7A4A21",
    "discriminator_strong": "#44AA99",
    "critic_stalled": "#44AA99",
    "discriminator_failure": "#44AA99",
    "discriminator_overfitting": "#44AA99",
    "imbalance": "#44AA99",
}
CRASHED = "#D55E00"  # a traceback is no verdict
INK, GREY, PALE = "#222222", "#6B6B6B", "#C9C9C9"


def colour(verdict: str) -> str:
    """Of a kind of verdict, or of `crashed`; grey for anything else."""
    return CRASHED if verdict == "crashed" else VERDICTS.get(verdict, GREY)
