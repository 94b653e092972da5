"""Figures of a trial that several commands show. See "What the figures mean" in docs/looking.md."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from gansweep.health.metrics import STEPS_PER_S, typical_speed
from gansweep.records import journal
from gansweep.records.layout import TrialFolder
from gansweep.records.ranking import Ranking


def figures(ranking: Ranking, speeds: Sequence[float], values: Iterable[tuple[int, float]]) -> dict[str, Any]:
    """Return name → figure for the quality and speed of a trial. A figure is None if nothing is recorded for it.

    Args:
        ranking: The objective.
        speeds: Recorded values of the metric STEPS_PER_S.
        values: (step, value) of the objective, in the order of steps.
    """
    quality = ranking.quality(values)
    return {
        "steps_per_s": typical_speed(speeds),
        "quality": quality.final.value if quality.final else None,
        "quality_step": quality.final.step if quality.final else None,
        "best_value": quality.best.value if quality.best else None,
        "best_step": quality.best.step if quality.best else None,
    }


def figures_of(folder: TrialFolder, ranking: Ranking) -> dict[str, Any]:
    """Return numbers that summarise a trial (speed, last and best value of the objective), from its journal."""
    return figures(ranking, speeds_of(folder), journal.column(folder.journal, ranking.metric))


def speeds_of(folder: TrialFolder) -> list[float]:
    """Return all recorded values of a trial's speed, in steps per second."""
    return [speed for _, speed in journal.column(folder.journal, STEPS_PER_S)]
