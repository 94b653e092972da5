"""The type of device that a trial began on decides where it continues."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable

import pytest
import torch
from bad_calls import calling

from gansweep.errors import UserError
from gansweep.gan import checkpoint
from gansweep.planning import single
from gansweep.planning.devices import check_devices
from gansweep.planning.dispatch import job_of
from gansweep.planning.packing import Shares
from gansweep.planning.plan import Plan, write_trials
from gansweep.planning.reopen import reopen
from gansweep.records import devices
from gansweep.records.devices import CPU, GPU, Device
from gansweep.records.layout import Home, TrialFolder

PlanOf = Callable[..., Plan]
SEVERAL = "replicates=5"


@pytest.fixture
def interrupted(plan_of: PlanOf) -> Callable[..., TrialFolder]:
    """(trial=0, steps=1) → folder of a trial of SEVERAL that was trained on the CPU for some slices of one step."""

    def interrupt(trial: int = 0, steps: int = 1) -> TrialFolder:
        plan = plan_of(SEVERAL)
        write_trials(plan, "gansweep run s.yaml", [SEVERAL])
        run = job_of(plan, plan.trials[trial], 0.0).open()
        for _ in range(steps):
            run.advance(0.0)
        if steps < run.config.steps:
            run.suspend("stopped on request")
        run.close()
        return plan.folder.trial(plan.trials[trial].trial.id)

    return interrupt


def on_gpu(folder: TrialFolder) -> TrialFolder:
    """The folder as if its trial had been trained on a GPU."""
    folder.devices.write_text(json.dumps({"devices": [vars(Device(GPU, "NVIDIA H100"))]}))
    for path in folder.all_checkpoints():
        tensors, meta = checkpoint.load(path)
        checkpoint.save(path, {**tensors, "noise_rng": torch.zeros(16, dtype=torch.uint8)}, {**meta, "device": GPU})
    return folder


def refusal(plan: Plan, shares: Shares) -> str:
    with pytest.raises(UserError) as refused:
        check_devices(plan, shares)
    return str(refused.value)


def test_a_trial_and_its_checkpoints_name_the_device(interrupted: Callable[..., TrialFolder]) -> None:
    folder = interrupted()
    (found,) = devices.read(folder)
    assert (found.type, found.name, found.torch) == (CPU, "", torch.__version__)
    (path,) = folder.all_checkpoints()
    tensors, meta = checkpoint.load(path)
    assert meta["device"] == devices.of_checkpoint(path) == CPU
    checkpoint.save(path, tensors, {k: v for k, v in meta.items() if k != "device"})
    folder.devices.unlink()
    assert devices.began_on(folder) == CPU, "as written by 0.1.0"


def test_unfinished_trials_of_a_gpu_are_refused_on_the_cpu(
    interrupted: Callable[..., TrialFolder], plan_of: PlanOf
) -> None:
    folders = [on_gpu(interrupted(0, steps=4)), *(on_gpu(interrupted(trial)) for trial in range(1, 5))]
    plan = plan_of(SEVERAL)
    assert [p.trial.id for p in plan.trials if p.finished] == [folders[0].id]
    message = (
        f"trials {', '.join(one.id for one in folders[1:4])} and 1 more: began on a GPU, but would continue on the CPU,"
        " whose numbers differ; continue them with --set resources.gpus=auto on a machine with a GPU, or delete their"
        f" folders in {folders[0].path.parent} to train them again from the start"
    )
    assert refusal(plan, Shares.equal(0.0)) == message
    auto = plan_of(SEVERAL, "resources.gpus=auto")
    assert refusal(auto, Shares.expected(auto.sweep.resources, 0)) == message
    check_devices(plan, Shares.equal(0.25))
    check_devices(auto, Shares.expected(auto.sweep.resources, 1))


def test_a_trial_of_the_cpu_stays_there_with_auto_and_is_refused_with_a_share(
    interrupted: Callable[..., TrialFolder], plan_of: PlanOf
) -> None:
    folder = interrupted()
    plan = plan_of(SEVERAL, "resources.gpus=auto")
    shares = Shares.expected(plan.sweep.resources, 2)
    check_devices(plan, shares)
    assert [shares.of(planned) for planned in plan.trials] == [0.0, 1.0, 1.0, 1.0, 1.0]
    assert refusal(plan, Shares.equal(0.25)) == (
        f"trial {folder.id}: began on the CPU, but would continue on a GPU, whose numbers differ; continue it with"
        f" --set resources.gpus=auto, or delete {folder.path} to train it again from the start"
    )


def test_finished_trials_are_not_asked_for_their_device(
    interrupted: Callable[..., TrialFolder], plan_of: PlanOf
) -> None:
    on_gpu(interrupted(0, steps=4))
    check_devices(plan_of(SEVERAL), Shares.equal(0.0))
    longer = plan_of(SEVERAL, "training.steps=6")
    assert "began on a GPU" in refusal(longer, Shares.equal(0.0))


def test_the_command_refuses_before_ray_starts(
    interrupted: Callable[..., TrialFolder], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = on_gpu(interrupted())
    before = {path: path.read_bytes() for path in folder.path.rglob("*") if path.is_file()}
    monkeypatch.setitem(sys.modules, "ray", None)
    monkeypatch.chdir(folder.path.parents[4])
    message = calling(monkeypatch, capsys)("run", "s.yaml", "--set", SEVERAL)
    assert message.startswith(f"trial {folder.id}: began on a GPU, but would continue on the CPU, ")
    assert message.count("\n") == 1
    assert before == {path: path.read_bytes() for path in folder.path.rglob("*") if path.is_file()}


def test_a_process_that_is_given_it_all_the_same_refuses(
    interrupted: Callable[..., TrialFolder], plan_of: PlanOf
) -> None:
    folder = on_gpu(interrupted())
    plan = plan_of(SEVERAL)
    with pytest.raises(UserError, match=f"trial {folder.id}: began on a GPU"):
        job_of(plan, plan.trials[0], 0.0).open()


def test_a_single_run_continues_a_checkpoint_where_it_was_written(
    interrupted: Callable[..., TrialFolder], plan_of: PlanOf, home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gansweep.planning.single.gpus", lambda: 2)
    path = interrupted().all_checkpoints()[0]

    def gpus_of(asked: str) -> float:
        plan = single.make_plan(plan_of(f"resources.gpus={asked}").sweep, home)
        return single.begin(plan, home, single.start_from(path), "", str).gpus

    def refused(asked: str) -> str:
        with pytest.raises(UserError) as error:
            gpus_of(asked)
        return str(error.value)

    assert [gpus_of(asked) for asked in ("auto", "0")] == [0.0, 0.0]
    assert refused("1") == (
        f"resources.gpus: 1, which trains on a GPU, but {path} was written on the CPU; set resources.gpus: 0, or"
        " train without --checkpoint"
    )
    runs = sorted(home.runs.iterdir())
    on_gpu(TrialFolder(path.parents[1]))
    assert [gpus_of(asked) for asked in ("auto", "0.5")] == [1.0, 0.5]
    assert refused("0") == (
        f"resources.gpus: 0, which trains on the CPU, but {path} was written on a GPU; set resources.gpus: a number"
        " above 0, on a machine with a GPU, or train without --checkpoint"
    )
    assert len(list(home.runs.iterdir())) == len(runs) + 2, "a refused run leaves no folder"


def test_a_trial_of_a_gpu_is_not_reopened_without_one(
    interrupted: Callable[..., TrialFolder], home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    folder = on_gpu(interrupted())
    with pytest.raises(UserError, match="was written on a GPU, but torch finds none"):
        reopen(home, "s", folder.id)


@pytest.mark.gpu
def test_on_a_gpu_the_trial_names_card_driver_and_tf32(plan_of: PlanOf) -> None:
    plan = plan_of()
    run = job_of(plan, plan.trials[0], 1.0).open()
    run.advance(0.0)
    run.suspend("stopped on request")
    run.close()
    folder = plan.folder.trial(plan.trials[0].trial.id)
    (found,) = devices.read(folder)
    assert (found.type, found.name) == (GPU, torch.cuda.get_device_name())
    assert found.driver
    assert "convolutions" in found.tf32
    tensors, meta = checkpoint.load(folder.all_checkpoints()[0])
    assert (tensors["noise_rng"].shape, meta["device"]) == ((16,), GPU)
    with pytest.raises(UserError, match="began on a GPU"):
        job_of(plan, plan.trials[0], 0.0).open()
    job_of(plan, plan.trials[0], 1.0).open().close()
