"""How the trials of a sweep compare with its best one, in words.

This is a remark and no verdict: it changes when other trials end. Does not load pandas.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from typing import TypeVar

from gansweep.records.ranking import Ranking
from gansweep.report.words import measured

T = TypeVar("T")


def remarks(ranking: Ranking, values: Mapping[T, float], ranked: Collection[T]) -> dict[T, str]:
    """Return trial → how its value compares with the best one of its sweep, as in `4.2 × the best`.

    A trial without a finite value has no remark, nor have those of the best value.

    Args:
        ranking: The objective.
        values: Trial → its value at the last evaluation.
        ranked: The trials that are ranked. The best of them is what others are compared with.
    """
    known = {trial: value for trial, value in values.items() if math.isfinite(value)}
    scores = {trial: ranking.score(value) for trial, value in known.items() if trial in ranked}
    if not scores:
        return {}
    best = ranking.value(min(scores.values()))
    return {trial: _beside(ranking, value, best) for trial, value in known.items() if value != best}


def _beside(ranking: Ranking, value: float, best: float) -> str:
    """Return a value beside the best: as a ratio if the metric varies by factors, else as a difference."""
    if ranking.on_log_scale((value, best)):
        return f"{measured(value / best)} × the best"
    return f"{measured(abs(value - best))} {'above' if value > best else 'below'} the best"
