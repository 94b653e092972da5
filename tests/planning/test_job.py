"""What crosses to a trial's process, and what that process does with it."""

from __future__ import annotations

import json
from collections.abc import Callable
from numbers import Number
from typing import Any

import pytest
from scenes import judge_at_once

from gansweep.engine.trainable import GanTrial
from gansweep.gan.restore import generator_of
from gansweep.health.metrics import CRITIC_REAL, D_REAL, FD_RATIO
from gansweep.planning.dispatch import jobs_of
from gansweep.planning.job import Job
from gansweep.planning.plan import Plan
from gansweep.records import journal, outcome
from gansweep.records.outcome import Outcome


@pytest.fixture
def plan(plan_of: Callable[..., Plan]) -> Plan:
    return plan_of("replicates=2")


@pytest.fixture
def jobs(plan: Plan) -> list[dict[str, Any]]:
    """Two trials of four steps, as plain data."""
    return jobs_of(plan)


def train(trial: GanTrial) -> dict[str, Any]:
    """Steps until it is done; the last result."""
    while not (result := trial.step())["done"]:
        pass
    return result


def test_is_plain_data_and_back(plan: Plan, jobs: list[dict[str, Any]]) -> None:
    plain = json.loads(json.dumps(jobs[0]))
    job = Job.from_config(plain)
    assert (job.id, job.folder) == (plan.trials[0].trial.id, plan.folder.trial(plan.trials[0].trial.id))
    assert (job.threads, job.gpus, job.run.steps, job.images.images) == (1, 0.0, 4, 1797)
    assert job.training.seed == 0
    assert json.loads(json.dumps(job.to_config())) == plain
    assert Job.from_config(jobs[0]).images == plan.trials[0].images


def test_tune_finds_few_numbers_in_what_it_is_given(jobs: list[dict[str, Any]]) -> None:
    """It keeps statistics of each, a kilobyte a trial, in the driver."""
    from ray.tune.utils import flatten_dict

    def numbers(data: dict[str, Any]) -> list[str]:
        return [key for key, value in flatten_dict(data).items() if isinstance(value, Number)]

    assert len(numbers(jobs[0])) < 10
    result = train(GanTrial(jobs[0]))
    assert len(result["metrics"]) > 5
    assert len(numbers(result)) < 6


def test_says_how_often_it_is_evaluated_and_what_stops_it(plan_of: Callable[..., Plan]) -> None:
    plan = plan_of("training.steps=100", "evaluation={per_run: 5, samples: 40}", "stop.on=[mode_collapse]")
    job = Job.from_config(jobs_of(plan)[0])
    assert (job.run.evaluations, job.run.stop_on, job.samples) == (20, ("mode_collapse",), 40)
    (plain,) = jobs_of(plan_of("stop=none", "evaluation={per_run: 5, samples: 10000}"))
    assert Job.from_config(plain).run.stop_on == ()
    assert plain["samples"] == 449, "two samples of real images of that size are to be had, and no larger ones"


def test_a_trial_is_evaluated_and_judged(plan_of: Callable[..., Plan], monkeypatch: pytest.MonkeyPatch) -> None:
    judge_at_once(monkeypatch)
    plan = plan_of("evaluation={per_run: 2, samples: 40}", "stop=none")
    (config,) = jobs_of(plan)
    trial = GanTrial(config)
    first = trial.step()
    result = first if first["done"] else train(trial)
    folder = plan.folder.trial(config["id"])
    assert [r.step for r in journal.read(folder.journal) if FD_RATIO in r.values] == [0, 2, 4]
    ended = outcome.read(folder)
    assert ended is not None
    assert (result["outcome"], result["verdict"], ended.kind) == ("completed", ended.verdict, "completed")
    assert dict(result["metrics"])[FD_RATIO] > 0
    assert len([n for n in first["notices"] if n.startswith("evaluation.samples: classes missing needs")]) == 1
    assert len([n for n in first["notices"] if n.startswith("the evaluator classifies only")]) == 1


EVERYTHING = (
    "model={conditioning: two_stream, latent_dim: 8, feature_maps: 4, generator: {depth: 2},"
    " discriminator: {norm: layer, spectral_norm: true, growth: {at: 2}}}",
    "training={steps: 4, batch_size: 16, loss: wasserstein_gp, instance_noise: 0.1, ema: 0.9}",
)


def test_networks_loss_and_classes_cross_as_plain_data(plan_of: Callable[..., Plan]) -> None:
    plan = plan_of(*EVERYTHING)
    (plain,) = json.loads(json.dumps(jobs_of(plan)))
    training = Job.from_config(plain).training
    assert training == plan.trials[0].training
    assert training.networks.classes == tuple("0123456789")
    assert (training.loss.name, training.networks.growth_at, training.ema) == ("wasserstein_gp", 2, 0.9)


def test_a_process_trains_what_it_is_told(plan_of: Callable[..., Plan]) -> None:
    plan = plan_of(*EVERYTHING)
    (config,) = json.loads(json.dumps(jobs_of(plan)))
    assert train(GanTrial(config))["outcome"] == "completed"
    folder = plan.folder.trial(config["id"])
    assert [set(r.values) & {CRITIC_REAL, D_REAL} for r in journal.read(folder.journal)] == [{CRITIC_REAL}] * 2
    found = generator_of(folder.checkpoint(4))
    assert (found.step, found.classes) == (4, tuple("0123456789"))


def test_only_a_conditional_run_is_given_classes(plan_of: Callable[..., Plan]) -> None:
    for conditioning, labelled in (("none", False), ("concat", True)):
        run = Job.from_config(jobs_of(plan_of(f"model.conditioning={conditioning}"))[0]).open()
        assert (run._trainer.batches.labels is not None) == labelled
        run.close()


@pytest.mark.parametrize(
    ("part", "change"),
    [
        ("networks", {"colour": "red"}),
        ("networks", {"architecture": "dcgan", "surprise": 1}),
        ("loss", {"surprise": 1}),
        ("networks", None),
        ("loss", None),
    ],
)
def test_refuses_parts_that_are_unknown(jobs: list[dict[str, Any]], part: str, change: dict[str, Any] | None) -> None:
    with pytest.raises(TypeError):
        Job.from_config({**jobs[0], "training": json.dumps({**json.loads(jobs[0]["training"]), part: change})})


@pytest.mark.parametrize("change", [{"surprise": 1}, {"training": "null"}])
def test_refuses_fields_that_are_unknown_or_missing(jobs: list[dict[str, Any]], change: dict[str, Any]) -> None:
    with pytest.raises(TypeError):
        Job.from_config({**jobs[0], **change})


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
    trial = GanTrial({**jobs[0], "gpus": 1.0})
    result = trial.step()
    folder = plan.folder.trial(jobs[0]["id"])
    reason = (
        "resources.gpus: torch finds no GPU that it can use; install a torch that is built for this machine's CUDA"
        " driver, or set resources.gpus: 0 to train on the CPU"
    )
    assert (result["done"], result["outcome"], result["reason"]) == (True, "crashed", reason)
    assert outcome.read(folder) == Outcome("crashed", 0, reason, time=outcome.read(folder).time)  # type: ignore[union-attr]
    assert "Traceback" in folder.traceback.read_text()
