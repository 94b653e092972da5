"""Trials that start from given weights, `training.from`."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from gansweep.errors import UserError
from gansweep.gan import checkpoint
from gansweep.gan.restore import description
from gansweep.gan.training import Trainer
from gansweep.planning.dispatch import job_of
from gansweep.planning.plan import Plan, recorded, write_trials
from gansweep.records.layout import Home

PlanOf = Callable[..., Plan]
CPU = torch.device("cpu")


@pytest.fixture
def trained(plan_of: PlanOf) -> Trainer:
    """A trainer of a trial of sweep `s`, whose checkpoints of steps 1 and 2 are kept."""
    plan = plan_of("training.ema=0.5", "seed=7")
    write_trials(plan, "gansweep run s.yaml", ())
    (planned,) = plan.trials
    trainer = Trainer.on(planned.images, planned.training, CPU)
    for step in (1, 2):
        trainer.train_step()
        meta = {"step": step, "position": trainer.batches.position, **description(trainer.config)}
        checkpoint.save(plan.folder.trial(planned.trial.id).checkpoint(step), trainer.state(), meta)
    return trainer


@pytest.fixture
def kept(trained: Trainer, home: Home) -> list[Path]:
    (trial,) = home.sweep("s").all_trials()
    return trial.all_checkpoints()


def opened(plan: Plan) -> Trainer:
    """The trainer of the job that the only trial of a plan is given."""
    (planned,) = plan.trials
    write_trials(plan, "gansweep run s.yaml", ())
    job = job_of(plan, planned, 0)
    return Trainer.on(job.images, job.training, CPU)


def same(a: torch.nn.Module, b: dict[str, torch.Tensor], prefix: str) -> bool:
    return all(torch.equal(tensor, b[f"{prefix}.{name}"]) for name, tensor in a.state_dict().items())


def test_both_networks_start_from_the_weights_of_a_trial(
    plan_of: PlanOf, home: Home, trained: Trainer, kept: list[Path]
) -> None:
    """G from its average over time, which is what is sampled; Adam anew."""
    plan = plan_of(f"training.from={kept[-1]}", "name=fine")
    trainer = opened(plan)
    state = trained.state()
    assert same(trainer.generator, state, "average")
    assert same(trainer.discriminator, state, "discriminator")
    assert trainer.step == 0
    new = opened(plan_of("name=new"))
    assert torch.equal(trainer.state()["noise_rng"], new.state()["noise_rng"])
    assert all(
        torch.equal(a, b) for a, b in zip(trainer.adam_g.state().values(), new.adam_g.state().values(), strict=True)
    )
    shutil.rmtree(home.sweep("s").path)  # the sweep has a copy
    (planned,) = plan.trials
    again = recorded(home, "fine", planned.trial.id)
    assert same(Trainer.on(again.images, again.training, CPU).discriminator, state, "discriminator")
    assert "path" not in str(description(again.training)["settings"]["start"]["path"])


def test_identity_is_that_of_the_weights_and_not_of_their_place(
    plan_of: PlanOf, home: Home, kept: list[Path], tmp_path: Path
) -> None:
    def planned(start: Any) -> str:
        (one,) = plan_of(f"training.from={start}").trials
        return one.trial.id

    copied = tmp_path / "elsewhere.safetensors"
    shutil.copy(kept[-1], copied)
    (trial,) = home.sweep("s").all_trials()
    same_weights = [planned(start) for start in (kept[-1], copied, trial.path, f"s/{trial.id}", f"s/{trial.id[:5]}@2")]
    assert len({*same_weights}) == 1
    assert planned(f"s/{trial.id}@1") != same_weights[0]
    (new,) = plan_of().trials
    assert new.trial.id not in (same_weights[0], planned(kept[0]))
    tensors, meta = checkpoint.load(kept[-1])
    only_g = {name: t for name, t in tensors.items() if name.startswith("generator.")}
    checkpoint.save(tmp_path / "model.safetensors", only_g, {"step": 2, "settings": meta["settings"]})
    g_alone = plan_of(f"training.from={tmp_path}", "name=alone")
    assert g_alone.trials[0].trial.id not in same_weights
    trainer = opened(g_alone)
    assert same(trainer.generator, tensors, "generator")
    assert same(trainer.discriminator, opened(plan_of("name=new")).state(), "discriminator")


def test_what_cannot_be_started_from_is_refused(plan_of: PlanOf, kept: list[Path], tmp_path: Path) -> None:
    damaged, other = tmp_path / "damaged.safetensors", tmp_path / "other.safetensors"
    damaged.write_bytes(b"\0" * 100)
    meta = {"step": 1, "position": 0}
    checkpoint.save(other, {"generator.weights.0": torch.zeros(1, 1, 1, 1)}, meta)
    trial = kept[0].parents[1].name
    for options, message in [
        (("training.from=nothing",), "training.from: nothing: does not exist; name a .safetensors file, a folder of"),
        ((f"training.from={damaged}",), f"training.from: {damaged}: damaged, or not a checkpoint of gansweep"),
        ((f"training.from=s/{trial}@9",), f"training.from: s/{trial}@9: no such checkpoint is kept; those of 1, 2 are"),
        ((f"training.from={kept[-1]}", "model.latent_dim=9"),
         f"training.from: {kept[-1]} holds a generator of model.latent_dim: 8, not 9; set model.latent_dim: 8"),
        ((f"training.from={kept[-1]}", "model.architecture=projected"),
         f"training.from: {kept[-1]} holds a generator of model.architecture: dcgan, not projected; set model.arch"),
    ]:  # fmt: skip
        with pytest.raises(UserError) as refused:
            plan_of(*options)
        assert str(refused.value).startswith(message)
        assert "\n" not in str(refused.value)
    with pytest.raises(UserError, match=r"^training\.from: .*other|weights/.*: cannot be loaded \(Error"):
        opened(plan_of(f"training.from={other}", "name=wrong"))
    plan = plan_of(f"training.from={kept[-1]}")
    with pytest.raises(UserError, match="weights are not copied to a --storage"):
        job_of(plan, plan.trials[0], 0, storage="s3://bucket")
