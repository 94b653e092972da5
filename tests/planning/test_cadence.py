"""Intervals between the records of a trial: they scale with the run, and a trial keeps those that it began with."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from typing import Any

import pytest

from gansweep.planning import cadence
from gansweep.planning.cadence import TrialCadence
from gansweep.planning.dispatch import jobs_of
from gansweep.planning.job import Job
from gansweep.planning.plan import Plan
from gansweep.records.layout import read_json
from gansweep.sweepfile.schema import Cadence

PlanOf = Callable[..., Plan]


@pytest.mark.parametrize(
    ("asked", "steps", "expected"),
    [
        ({}, 600, TrialCadence(10, 24, 0, 30.0)),
        ({}, 10_000, TrialCadence(10, 400, 0, 30.0)),
        ({}, 10_001, TrialCadence(11, 400, 0, 30.0)),
        ({}, 200_000, TrialCadence(200, 8_000, 0, 30.0)),
        ({}, 5, TrialCadence(10, 1, 0, 30.0)),
        ({"metrics": 1, "samples": 7, "checkpoints": 9}, 200_000, TrialCadence(1, 7, 9, 0.0)),
        ({"samples": {"per_run": 10}, "checkpoints": {"seconds": 5.0}}, 600, TrialCadence(10, 60, 0, 5.0)),
    ],
)
def test_intervals_scale_with_the_run(asked: dict[str, Any], steps: int, expected: TrialCadence) -> None:
    assert cadence.new_cadence(Cadence.model_validate(asked), steps) == expected


def train(plan: Plan) -> Job:
    (config,) = jobs_of(plan)
    job = Job.from_config(config)
    run = job.open()
    while run.advance(60) is None:
        pass
    run.close()
    return job


def test_a_trial_keeps_the_intervals_that_it_began_with(plan_of: PlanOf) -> None:
    began = train(plan_of("cadence={}", "training.steps=4"))
    assert read_json(began.folder.cadence) == {"metrics": 10, "samples": 1, "checkpoints": 0, "checkpoint_s": 30.0}
    longer = plan_of("training.steps=50000", "cadence={metrics: 7, samples: 9, checkpoints: 11}")
    run = Job.from_config(jobs_of(longer)[0]).run
    assert (run.steps, run.metrics, run.samples, run.checkpoints, run.checkpoint_s) == (50_000, 10, 1, 0, 30.0)


@pytest.mark.parametrize(("asked", "expected"), [("{}", (10, 100, 100)), ("{samples: 3}", (10, 3, 100))])
def test_a_trial_of_version_0_1_0_keeps_its_intervals(
    plan_of: PlanOf, asked: str, expected: tuple[int, int, int]
) -> None:
    """It has records, but no file with its intervals."""
    train(plan_of("cadence={metrics: 2, samples: 4, checkpoints: 4}")).folder.cadence.unlink()
    run = Job.from_config(jobs_of(plan_of("training.steps=50000", f"cadence={asked}"))[0]).run
    assert (run.metrics, run.samples, run.checkpoints) == expected


def test_a_trial_that_left_no_records_is_new(plan_of: PlanOf) -> None:
    folder = train(plan_of()).folder
    shutil.rmtree(folder.path)
    folder.path.mkdir()
    folder.journal.touch()  # opened, and killed at once
    (config,) = jobs_of(plan_of("cadence={}"))
    assert Job.from_config(config).run.checkpoints == 0


def test_intervals_are_no_part_of_the_identity(plan_of: PlanOf) -> None:
    (one,), (other,) = (plan_of(f"cadence={given}").trials for given in ("{}", "{metrics: 1, checkpoints: 3}"))
    assert one.trial.id == other.trial.id
