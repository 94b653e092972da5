"""What crosses to a trial's process, and what that process does with it."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict
from typing import Any

import pytest

from gansweep.records import journal, outcome
from gansweep.records.outcome import Outcome
from gansweep.schedule import runner
from gansweep.schedule.job import Job, settings_of
from gansweep.schedule.prepare import Plan
from gansweep.schedule.trainable import GanTrial


@pytest.fixture
def plan(plan_of: Callable[..., Plan]) -> Plan:
    return plan_of("replicates=2")


@pytest.fixture
def jobs(plan: Plan) -> list[dict[str, Any]]:
    """Two trials of four steps, as plain data."""
    return runner.jobs(plan)


def train(trial: GanTrial) -> dict[str, Any]:
    """Steps until it is done; the last result."""
    while not (result := trial.step())["done"]:
        pass
    return result


def test_is_plain_data_and_back(plan: Plan, jobs: list[dict[str, Any]]) -> None:
    job = Job.from_config(json.loads(json.dumps(jobs[0])))
    assert (job.id, job.folder) == (plan.trials[0].trial.id, plan.folder.trial(plan.trials[0].trial.id))
    assert (job.threads, job.gpu, job.schedule["steps"], job.images.images) == (1, False, 4, 1797)
    assert settings_of(job.settings).seed == 0
    assert asdict(job) | {"images": None} == jobs[0] | {"images": None}


@pytest.mark.parametrize("change", [{"surprise": 1}, {"settings": None}])
def test_refuses_fields_that_are_unknown_or_missing(jobs: list[dict[str, Any]], change: dict[str, Any]) -> None:
    with pytest.raises(TypeError):
        settings_of((Job.from_config({**jobs[0], **change})).settings)


def test_a_process_trains_one_trial_after_another(plan: Plan, jobs: list[dict[str, Any]]) -> None:
    trial = GanTrial(jobs[0])
    result = train(trial)
    assert (result["id"], result["step"], result["outcome"]) == (jobs[0]["id"], 4, "completed")
    assert trial.reset_config(jobs[1])
    assert train(trial)["id"] == jobs[1]["id"]
    trial.cleanup()
    for job in jobs:
        folder = plan.folder.trial(job["id"])
        ended = outcome.read(folder)
        assert ended is not None
        assert (ended.kind, ended.step) == ("completed", 4)
        assert [r.step for r in journal.read(folder.journal)] == [2, 4]


def test_a_process_that_is_given_up_before_it_trains_changes_nothing(plan: Plan, jobs: list[dict[str, Any]]) -> None:
    """Tune begins a process for a trial, hands the trial to one that became free, and ends the new one."""
    train(GanTrial(jobs[0]))
    folder = plan.folder.trial(jobs[0]["id"])
    late = GanTrial(jobs[0])
    late.cleanup()
    ended = outcome.read(folder)
    assert ended is not None
    assert ended.kind == "completed"
    assert outcome.state(folder, 4) == "completed"


def test_one_that_is_asked_to_stop_is_interrupted_where_it_is(plan: Plan, jobs: list[dict[str, Any]]) -> None:
    trial = GanTrial(jobs[0])
    folder = plan.folder.trial(jobs[0]["id"])
    folder.path.mkdir(parents=True, exist_ok=True)
    folder.stop.touch()
    result = trial.step()
    assert (result["done"], result["outcome"], result["reason"]) == (True, "interrupted", "stopped on request")
    folder.stop.unlink()
    trial.reset_config(jobs[0])
    assert train(trial)["outcome"] == "completed"


def test_an_error_is_an_outcome_with_its_traceback(plan: Plan, jobs: list[dict[str, Any]]) -> None:
    trial = GanTrial({**jobs[0], "gpu": True})
    result = trial.step()
    folder = plan.folder.trial(jobs[0]["id"])
    reason = "UserError: a GPU was asked for, but torch sees none; is this torch built for CUDA?"
    assert (result["done"], result["outcome"], result["reason"]) == (True, "crashed", reason)
    assert outcome.read(folder) == Outcome("crashed", 0, reason, None, outcome.read(folder).time)  # type: ignore[union-attr]
    assert "Traceback" in folder.traceback.read_text()
