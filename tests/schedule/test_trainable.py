"""What a trial's process does at the rungs of ASHA, and when it is asked to end there."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from gansweep.gan import checkpoint
from gansweep.records import journal, outcome
from gansweep.records.layout import TrialFolder
from gansweep.records.outcome import Outcome
from gansweep.schedule import runner
from gansweep.schedule.prepare import Plan, write_trials
from gansweep.schedule.trainable import GanTrial

PlanOf = Callable[..., Plan]
SEARCH = "search={method: grid, objective: {metric: loss_g, mode: min}, over: {training.beta1: [0.5]}}"
ASHA = (SEARCH, "scheduler={method: asha, grace: 0.2, reduction: 3}", "training.steps=10", "cadence.checkpoints=5")
RUNGS = (2, 6)


def trial_of(plan: Plan) -> tuple[GanTrial, TrialFolder]:
    """As a driver begins it."""
    write_trials(plan, "", ())
    (job,) = runner.jobs(plan)
    return GanTrial(job), plan.folder.trial(job["id"])


def until(trial: GanTrial, step: int) -> dict[str, Any]:
    """The result of the slice that ends at that step."""
    while (result := trial.step())["step"] != step:
        assert not result["done"]
    return result


def ended(folder: TrialFolder) -> Outcome:
    found = outcome.read(folder)
    assert found is not None
    return found


def test_every_slice_ends_at_a_rung(plan_of: PlanOf) -> None:
    trial, _ = trial_of(plan_of(*ASHA))
    for rung in RUNGS:
        assert until(trial, rung)["outcome"] == "running"
    assert until(trial, 10)["outcome"] == "completed"


@pytest.mark.parametrize("rung", RUNGS)
def test_one_that_asha_ends_is_stopped_where_it_is_and_has_no_verdict(plan_of: PlanOf, rung: int) -> None:
    trial, folder = trial_of(plan_of(*ASHA))
    until(trial, rung)
    folder.stop.write_text("asha")
    result = trial.step()
    assert (result["done"], result["outcome"], result["reason"], result["verdict"]) == (True, "stopped", "asha", None)
    found = ended(folder)
    assert (found.kind, found.step, found.reason, found.rule, found.verdicts) == ("stopped", rung, "asha", "asha", ())
    assert int(folder.all_checkpoints()[-1].stem) == rung


def test_it_counts_as_finished_under_asha_and_continues_under_another_scheduler(
    plan_of: PlanOf, tmp_path: Path
) -> None:
    whole, whole_folder = trial_of(plan_of(*ASHA, "scheduler=fifo"))
    until(whole, 10)
    records = [(r.step, r.values["loss_g"]) for r in journal.read(whole_folder.journal)]
    weights, _ = checkpoint.load(whole_folder.checkpoint(10))
    whole_folder.path.rename(tmp_path / "whole")

    trial, folder = trial_of(plan_of(*ASHA))
    until(trial, 6)
    folder.stop.write_text("asha")
    trial.step()
    assert plan_of(*ASHA).pending == ()
    assert plan_of(*ASHA, "training.steps=20").pending == (), "more steps do not undo what asha decided"
    fifo = plan_of(*ASHA, "scheduler=fifo")
    assert len(fifo.pending) == 1
    trial, _ = trial_of(fifo)
    assert not folder.stop.exists()
    assert until(trial, 10)["outcome"] == "completed"
    assert [(r.step, r.values["loss_g"]) for r in journal.read(folder.journal)] == records
    assert all((tensor == weights[name]).all() for name, tensor in checkpoint.load(folder.checkpoint(10))[0].items())


def test_killed_at_a_rung_it_asks_again_before_it_goes_on(plan_of: PlanOf) -> None:
    plan = plan_of(*ASHA, "cadence.checkpoints=2")
    trial, folder = trial_of(plan)
    until(trial, 6)
    trial._close()  # killed: nothing is written
    trial, _ = trial_of(plan)
    assert (trial.step()["step"], ended_or_none(folder)) == (6, None)
    assert trial.step()["step"] > 6


def ended_or_none(folder: TrialFolder) -> str | None:
    found = outcome.read(folder)
    return found.kind if found else None


def test_a_request_of_the_user_is_no_decision_of_asha(plan_of: PlanOf) -> None:
    trial, folder = trial_of(plan_of(*ASHA))
    until(trial, 2)
    folder.stop.touch()
    assert trial.step()["outcome"] == "interrupted"
    assert ended(folder).rule == ""
