"""A sweep joined with its images, its networks and what is finished."""

from __future__ import annotations

import json
import shutil
from collections import namedtuple
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from gansweep.config import LossConfig, NetworkConfig, OptimizerConfig, TrainingConfig
from gansweep.errors import UserError
from gansweep.gan import checkpoint
from gansweep.gan.restore import description
from gansweep.gan.sampling import grid_png
from gansweep.gan.training import Trainer
from gansweep.gan.version import TRAINING_VERSION
from gansweep.planning.cost import shape_of, wall_s
from gansweep.planning.dispatch import jobs_of
from gansweep.planning.plan import Plan, check_disk, write_trials
from gansweep.planning.trial import PlannedTrial
from gansweep.records import outcome, suggestions
from gansweep.records.layout import Home, read_json
from gansweep.records.outcome import Outcome
from gansweep.records.writable import check_writable
from gansweep.sweepfile.trials import search_id

PlanOf = Callable[..., Plan]
TWO_RATES = "search={method: grid, over: {training.learning_rate: [1e-4, 1e-3]}}"


def test_joins_trials_with_images_and_layers(plan_of: PlanOf) -> None:
    plan = plan_of(TWO_RATES, "replicates=2")
    assert [(p.trial.varied["training.learning_rate"], p.trial.config.seed) for p in plan.trials] == [
        (1e-4, 0), (1e-4, 1), (1e-3, 0), (1e-3, 1),
    ]  # fmt: skip
    assert len({p.images for p in plan.trials}) == 1
    assert len({p.trial.id for p in plan.trials}) == 4
    training, adam = plan.trials[2].training, OptimizerConfig(1e-3, 0.5, 0.999, 1)
    assert (training.generator, training.discriminator) == (adam, adam)


@pytest.mark.parametrize(
    "settings",
    [
        (),
        ("model.generator.feature_maps=6", "model.discriminator.feature_maps=3"),
        ("model.architecture=dcgan_mnist28", "model.conditioning=concat", "model.discriminator.norm=none"),
        ("model.architecture=projected", "model.generator={separable: true}", "model.discriminator={depth: 2}"),
        ("model.conditioning=two_stream", "model.discriminator={spectral_norm: true, separable: true}"),
    ],
    ids=str,
)
def test_counts_the_parameters_that_torch_counts(plan_of: PlanOf, settings: tuple[str, ...]) -> None:
    (planned,) = plan_of("dataset.image_size=28", *settings).trials
    trainer = trainer_of(planned)
    networks = (trainer.generator, trainer.discriminator)
    assert planned.parameters == tuple(sum(p.numel() for p in network.parameters()) for network in networks)
    assert planned.generator == trainer.generator.layout
    assert planned.discriminator == trainer.discriminator.layout


def test_a_growing_d_is_counted_as_it_will_be(plan_of: PlanOf) -> None:
    (planned,), (plain,) = plan_of("model.discriminator.growth.at=3").trials, plan_of().trials
    assert planned.parameters == plain.parameters
    trainer = trainer_of(planned)
    for _ in range(4):
        trainer.train_step()
    assert trainer.discriminator.layout == planned.discriminator


def trainer_of(planned: PlannedTrial) -> Trainer:
    return Trainer.on(planned.images, planned.training, torch.device("cpu"))


def test_every_setting_of_the_file_reaches_the_run(plan_of: PlanOf) -> None:
    (planned,) = plan_of(
        "model={architecture: projected, conditioning: concat, latent_dim: 7, feature_maps: 6,"
        " generator: {feature_maps: 5, depth: 2, separable: true}, discriminator: {feature_maps: 3, depth: 3,"
        " separable: true, norm: layer, spectral_norm: true, growth: {at: 2, adds: head}}}",
        "training={steps: 4, batch_size: 9, loss: wasserstein_gp, gradient_penalty: 3, instance_noise: 0.2, ema: 0.9,"
        " instance_noise_until: 3, learning_rate: 1e-3, generator: {updates: 2}, discriminator: {beta1: 0.1}}",
        "dataset.classes=[3, 8]", "seed=5",
    ).trials  # fmt: skip
    assert planned.training == TrainingConfig(
        latent_dim=7, generator_maps=5, discriminator_maps=3, image_size=16, channels=1, batch_size=9,
        generator=OptimizerConfig(1e-3, 0.5, 0.999, 2), discriminator=OptimizerConfig(1e-3, 0.1, 0.999), seed=5,
        networks=NetworkConfig(
            "projected", "concat", ("3", "8"), 2, 3, True, True, "layer", True, 2, "head",
        ),
        loss=LossConfig("wasserstein_gp", {"gradient_penalty": 3.0}, 0.2, 3), ema=0.9,
    )  # fmt: skip
    (other,) = plan_of("training={steps: 4, loss: wasserstein_clip, clip: 0.1}").trials
    assert other.training.loss == LossConfig("wasserstein_clip", {"clip": 0.1})
    (smoothed,) = plan_of("training={steps: 4, label_smoothing: 0.2}").trials
    assert smoothed.training.loss == LossConfig(options={"label_smoothing": 0.2})


def test_a_run_whose_file_says_nothing_of_it_has_the_defaults(plan_of: PlanOf) -> None:
    (planned,) = plan_of().trials
    training = planned.training
    assert (training.networks, training.loss.create(), training.ema) == (NetworkConfig(), LossConfig().create(), 0)


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
        (Outcome("stopped", 2, rule="divergence"), 4, False),
        (Outcome("stopped", 2, rule="mode_collapse"), 9, False),
        (Outcome("stopped", 2, rule="late_instability"), 4, True),  # no rule now
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


@pytest.mark.parametrize(
    ("policy", "pending"),
    [
        ("stop={}", False),
        ("stop.on=[dead_generator]", False),
        ("stop.on=[divergence, mode_collapse]", True),
        ("stop={on: [dead_generator], action: flag}", True),
        ("stop=none", True),
    ],
)
def test_a_stopped_trial_is_finished_while_its_rule_is_in_force(plan_of: PlanOf, policy: str, pending: bool) -> None:
    plan = plan_of()
    stopped = Outcome("stopped", 2, "dead generator since step 1", rule="dead_generator")
    outcome.write(plan.folder.trial(plan.trials[0].trial.id), stopped)
    assert bool(plan_of(policy).pending) == pending
    assert plan_of(policy).trials[0].trial.id == plan.trials[0].trial.id


@pytest.mark.parametrize("ended", [Outcome("completed", 4), Outcome("stopped", 2, rule="mode_collapse")])
def test_a_trial_that_ended_under_other_thresholds_is_judged_anew(plan_of: PlanOf, ended: Outcome) -> None:
    plan = plan_of()
    (planned,) = plan.trials
    outcome.write(plan.folder.trial(planned.trial.id), ended)
    other = plan_of("thresholds.mode_collapse.coverage=0.4")
    assert (len(plan_of().pending), len(other.pending)) == (0, 1)
    assert other.trials[0].trial.id == planned.trial.id
    outcome.write(plan.folder.trial(planned.trial.id), replace(ended, thresholds=other.sweep.thresholds.changed()))
    assert (len(plan_of().pending), len(plan_of("thresholds.mode_collapse.coverage=0.4").pending)) == (1, 0)


def test_thresholds_that_are_not_at_their_defaults_are_put_on_record(plan_of: PlanOf) -> None:
    plan = plan_of("thresholds={mode_collapse: {coverage: 0.4, density: 0.7}, imbalance: {kl: 0.2}}")
    write_trials(plan, "gansweep run s.yaml", ())
    assert read_json(plan.folder.plan)["thresholds"] == {"mode_collapse": {"coverage": 0.4}}
    (job,) = jobs_of(plan)
    assert json.loads(job["run"])["thresholds"] == {"mode_collapse": {"coverage": 0.4}}


@pytest.mark.parametrize(
    ("per_run", "steps", "cadence"), [(0, 100, 0), (1, 100, 100), (25, 600, 24), (25, 610, 24), (25, 10, 1), (3, 8, 3)]
)
def test_evaluations_are_spread_over_the_run(plan_of: PlanOf, per_run: int, steps: int, cadence: int) -> None:
    (planned,) = plan_of(f"evaluation.per_run={per_run}", f"training.steps={steps}").trials
    assert planned.evaluation_cadence == cadence


def test_too_few_images_or_samples_for_an_evaluation(plan_of: PlanOf, tmp_path: Path) -> None:
    with pytest.raises(UserError) as caught:
        plan_of("evaluation={per_run: 1, samples: 32}")
    few = "evaluation.samples: 32 samples are too few for a Fréchet distance; give at least 33"
    assert str(caught.value) == few + ", or evaluation.per_run: 0"
    assert plan_of("evaluation={per_run: 0, samples: 32}").trials
    for number in range(20):
        Image.new("L", (16, 16), number).save(tmp_path / f"{number}.png")
    folder = f"dataset={{name: image_folder, image_size: 16, path: {tmp_path}}}"
    with pytest.raises(UserError, match=r"^evaluation\.samples: 20 images are too few .* give at least \d+ images, or"):
        plan_of(folder, "evaluation.per_run=1")
    assert jobs_of(plan_of(folder)), "nothing is evaluated"


@pytest.mark.parametrize(
    "settings",
    [
        ("model.feature_maps=4",),
        ("model.latent_dim=512",),
        ("dataset.image_size=64",),
        ("model.conditioning=concat", "training.ema=0.9"),
        ("model.discriminator.spectral_norm=true", "training.instance_noise=0.1"),
        ("training.loss=wasserstein_gp", "model.discriminator.norm=layer", "training.ema=0.9"),
        ("model.architecture=projected", "model.generator.depth=4", "model.discriminator.depth=4"),
        (
            "model.conditioning=two_stream",
            "training.loss=wasserstein_gp",
            "training.instance_noise=0.1",
            "model.discriminator={depth: 4, norm: layer, spectral_norm: true}",
            "model.generator.depth=4",
            "training.ema=0.9",
            "dataset.image_size=64",
        ),
        ("training.ema=0.9", "model.feature_maps=128", "model.discriminator.spectral_norm=true"),
    ],
    ids=lambda settings: ", ".join(settings)[:60],
)
def test_a_checkpoint_is_no_larger_than_planned(plan_of: PlanOf, tmp_path: Path, settings: tuple[str, ...]) -> None:
    (planned,) = plan_of(*settings).trials
    trainer = trainer_of(planned)
    trainer.train_step()
    file = tmp_path / "step.safetensors"
    meta = {"step": 0, "position": trainer.batches.position, **description(trainer.config)}
    checkpoint.save(file, trainer.state(), meta)
    assert planned.checkpoint_bytes - 98_304 < file.stat().st_size <= planned.checkpoint_bytes


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


@pytest.mark.parametrize("size", [64, 128])
def test_the_disk_holds_the_grids_of_large_images(plan_of: PlanOf, size: int) -> None:
    """The grid and MLflow's two copies of it, for noise, which no format makes smaller."""
    few, more = (plan_of(f"dataset.image_size={size}", "cadence.metrics=1000000", "retention.checkpoints=1",
                         f"cadence.samples={{per_run: {n}}}").disk_bytes for n in (1, 2))  # fmt: skip
    noise = np.random.default_rng(0).integers(0, 256, (64, 1, size, size), np.uint8)
    assert 3 * len(grid_png(noise)) < more - few < (6 if size == 128 else 9) * len(grid_png(noise))


def test_a_run_has_no_more_checkpoints_than_steps(plan_of: PlanOf) -> None:
    """By time, checkpoints are written after any step, but once."""
    few, more, most, kept = (
        plan_of(
            f"training.steps={steps}", "cadence={checkpoints: {seconds: 30}, samples: 1000, metrics: 1000}"
        ).disk_bytes
        for steps in (1, 2, 50, 60)
    )
    assert few < more < most == kept


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
    write_trials(plan, "gansweep run s.yaml", ("a=1",), "s.yaml")
    assert not stop.exists(), "an old request does not stop a new run"
    ids = [p.trial.id for p in plan.trials]
    assert read_json(plan.folder.plan) == {
        "sweep": "s", "command": "gansweep run s.yaml", "file": "s.yaml", "overrides": ["a=1"], "trials": ids,
        "objective": {"metric": "fd_ratio", "mode": "min"}, "thresholds": {}, "to_come": 0,
    }  # fmt: skip
    assert [folder.id for folder in plan.folder.planned()] == ids
    document = read_json(plan.folder.planned()[1].trial)
    assert (document["id"], document["steps"], document["varied"]) == (ids[1], 4, {"training.learning_rate": 1e-3})
    assert "steps" not in document["config"]["training"], "length is no part of what a trial is"
    assert document["data"] == {"fingerprint": plan.trials[0].images.fingerprint, "images": 1797}
    assert asdict(plan.trials[0].images)["images"] == 1797


OVER = "{training.beta1: {uniform: [0, 0.9]}}"
OPTUNA = f"search={{method: optuna, trials: 5, objective: {{metric: loss_g, mode: min}}, over: {OVER}}}"


def test_an_optuna_search_is_planned_as_far_as_it_is_recorded(plan_of: PlanOf) -> None:
    plan = plan_of(OPTUNA, "replicates=2")
    assert (plan.trials, plan.pending, plan.suggested) == ((), (), ())
    assert (len(plan.to_come), len(plan.left), plan.total) == (10, 10, 10)
    suggestions.append(plan.folder.suggestions, search_id(plan.sweep, TRAINING_VERSION), 0, {"training.beta1": 0.25})
    plan = plan_of(OPTUNA, "replicates=2")
    assert [(p.trial.config.training.beta1, p.trial.config.seed) for p in plan.trials] == [(0.25, 0), (0.25, 1)]
    assert [s.trials for s in plan.suggested] == [plan.trials]
    assert (len(plan.to_come), plan.total) == (8, 10)


def test_what_is_to_come_takes_disk_and_time_as_well(plan_of: PlanOf) -> None:
    plan, random = plan_of(OPTUNA), plan_of(OPTUNA.replace("optuna", "random"))
    assert plan.disk_bytes == random.disk_bytes
    step_s = {shape_of(p): 1.0 for p in random.trials}
    assert wall_s(plan, 2, step_s) == wall_s(random, 2, step_s) > 0


@pytest.mark.parametrize(
    ("fit", "parallel", "replicates", "slots"), [(2, 4, 1, 2), (16, 4, 1, 4), (16, 4, 3, 12), (16, 4, 5, 16)]
)
def test_no_more_run_side_by_side_than_can_be_suggested(
    plan_of: PlanOf, fit: int, parallel: int, replicates: int, slots: int
) -> None:
    assert plan_of(OPTUNA, f"search.parallel={parallel}", f"replicates={replicates}").slots(fit) == slots
    assert plan_of().slots(fit) == fit


def test_a_range_whose_end_does_not_fit_is_refused_before_anything_starts(plan_of: PlanOf) -> None:
    over = "{training.batch_size: {int_uniform: [16, 4096]}, training.beta1: {choice: [0, 0.1, 0.5]}}"
    with pytest.raises(UserError, match=r"^training\.batch_size: 4096, but only 1,797 images train"):
        plan_of(OPTUNA.replace(OVER, over), "search.trials=1")


def test_an_objective_that_counts_classes_needs_classes(plan_of: PlanOf, tmp_path: Path) -> None:
    for number in range(140):
        Image.new("L", (16, 16), number).save(tmp_path / f"{number}.png")
    folder = f"dataset={{name: image_folder, image_size: 16, path: {tmp_path}}}"
    search = "search={method: grid, objective: {metric: label_kl, mode: min}, over: {training.beta1: [0.5]}}"
    assert plan_of(search, "evaluation.per_run=1").trials, "digits have classes"
    with pytest.raises(UserError) as caught:
        plan_of(search, folder, "evaluation.per_run=1")
    assert str(caught.value) == (
        "search.objective.metric: no run records label_kl: the images have no classes; sort them into subfolders,"
        " or choose another metric"
    )


def test_intact_is_an_objective_where_it_is_recorded(plan_of: PlanOf) -> None:
    search = "search={method: grid, objective: {metric: intact, mode: max}, over: {training.beta1: [0.5]}}"
    assert plan_of(search, "evaluation.per_run=1").trials
    with pytest.raises(
        UserError, match=r"^search\.objective\.metric: no run records intact: it needs 400 or more grey"
    ):
        plan_of(search, "evaluation.per_run=1", "dataset.image_size=64")


def test_the_best_checkpoint_and_one_in_writing_are_counted(plan_of: PlanOf) -> None:
    (planned,) = plan_of().trials
    cadence = "cadence={metrics: 100, samples: 1000, checkpoints: %d}"
    least, most = (plan_of("training.steps=1000", cadence % every).disk_bytes for every in (1000, 10))
    # one in the trial's folder and MLflow's copy; the newest two, the best, one in writing, and MLflow's copy
    assert most - least == 3 * planned.checkpoint_bytes
    on_gpu = plan_of("training.steps=1000", cadence % 10, "resources.gpus=0.5").disk_bytes
    assert on_gpu - most == 2 * planned.checkpoint_bytes, "see checkpoint.keep"


def test_a_conditional_grid_has_a_row_a_class(plan_of: PlanOf) -> None:
    """8 images for each of the ten digits, where others show 64; every other step has a grid of its own."""
    steps, cadence = "training.steps=1000", "cadence={metrics: 1000, samples: %d, checkpoints: 1000}"

    def grids(*overrides: str) -> int:
        most, least = (plan_of(steps, cadence % every, *overrides).disk_bytes for every in (2, 1000))
        return most - least

    assert grids("model.conditioning=concat") == pytest.approx(80 / 64 * grids(), rel=1e-3)


# What does not go together, once the images are known.


@pytest.fixture
def greys(tmp_path: Path) -> Callable[[str], str]:
    """140 grey pictures without classes, or in one subfolder; the override that names them."""

    def make(subfolder: str = "") -> str:
        folder = tmp_path / "greys"
        (folder / subfolder).mkdir(parents=True)
        for number in range(140):
            Image.new("L", (16, 16), number).save(folder / subfolder / f"{number}.png")
        return f"dataset={{name: image_folder, image_size: 16, path: {folder}}}"

    return make


@pytest.mark.parametrize("conditioning", ["concat", "two_stream"])
@pytest.mark.parametrize("subfolder", ["", "one"])
def test_a_conditional_model_needs_classes(
    plan_of: PlanOf, greys: Callable[[str], str], conditioning: str, subfolder: str
) -> None:
    with pytest.raises(UserError) as caught:
        plan_of(greys(subfolder), f"model.conditioning={conditioning}")
    assert str(caught.value) == (
        f"model.conditioning: {conditioning}, but the images of image_folder have fewer than two classes;"
        " give more (dataset.classes, subfolders), or set model.conditioning: none"
    )


def test_one_class_alone_cannot_be_asked_for(plan_of: PlanOf) -> None:
    with pytest.raises(UserError, match=r"^model\.conditioning: concat, but the images of digits have fewer than two "):
        plan_of("dataset.classes=3", "model.conditioning=concat")
    (planned,) = plan_of("dataset.classes=[3, 8]", "model.conditioning=concat").trials
    assert planned.generator.classes == planned.discriminator.classes == 2


@pytest.mark.parametrize(
    ("training", "end"),
    [("{epochs: 2, batch_size: 600}", 4), ("{epochs: 1, batch_size: 300}", 5)],
)
def test_growth_after_the_end_is_refused_where_the_length_is_in_epochs(
    plan_of: PlanOf, training: str, end: int
) -> None:
    with pytest.raises(UserError) as caught:
        plan_of(f"training={training}", f"model.discriminator.growth.at={end}")
    assert str(caught.value) == (
        f"model.discriminator.growth.at: {end}, but the run ends at step {end}; grow before it"
    )
    assert plan_of(f"training={training}", f"model.discriminator.growth.at={end - 1}").trials


def test_images_of_another_number_of_channels(plan_of: PlanOf) -> None:
    with pytest.raises(UserError) as caught:
        plan_of("model.channels=3")
    assert str(caught.value) == (
        "model.channels: 3, but the images of digits have 1 (greyscale);"
        " set model.channels: 1, or dataset.channels: 3 to convert them"
    )
    with pytest.raises(UserError, match=r"^model\.channels: 1, but the images of digits have 3 \(RGB\)"):
        plan_of("model.channels=1", "dataset.channels=3")
    (planned,) = plan_of("model.channels=3", "dataset.channels=3").trials
    assert planned.training.channels == 3


def test_what_does_not_fit_in_one_trial_of_a_grid_is_refused(plan_of: PlanOf) -> None:
    with pytest.raises(UserError, match=r"dataset\.image_size: dcgan_mnist28 makes images of 28 pixels, not 16"):
        plan_of("search={method: grid, over: {model.architecture: [dcgan, dcgan_mnist28]}}")


def test_steps_cost_what_their_networks_and_updates_do(plan_of: PlanOf) -> None:
    plain, twice_d, twice_g, wide = (
        plan_of(*changes).trials[0].step_operations
        for changes in (
            (), ("training.discriminator.updates=2",), ("training.generator.updates=2",), ("model.feature_maps=8",)
        )
    )  # fmt: skip
    assert plain < twice_g < twice_d
    assert wide > 2 * plain
