"""What a tracking store has of a sweep, as gansweep reads it."""

from __future__ import annotations

from gansweep.records.layout import Home
from gansweep.sweeps.sweep import RecordedSweep, RecordedTrial
from gansweep.tracking.reader import StoreReader


def sweep(home: Home, uri: str, name: str, *, all_plans: bool = False) -> RecordedSweep:
    return StoreReader(home, uri, name).read(all_plans=all_plans)


def trials(home: Home, uri: str, name: str, *, all_plans: bool = False) -> list[RecordedTrial]:
    """In the order of the plan, with what verdicts are made of."""
    return StoreReader(home, uri, name).read(all_plans=all_plans, verdicts_only=True).in_plan_order()


def artifact(home: Home, uri: str, name: str, trial: str, path: str) -> bytes | None:
    """A file among the artifacts of a trial's run."""
    found = sweep(home, uri, name)
    (one,) = (one for one in found.trials if one.id == trial)
    return found.files.content(one, path)
