"""A trial, opened again outside its sweep."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import old_homes
import pytest
import torch
from scenes import judge_at_once

from gansweep.config import LossConfig, TrainingConfig, from_plain
from gansweep.errors import UserError
from gansweep.gan import checkpoint
from gansweep.gan.evaluator import Evaluator
from gansweep.gan.reference import reference_of
from gansweep.gan.training import Trainer
from gansweep.health.metrics import D_AUC, REQUESTED
from gansweep.planning.dispatch import job_of
from gansweep.planning.plan import Plan, write_trials
from gansweep.planning.reopen import reopen
from gansweep.records.layout import Home

PlanOf = Callable[..., Plan]


def trained(plan: Plan) -> str:
    """The id of the plan's only trial, trained to its end."""
    (planned,) = plan.trials
    write_trials(plan, "gansweep run s.yaml", [])
    run = job_of(plan, planned, 0.0).open()
    run.advance(float("inf"))
    run.close()
    return planned.trial.id


@pytest.mark.parametrize("conditioning", ["none", "concat", "two_stream"])
def test_trains_on_as_the_run_itself_would(plan_of: PlanOf, home: Home, conditioning: str) -> None:
    override = f"model.conditioning={conditioning}"
    trial_id = trained(plan_of(override))
    trainer, images = reopen(home, "s", trial_id)
    (longer,) = plan_of(override, "training.steps=6").trials
    straight = Trainer.on(images, longer.training, torch.device("cpu"))
    for _ in range(6):
        straight.train_step()
    assert trainer.step == 4
    for _ in range(2):
        trainer.train_step()
    for name, tensor in trainer.generator.state_dict().items():
        assert torch.equal(tensor, straight.generator.state_dict()[name]), name


@pytest.mark.parametrize("conditioning", ["none", "concat"])
def test_can_be_evaluated(plan_of: PlanOf, home: Home, monkeypatch: pytest.MonkeyPatch, conditioning: str) -> None:
    judge_at_once(monkeypatch)
    trainer, images = reopen(home, "s", trained(plan_of(f"model.conditioning={conditioning}")))
    found = Evaluator(reference_of(images)[0], 64, seed=0)(trainer)
    assert 0 <= found[D_AUC] <= 1
    assert (REQUESTED in found) == (conditioning != "none")


def test_a_checkpoint_is_chosen_by_its_step(plan_of: PlanOf, home: Home) -> None:
    trial_id = trained(plan_of("cadence.checkpoints=2", "retention.checkpoints=2"))
    assert [reopen(home, "s", trial_id, step)[0].step for step in (2, 4, None)] == [2, 4, 4]
    with pytest.raises(UserError, match=r"has no checkpoint at step 3; there are checkpoints at 2, 4$"):
        reopen(home, "s", trial_id, 3)


def test_a_trial_without_a_checkpoint_is_an_error_of_the_user(plan_of: PlanOf, home: Home, tmp_path: Path) -> None:
    plan = plan_of()
    write_trials(plan, "gansweep run s.yaml", [])
    with pytest.raises(UserError, match=r"has no checkpoint$"):
        reopen(home, "s", plan.trials[0].trial.id)


def test_a_checkpoint_of_version_0_1_0_trains_on_bit_for_bit(tmp_path: Path) -> None:
    """Bit for bit on processors that round as the one it was recorded on; on others its 37 steps differ in last bits,
    and only what is no floating-point arithmetic (random streams, order of the images, counters) is the same."""
    home = old_homes.unpack(tmp_path)
    folder = home.sweep("old").trial(old_homes.INTERRUPTED)
    _, meta = checkpoint.load(folder.all_checkpoints()[-1])
    trainer, images = reopen(home, "old", folder.id)
    described = {key: value for key, value in meta["settings"].items() if key != "loss"}  # options beside the name
    assert from_plain(TrainingConfig, described) == replace(trainer.config, loss=LossConfig())
    straight = Trainer.on(images, trainer.config, torch.device("cpu"))
    while straight.step < trainer.step:
        straight.train_step()
    rounds_alike = not differing(trainer.state(), straight.state(), exactly=True)
    while straight.step < trainer.step + 3:
        straight.train_step()
    while trainer.step < straight.step:
        trainer.train_step()
    found, expected = trainer.state(), straight.state()
    del found["interval"], expected["interval"]  # metrics since the last record, which only a run clears
    assert differing(found, expected, exactly=rounds_alike) == []


def differing(found: dict[str, torch.Tensor], expected: dict[str, torch.Tensor], *, exactly: bool) -> list[str]:
    """Names of the tensors that differ: at all, or for floating-point numbers by a 10,000th of the largest."""

    def near(a: torch.Tensor, b: torch.Tensor) -> bool:
        exact = exactly or not a.is_floating_point()
        return torch.equal(a, b) if exact else torch.allclose(a, b, rtol=0, atol=1e-4 * float(b.abs().max()))

    return [name for name in expected if name != "interval" and not near(found[name], expected[name])]
