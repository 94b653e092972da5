"""Jobs of planned trials, as Ray Tune takes them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from gansweep.schedule.asha import rungs_of
from gansweep.schedule.job import job_of
from gansweep.schedule.packing import ON_CPU, Shares
from gansweep.schedule.planned import Planned
from gansweep.schedule.prepare import Plan


def jobs_of(
    plan: Plan, shares: Shares = ON_CPU, storage: str | None = None, trials: Sequence[Planned] | None = None
) -> list[dict[str, Any]]:
    """What crosses to trial processes: configurations of schedule.job.Job. storage: its URI. trials: of the plan;
    those that are pending unless others are given."""
    found = plan.pending if trials is None else trials
    return [job_of(plan, one, shares.of(one), rungs_of(plan, one), storage).to_config() for one in found]
