"""Trials in the driver: images, configuration, networks and last outcome."""

from __future__ import annotations

from dataclasses import dataclass

from gansweep.config import (
    AugmentationConfig,
    DiffAugmentConfig,
    FeaturesConfig,
    LossConfig,
    NetworkConfig,
    StartConfig,
    TrainingConfig,
    values_for,
)
from gansweep.features import OwnFeatures, own_features
from gansweep.gan.data import ImageSet
from gansweep.health.detectors.base import Thresholds
from gansweep.health.own import OwnMetric, own_metrics
from gansweep.losses.regularizer import Regularizer
from gansweep.networks.architecture import Design
from gansweep.planning.cadence import TrialCadence
from gansweep.records.outcome import Outcome
from gansweep.sweepfile.schema import TrialConfig
from gansweep.sweepfile.trials import Trial
from gansweep.usercode.code import Code

FLOAT_BYTES = 4
NEW = StartConfig()  # new weights


@dataclass(frozen=True)
class PlannedTrial:
    """A trial that is ready to train.

    Attributes:
        trial: The trial.
        images: Its images.
        training: Its configuration, with inherited values resolved.
        generator: Design of G.
        discriminator: Design of D at its final size.
        ended: Its last outcome; None if it has none.
        began_on: Type of device that it began on, as in records.devices; "" if it has not begun.
        cadence: Intervals between its records.
        rules: Rules of the sweep that end trials.
        thresholds: Thresholds of verdicts that are not at their defaults.
        features: Embedding of its evaluations.
    """

    trial: Trial
    images: ImageSet
    training: TrainingConfig
    generator: Design
    discriminator: Design
    ended: Outcome | None
    began_on: str
    cadence: TrialCadence
    rules: tuple[str, ...]
    thresholds: Thresholds
    features: FeaturesConfig

    @property
    def finished(self) -> bool:
        """Whether the trial is complete under the current rules and thresholds of the sweep."""
        return self.ended is not None and self.ended.finished(self.trial.steps, self.rules, self.thresholds)

    @property
    def evaluation_cadence(self) -> int:
        """Number of steps between two evaluations; 0 for no evaluations."""
        per_run = self.trial.config.evaluation.per_run
        return max(1, round(self.trial.steps / per_run)) if per_run else 0

    @property
    def own_metrics(self) -> tuple[OwnMetric, ...]:
        """Metrics of the user that its evaluations compute."""
        training = self.training
        return own_metrics(self.trial.config.evaluation.metrics, training.code, training.channels, training.image_size)

    @property
    def own_features(self) -> tuple[OwnFeatures, ...]:
        """The user's embedding in its evaluations, as a tuple of length one; () if the embedding is built in."""
        training = self.training
        return own_features(self.features.name, training.code, training.channels, training.image_size)

    @property
    def parameters(self) -> tuple[int, int]:
        """Numbers of parameters of G and D."""
        return self.generator.parameters, self.discriminator.parameters

    @property
    def checkpoint_bytes(self) -> int:
        """Upper bound on the size of a checkpoint in bytes.

        It is the size of the weights, Adam's two moments, the average of G's weights, running statistics and the noise
        of the sample grid, plus 96 kB for everything else.
        """
        buffers = self.generator.buffers + self.discriminator.buffers
        noise = 64 * self.training.latent_dim
        averaged = self.training.ema > 0
        average = averaged * (self.generator.parameters + self.generator.buffers)
        return FLOAT_BYTES * (3 * sum(self.parameters) + average + buffers + noise) + 98_304

    @property
    def step_operations(self) -> int:
        """Approximate number of multiply-adds in one step, for comparing the cost of trials of different shapes."""
        g, d = self.generator.multiply_adds, self.discriminator.multiply_adds
        training = self.training
        per_image = training.discriminator.updates * (g + 6 * d) + training.generator.updates * (2 * g + 2 * d)
        return training.batch_size * per_image


def training_config(config: TrialConfig, images: ImageSet, code: Code, start: StartConfig = NEW) -> TrainingConfig:
    """Return the configuration of a trial on prepared images, with inherited values resolved.

    Args:
        config: The configuration.
        images: The images.
        code: Code of the user that the trial imports.
        start: Weights that the trial starts from.
    """
    dataset, model, training = config.dataset, config.model, config.training
    given = {
        **values_for(TrainingConfig, dataset),
        **values_for(TrainingConfig, model),
        **values_for(TrainingConfig, training),
        "generator_maps": model.generator.feature_maps or model.feature_maps,
        "discriminator_maps": model.discriminator.feature_maps or model.feature_maps,
        "image_size": images.image_size,
        "channels": images.channels,
        "generator": training.optimizer("generator"),
        "discriminator": training.optimizer("discriminator"),
        "seed": config.seed,
        "code": code,
        "start": start,
        "augmentation": AugmentationConfig(**values_for(AugmentationConfig, dataset.augment)),
        "loss": LossConfig(
            training.loss, training.options_of_loss(), own_critic=training.critic, **values_for(LossConfig, training)
        ),
        "regularizer": Regularizer(**vars(training.regularization)),
        "augment": DiffAugmentConfig(**{**vars(training.augment), "policy": tuple(training.augment.policy)}),
        "networks": NetworkConfig(
            classes=images.classes if model.conditioning != "none" else (), **values_for(NetworkConfig, model)
        ),
    }
    return TrainingConfig(**given)
