"""A sweep joined with its images, its networks and what is finished."""

from __future__ import annotations

import shutil
from collections import namedtuple
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import pytest
import torch

from gansweep.errors import UserError
from gansweep.gan import checkpoint
from gansweep.gan.training import Trainer
from gansweep.records import outcome
from gansweep.records.layout import Home, read_json
from gansweep.records.outcome import Outcome
from gansweep.schedule.job import settings_of
from gansweep.schedule.prepare import Plan, check_disk, check_writable, write_trials

PlanOf = Callable[..., Plan]
TWO_RATES = "search={method: grid, over: {training.learning_rate: [1e-4, 1e-3]}}"


def test_joins_trials_with_images_and_layers(plan_of: PlanOf) -> None:
    plan = plan_of(TWO_RATES, "replicates=2")
    assert [(p.trial.varied["training.learning_rate"], p.trial.config.seed) for p in plan.trials] == [
        (1e-4, 0), (1e-4, 1), (1e-3, 0), (1e-3, 1),
    ]  # fmt: skip
    assert len({p.images for p in plan.trials}) == 1
    assert len({p.trial.id for p in plan.trials}) == 4
    settings = plan.trials[2].settings()
    assert (settings["generator"], settings["discriminator"]) == (
        {"learning_rate": 1e-3, "beta1": 0.5, "beta2": 0.999, "updates": 1},
        {"learning_rate": 1e-3, "beta1": 0.5, "beta2": 0.999, "updates": 1},
    )


def test_counts_the_parameters_that_torch_counts(plan_of: PlanOf) -> None:
    (planned,) = plan_of("dataset.image_size=28", "model.generator.feature_maps=6").trials
    trainer = Trainer(settings_of(planned.settings()), planned.images.load(), torch.device("cpu"))
    networks = (trainer.generator, trainer.discriminator)
    assert planned.parameters == tuple(sum(p.numel() for p in network.parameters()) for network in networks)


def test_spelling_out_a_default_makes_no_other_trial(plan_of: PlanOf) -> None:
    plan = plan_of("search={method: grid, over: {training.generator.beta1: [0.5, 0.9]}}")
    (same,) = plan_of().trials
    assert plan.trials[0].trial.id == same.trial.id
    both = plan_of("search={method: grid, over: {training.beta1: [0.5], training.generator.beta1: [0.5]}}")
    assert [p.trial.id for p in both.trials] == [same.trial.id]


def test_epochs_become_steps(plan_of: PlanOf) -> None:
    (planned,) = plan_of("training={epochs: 3, batch_size: 100}").trials
    assert planned.trial.steps == 3 * (1797 // 100)
    (planned,) = plan_of("training={epochs: 3, batch_size: 100}", "dataset.validation=0.5").trials
    assert planned.trial.steps == 3 * (899 // 100)
    (planned,) = plan_of("training={epochs: 3, batch_size: 100, discriminator: {updates: 5}}").trials
    assert planned.trial.steps == 3 * (1797 // 100) // 5


@pytest.mark.parametrize(
    ("ended", "steps", "pending"),
    [
        (None, 4, True),
        (Outcome("completed", 4), 4, False),
        (Outcome("completed", 4), 5, True),
        (Outcome("completed", 4), 3, False),
        (Outcome("stopped", 2, "divergence"), 4, False),
        (Outcome("crashed", 2, "OSError"), 4, True),
        (Outcome("interrupted", 4, "asked"), 4, True),
    ],
)
def test_what_is_pending(plan_of: PlanOf, ended: Outcome | None, steps: int, pending: bool) -> None:
    (planned,) = plan_of().trials
    if ended:
        outcome.write(plan_of().folder.trial(planned.trial.id), ended)
    plan = plan_of(f"training.steps={steps}")
    assert bool(plan.pending) == pending
    assert (plan.disk_bytes > 0) == pending


@pytest.mark.parametrize("settings", [("model.feature_maps=4",), ("model.latent_dim=512",), ("dataset.image_size=64",)])
def test_a_checkpoint_is_no_larger_than_planned(plan_of: PlanOf, tmp_path: Path, settings: tuple[str, ...]) -> None:
    (planned,) = plan_of(*settings).trials
    trainer = Trainer(settings_of(planned.settings()), planned.images.load(), torch.device("cpu"))
    trainer.train_step()
    file = tmp_path / "step.safetensors"
    checkpoint.save(file, trainer.state(), {"step": 0, "position": trainer.batches.position})
    assert planned.checkpoint_bytes - 32_768 < file.stat().st_size <= planned.checkpoint_bytes


def test_disk_grows_with_what_is_kept(plan_of: PlanOf) -> None:
    few = plan_of("training.steps=1000", "cadence={metrics: 100, samples: 1000, checkpoints: 1000}").disk_bytes
    samples = plan_of("training.steps=1000", "cadence={metrics: 100, samples: 10, checkpoints: 1000}").disk_bytes
    kept = plan_of("training.steps=1000", "cadence={metrics: 100, samples: 1000, checkpoints: 10}").disk_bytes
    more = plan_of("training.steps=1000", "cadence={metrics: 100, samples: 1000, checkpoints: 10}",
                   "retention.checkpoints=20").disk_bytes  # fmt: skip
    assert few < samples
    assert few < kept < more
    (planned,) = plan_of().trials
    assert more - kept == 18 * planned.checkpoint_bytes


def test_too_little_disk(plan_of: PlanOf, home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = namedtuple("usage", "total used free")
    plan = plan_of()
    monkeypatch.setattr(shutil, "disk_usage", lambda place: usage(0, 0, plan.disk_bytes))
    check_disk(plan, home)
    monkeypatch.setattr(shutil, "disk_usage", lambda place: usage(0, 0, plan.disk_bytes - 1))
    with pytest.raises(UserError, match=r"lower retention\.checkpoints, or name another disk with --home$"):
        check_disk(plan, home)


def test_check_writable_leaves_only_the_home(home: Home) -> None:
    check_writable(home)
    assert list(home.path.iterdir()) == []


def test_the_plan_is_put_on_record(plan_of: PlanOf) -> None:
    plan = plan_of(TWO_RATES)
    stop = plan.folder.trial(plan.trials[0].trial.id).stop
    stop.parent.mkdir(parents=True)
    stop.touch()
    write_trials(plan, "gansweep run s.yaml", ("a=1",))
    assert not stop.exists(), "an old request does not stop a new run"
    ids = [p.trial.id for p in plan.trials]
    assert read_json(plan.folder.plan) == {
        "sweep": "s", "command": "gansweep run s.yaml", "overrides": ["a=1"], "trials": ids,
    }  # fmt: skip
    assert [folder.id for folder in plan.folder.planned()] == ids
    document = read_json(plan.folder.planned()[1].trial)
    assert (document["id"], document["steps"], document["varied"]) == (ids[1], 4, {"training.learning_rate": 1e-3})
    assert "steps" not in document["config"]["training"], "length is no part of what a trial is"
    assert document["data"] == {"fingerprint": plan.trials[0].images.fingerprint, "images": 1797}
    assert asdict(plan.trials[0].images)["images"] == 1797
