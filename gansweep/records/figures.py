"""Figures of a trial that several commands show, each with one meaning: docs/looking.md, "What the figures mean"."""

from __future__ import annotations

from typing import Any

from gansweep.health.metrics import STEPS_PER_S, typical_speed
from gansweep.records import journal
from gansweep.records.layout import TrialFolder
from gansweep.records.ranking import Ranking


def figures(folder: TrialFolder, ranking: Ranking) -> dict[str, Any]:
    """Return `steps_per_s`, `best_value` and `best_step` (of the objective), each None if nothing is recorded."""
    records = journal.read(folder.journal)
    speed = typical_speed([r.values[STEPS_PER_S] for r in records if STEPS_PER_S in r.values])
    best = ranking.best(records)
    step, value = (None, None) if best is None else (best[0], ranking.value(best[1]))
    return {"steps_per_s": speed, "best_value": value, "best_step": step}
