"""Joins the plan with data, networks and what is finished already. No Ray, no torch."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gansweep.errors import UserError
from gansweep.gan.architecture import Layer, discriminator_layers, generator_layers
from gansweep.gan.data import ImageSet, prepare, split_sizes
from gansweep.gan.sources import Source
from gansweep.gan.version import TRAINING_VERSION
from gansweep.plan.schema import Dataset, Sweep, TrialConfig
from gansweep.plan.trials import Trial, configurations, trial_id
from gansweep.records import outcome
from gansweep.records.layout import Home, SweepFolder, write_json
from gansweep.records.outcome import Outcome

FLOAT_BYTES = 4
SAMPLE_SHARE = 1.3  # a PNG of noise, with the gaps between its images, is larger than its pixels


@dataclass(frozen=True)
class Planned:
    """A trial with its images, its networks' layers, and how it last ended, if it did."""

    trial: Trial
    images: ImageSet
    generator: tuple[Layer, ...]
    discriminator: tuple[Layer, ...]
    ended: Outcome | None

    @property
    def finished(self) -> bool:
        """Whether it has nothing left to do."""
        return self.ended is not None and self.ended.finished(self.trial.steps)

    @property
    def parameters(self) -> tuple[int, int]:
        """Of generator and discriminator."""
        g, d = (sum(layer.parameters for layer in layers) for layers in (self.generator, self.discriminator))
        return g, d

    @property
    def checkpoint_bytes(self) -> int:
        """Weights, Adam's two moments, running statistics, the noise of the samples; at most 32 kB for the rest."""
        buffers = sum(layer.buffers for layer in (*self.generator, *self.discriminator))
        noise = 64 * self.trial.config.model.latent_dim
        return FLOAT_BYTES * (3 * sum(self.parameters) + buffers + noise) + 32_768

    @property
    def step_operations(self) -> int:
        """Multiply-adds of one step, about: what steps of different shapes cost in relation to each other."""
        g, d = (sum(layer.multiply_adds for layer in layers) for layers in (self.generator, self.discriminator))
        training = self.trial.config.training
        per_image = training.discriminator.updates * (g + 6 * d) + training.generator.updates * (2 * g + 2 * d)
        return training.batch_size * per_image

    def settings(self) -> dict[str, Any]:
        """The run's settings as plain data, every inheritance resolved: gan.training.Settings by name."""
        config = self.trial.config
        model, training = config.model, config.training
        return {
            "latent_dim": model.latent_dim,
            "generator_maps": model.generator.feature_maps or model.feature_maps,
            "discriminator_maps": model.discriminator.feature_maps or model.feature_maps,
            "image_size": self.images.image_size,
            "channels": self.images.channels,
            "batch_size": training.batch_size,
            "generator": training.of("generator"),
            "discriminator": training.of("discriminator"),
            "seed": config.seed,
            "precision": training.precision,
            "validation": config.dataset.validation,
            "augmentation": config.dataset.augment.model_dump(),
        }


@dataclass(frozen=True)
class Plan:
    """A sweep, ready to run."""

    sweep: Sweep
    folder: SweepFolder
    trials: tuple[Planned, ...]

    @property
    def pending(self) -> tuple[Planned, ...]:
        return tuple(p for p in self.trials if not p.finished)

    @property
    def disk_bytes(self) -> int:
        """What the pending trials will have written at most: checkpoints (kept, one in writing), samples; twice
        the last checkpoint and the samples, since MLflow has its own."""
        cadence, keep = self.sweep.cadence, self.sweep.retention.checkpoints
        total = 0
        for planned in self.pending:
            steps, images = planned.trial.steps, planned.images
            checkpoints = min(keep + 1, -(-steps // cadence.checkpoints)) + 1
            grid = int(64 * images.channels * images.image_size**2 * SAMPLE_SHARE)
            samples = (1 + -(-steps // cadence.samples)) * grid * 6  # MLflow's copies are enlarged
            journal = -(-steps // cadence.metrics) * 1_000
            total += checkpoints * planned.checkpoint_bytes + samples + journal
        return total


def make_plan(sweep: Sweep, home: Home) -> Plan:
    """Find the images, resolve every trial, look up what is finished.

    Raises UserError for data that is missing or does not fit.
    """
    folder = home.sweep(sweep.name)
    sets: dict[str, ImageSet] = {}
    trials: dict[str, Planned] = {}
    for config, varied in _configs(sweep):
        key = config.dataset.model_dump_json(exclude={"augment", "validation"})
        if key not in sets:
            sets[key] = prepare(_source(config.dataset), home.cache)
        images = sets[key]
        _check_fit(config, images)
        trial = Trial(trial_id(config, images.fingerprint, TRAINING_VERSION), config, varied, _steps(config, images))
        trials.setdefault(trial.id, _planned(trial, images, folder))
    return Plan(sweep, folder, tuple(trials.values()))


def check_disk(plan: Plan, home: Home) -> None:
    """Raises UserError where the plan needs more than is free."""
    place = home.path
    while not place.exists():
        place = place.parent
    free = shutil.disk_usage(place).free
    if plan.disk_bytes > free:
        raise UserError(
            f"{home.path}: the plan needs up to {plan.disk_bytes / 1e6:,.0f} MB, {free / 1e6:,.0f} MB are free;"
            " lower retention.checkpoints, or name another disk with --home"
        )


def check_writable(home: Home) -> None:
    """Create the home folder. Raises UserError where it cannot be written, or its path breaks SQLite's URIs."""
    if bad := [c for c in "%?#" if c in str(home.path)]:
        raise UserError(f"{home.path}: the home folder's path holds {bad[0]!r}, which database URIs cannot; rename it")
    try:
        home.path.mkdir(parents=True, exist_ok=True)
        probe = home.path / ".writable"
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise UserError(
            f"{home.path}: cannot be written ({error.strerror}); name another folder with --home or GANSWEEP_HOME"
        ) from None


def _configs(sweep: Sweep) -> Iterator[tuple[TrialConfig, dict[str, Any]]]:
    for config, varied in configurations(sweep):
        for replicate in range(sweep.replicates):
            yield TrialConfig.model_validate({**config, "seed": sweep.seed + replicate}), varied


def _source(dataset: Dataset) -> Source:
    return Source(
        dataset.name,
        dataset.image_size,
        dataset.channels,
        str(Path(dataset.path).absolute()) if dataset.path else None,
        tuple(dataset.classes) if dataset.classes else None,
        str(Path(dataset.data_dir).absolute()) if dataset.data_dir else None,
    )


def _check_fit(config: TrialConfig, images: ImageSet) -> None:
    wanted = config.model.channels
    if wanted is not None and wanted != images.channels:
        raise UserError(
            f"model.channels: {wanted}, but the images of {config.dataset.name} have {images.channels}"
            f" ({'RGB' if images.channels == 3 else 'greyscale'});"
            f" set model.channels: {images.channels}, or dataset.channels: {wanted} to convert them"
        )
    training, _ = split_sizes(images.images, config.dataset.validation)
    if training < config.training.batch_size:
        raise UserError(
            f"training.batch_size: {config.training.batch_size}, but only {training} images train;"
            " lower it or give more images"
        )


def _steps(config: TrialConfig, images: ImageSet) -> int:
    training = config.training
    if training.steps is not None:
        return training.steps
    assert training.epochs is not None
    images_training, _ = split_sizes(images.images, config.dataset.validation)
    batches = training.epochs * (images_training // training.batch_size)
    return max(1, batches // training.discriminator.updates)


def _planned(trial: Trial, images: ImageSet, folder: SweepFolder) -> Planned:
    model = trial.config.model
    g_maps = model.generator.feature_maps or model.feature_maps
    d_maps = model.discriminator.feature_maps or model.feature_maps
    return Planned(
        trial,
        images,
        generator_layers(model.latent_dim, g_maps, images.image_size, images.channels),
        discriminator_layers(d_maps, images.image_size, images.channels),
        outcome.read(folder.trial(trial.id)),
    )


def write_trials(plan: Plan, command: str, overrides: Sequence[str]) -> None:
    """Put the plan on record: every trial's document, then the list of them."""
    for planned in plan.trials:
        folder = plan.folder.trial(planned.trial.id)
        folder.stop.unlink(missing_ok=True)
        write_json(folder.trial, _trial_document(planned, plan.sweep))
    write_json(
        plan.folder.plan,
        {
            "sweep": plan.sweep.name,
            "command": command,
            "overrides": list(overrides),
            "trials": [p.trial.id for p in plan.trials],
        },
    )


def _trial_document(planned: Planned, sweep: Sweep) -> dict[str, Any]:
    """What trial.json holds."""
    trial = planned.trial
    return {
        "id": trial.id,
        "sweep": sweep.name,
        "varied": dict(trial.varied),
        "steps": trial.steps,
        "config": trial.config.model_dump(exclude={"training": {"steps", "epochs"}}),
        "data": {"fingerprint": planned.images.fingerprint, "images": planned.images.images},
        "parameters": dict(zip(("generator", "discriminator"), planned.parameters, strict=True)),
        "training_version": TRAINING_VERSION,
    }
