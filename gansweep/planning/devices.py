"""Check that unfinished trials continue on the type of device that they began on."""

from __future__ import annotations

from gansweep.planning.packing import Shares
from gansweep.planning.plan import Plan
from gansweep.records.devices import CPU, GPU, refusal


def check_devices(plan: Plan, shares: Shares) -> None:
    """Raise UserError if unfinished trials of a plan would continue on another type of device.

    Args:
        plan: The plan.
        shares: Share of a GPU of each trial.
    """
    types = {planned.trial.id: GPU if shares.of(planned) else CPU for planned in plan.pending}
    wrong = [p for p in plan.pending if p.began_on not in ("", types[p.trial.id])]
    if wrong:  # all on the same type: only a share for all trials, or the lack of a GPU, can move them
        folders = [plan.folder.trial(planned.trial.id) for planned in wrong]
        raise refusal(folders, wrong[0].began_on, types[wrong[0].trial.id])
