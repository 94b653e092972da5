"""Every architecture, loss and kind of conditioning with each other: planned from a sweep file, trained, restored.

Of the possible triples those are trained that hold every pair; unusual options are tried with each part.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from scenes import judge_at_once

from gansweep.errors import SweepFileError
from gansweep.gan import real_statistics
from gansweep.gan.restore import generator_of
from gansweep.gan.sampling import sample
from gansweep.health import metrics as m
from gansweep.losses.registry import LOSSES
from gansweep.networks.registry import ARCHITECTURES
from gansweep.planning.dispatch import jobs_of
from gansweep.planning.job import Job
from gansweep.planning.plan import make_plan
from gansweep.planning.trial import PlannedTrial
from gansweep.records import journal
from gansweep.records.layout import Home
from gansweep.records.outcome import Outcome
from gansweep.sweepfile.loader import load

FILE = """name: s
dataset: {image_size: 28}
model: {latent_dim: 6, feature_maps: 4}
training: {steps: 3, batch_size: 16}
cadence: {metrics: 1, samples: 3, checkpoints: 3}
evaluation: {per_run: 1, samples: 40}
stop: none
"""
BATCH_NORM = ("dcgan", "dcgan_mnist28")  # in D
Train = Callable[..., tuple[PlannedTrial, Job, Outcome]]


@pytest.fixture(scope="module")
def train(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Train]:
    """A trial of FILE with settings as for --set, trained to its end. Images and their reference are made once."""
    path: Path = tmp_path_factory.mktemp("pairings")
    (path / "s.yaml").write_text(FILE)

    def train(*overrides: str) -> tuple[PlannedTrial, Job, Outcome]:
        plan = make_plan(load(path / "s.yaml", overrides), Home(path / "home"))
        (planned,), (config,) = plan.trials, jobs_of(plan)
        job = Job.from_config(config)
        run = job.open()
        ended = run.advance(60)
        run.close()
        assert ended is not None
        return planned, job, ended

    with pytest.MonkeyPatch.context() as patch:
        judge_at_once(patch)
        patch.setattr(real_statistics, "DRAWS", 1)
        patch.setattr(real_statistics, "BINS", 2)
        yield train


def assert_trained(planned: PlannedTrial, job: Job, ended: Outcome) -> None:
    """To its end, with finite numbers of all that there is to know, samples, and a checkpoint that makes them again."""
    config, folder = planned.trial.config, job.folder
    critic, conditional = LOSSES[config.training.loss].critic, config.model.conditioning != "none"
    assert (ended.kind, ended.step) == ("completed", 3)
    records = journal.read(folder.journal)
    assert [r.step for r in records] == [0, 1, 2, 3]
    found = records[-1].values
    expected = {*m.EVALUATION, *(m.CRITIC_TRAINING if critic else m.TRAINING)}
    expected -= {m.CLASSES_MISSING, m.D_GAP, m.R_V}  # too few samples; nothing held out
    expected -= {*m.PROBABILITIES} if critic else set()
    expected -= set() if LOSSES[config.training.loss].compares else {m.D_PREFERENCE}
    expected -= set() if conditional else {*m.CONDITIONAL}
    assert expected <= found.keys()
    unexpected = {*(m.PROBABILITIES if critic else ()), *(() if conditional else m.CONDITIONAL)}
    assert not unexpected & found.keys()
    # with 40 samples of ten classes, fewer than 6 are of each
    within = {m.COVERAGE_WITHIN, m.COVERAGE_WITHIN_WORST, m.DENSITY_WITHIN_WORST}
    assert all(math.isfinite(found[name]) for name in expected - within)
    restored = generator_of(folder.checkpoint(3))
    classes = torch.arange(len(restored.classes)) if conditional else None
    images = sample(restored.generator, torch.zeros(10, restored.latent_dim), classes)
    assert images.shape == (10, 1, 28, 28)
    assert restored.classes == (tuple("0123456789") if conditional else ())
    assert {path.name for path in folder.all_samples()} == {"00000000.png", "00000003.png"}


CONDITIONING = ("none", "concat", "two_stream")
EACH_PAIR = [
    (architecture, loss, CONDITIONING[(i + j) % len(CONDITIONING)])
    for i, architecture in enumerate(ARCHITECTURES)
    for j, loss in enumerate(LOSSES)
]
EACH_PART = [(architecture, loss) for architecture, loss in zip(itertools.cycle(ARCHITECTURES), LOSSES, strict=False)]


def test_each_part_is_among_the_cases() -> None:
    """As long as there are enough of the others."""
    assert {*itertools.product(LOSSES, CONDITIONING)} == {(loss, kind) for _, loss, kind in EACH_PAIR}
    assert {*itertools.product(ARCHITECTURES, CONDITIONING)} == {(name, kind) for name, _, kind in EACH_PAIR}
    assert {name for name, _ in EACH_PART} == {*ARCHITECTURES}


@pytest.mark.parametrize(("architecture", "loss", "conditioning"), EACH_PAIR)
def test_every_pairing_trains(train: Train, architecture: str, loss: str, conditioning: str) -> None:
    norm = "layer" if LOSSES[loss].penalises == "images" and architecture in BATCH_NORM else "null"
    assert_trained(
        *train(
            f"model.architecture={architecture}", f"training.loss={loss}", f"model.conditioning={conditioning}",
            f"model.discriminator.norm={norm}",
        )
    )  # fmt: skip


@pytest.mark.parametrize(("architecture", "loss"), EACH_PART)
def test_every_part_trains_with_all_options(train: Train, architecture: str, loss: str) -> None:
    options = [
        "model.conditioning=two_stream", "model.generator={depth: 2, separable: true}", "training.ema=0.5",
        "model.discriminator={depth: 2, separable: true, norm: layer, spectral_norm: true, growth: {at: 2}}",
        "training.instance_noise=0.1", "training.instance_noise_until=2", "training.discriminator.updates=2",
        "training.regularization={r1: 1, r2: 1, interval: 2}", "training.augment.policy=[cutout, translation, color]",
        f"training.augment.adaptive={str(not LOSSES[loss].critic).lower()}",
    ]  # fmt: skip
    if loss in ("non_saturating", "saturating"):
        options.append("training.label_smoothing=0.1")
    planned, job, ended = train(f"model.architecture={architecture}", f"training.loss={loss}", *options)
    assert_trained(planned, job, ended)
    again = job.open()
    assert (again.step, again.advance(0)) == (3, ended)
    again.close()


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize("norm", ["null", "batch"])
def test_the_gradient_penalty_is_refused_where_d_has_batch_norm(tmp_path: Path, architecture: str, norm: str) -> None:
    (tmp_path / "s.yaml").write_text(FILE)
    overrides = [
        f"model.architecture={architecture}", "training.loss=wasserstein_gp", f"model.discriminator.norm={norm}",
    ]  # fmt: skip
    if norm == "null" and architecture not in BATCH_NORM:
        assert load(tmp_path / "s.yaml", overrides)
        return
    with pytest.raises(SweepFileError, match=r"model\.discriminator\.norm: the gradient penalty treats each image"):
        load(tmp_path / "s.yaml", overrides)
