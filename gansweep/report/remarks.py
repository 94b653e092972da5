"""Remarks: how the objective of each trial compares with the best trial.

A remark is no verdict, because it changes when other trials end. The module does not load pandas.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from typing import TypeVar

from gansweep.records.ranking import Ranking
from gansweep.report.words import measured

T = TypeVar("T")


def remarks(ranking: Ranking, values: Mapping[T, float], ranked: Collection[T]) -> dict[T, str]:
    """Return trial → remark on its value, such as `4.2 × the best`; {} if no trial is ranked.

    Trials without a finite value, and those with the best value, have no remark.

    Args:
        ranking: The objective.
        values: Trial → its value at the last evaluation.
        ranked: The trials that are ranked. All trials are compared with the best of them.
    """
    known = {trial: value for trial, value in values.items() if math.isfinite(value)}
    scores = {trial: ranking.score(value) for trial, value in known.items() if trial in ranked}
    if not scores:
        return {}
    best = ranking.value(min(scores.values()))
    return {trial: _beside(ranking, value, best) for trial, value in known.items() if value != best}


def _beside(ranking: Ranking, value: float, best: float) -> str:
    """Return the remark on a value: its ratio to the best if the metric varies by factors, else the difference."""
    if ranking.on_log_scale((value, best)):
        return f"{measured(value / best)} × the best"
    return f"{measured(abs(value - best))} {'above' if value > best else 'below'} the best"
