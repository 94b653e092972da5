"""Jobs of planned trials as configurations for Ray Tune."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from gansweep.schedule.job import job_of
from gansweep.schedule.packing import ON_CPU, Shares
from gansweep.schedule.planned import Planned
from gansweep.schedule.prepare import Plan
from gansweep.schedule.rungs import rungs_of


def jobs_of(
    plan: Plan, shares: Shares = ON_CPU, storage: str | None = None, trials: Sequence[Planned] | None = None
) -> list[dict[str, Any]]:
    """Return the jobs of trials as plain data.

    Args:
        plan: The plan of the sweep.
        shares: Shares of a GPU by the shape of a trial.
        storage: URI of the sweep's storage.
        trials: Trials of the plan; the pending ones unless given.
    """
    found = plan.pending if trials is None else trials
    return [job_of(plan, one, shares.of(one), rungs_of(plan, one), storage).to_config() for one in found]
