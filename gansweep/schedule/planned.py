"""A trial as the driver knows it: with its images, its networks and how it last ended."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from gansweep.gan.data import ImageSet
from gansweep.gan.networks.block import Layout
from gansweep.gan.networks.registry import Composition
from gansweep.plan.schema import Model
from gansweep.plan.trials import Trial
from gansweep.records.outcome import Outcome

FLOAT_BYTES = 4


@dataclass(frozen=True)
class Planned:
    """A trial with its images, its networks' layers, and how it last ended, if it did."""

    trial: Trial
    images: ImageSet
    generator: Layout
    discriminator: Layout
    ended: Outcome | None
    rules: tuple[str, ...]

    @property
    def finished(self) -> bool:
        """Whether it has nothing left to do, as the sweep's rules for stopping are now."""
        return self.ended is not None and self.ended.finished(self.trial.steps, self.rules)

    @property
    def evaluation_cadence(self) -> int:
        """Steps from one evaluation to the next; 0 for none."""
        per_run = self.trial.config.evaluation.per_run
        return max(1, round(self.trial.steps / per_run)) if per_run else 0

    @property
    def parameters(self) -> tuple[int, int]:
        """Of generator and discriminator."""
        return self.generator.parameters, self.discriminator.parameters

    @property
    def checkpoint_bytes(self) -> int:
        """Weights, Adam's two moments, running statistics, the noise of the samples; at most 96 kB for the rest."""
        buffers = self.generator.buffers + self.discriminator.buffers
        noise = 64 * self.trial.config.model.latent_dim
        averaged = self.trial.config.training.ema > 0
        average = averaged * (self.generator.parameters + self.generator.buffers)
        return FLOAT_BYTES * (3 * sum(self.parameters) + average + buffers + noise) + 98_304

    @property
    def step_operations(self) -> int:
        """Multiply-adds of one step, about: what steps of different shapes cost in relation to each other."""
        g, d = self.generator.multiply_adds, self.discriminator.multiply_adds
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
            "networks": asdict(composition(model, self.images)),
            "loss": {
                "name": training.loss,
                "clip": training.clip,
                "gradient_penalty": training.gradient_penalty,
                "label_smoothing": training.label_smoothing,
                "instance_noise": training.instance_noise,
                "instance_noise_until": training.instance_noise_until,
            },
            "ema": training.ema,
        }


def composition(model: Model, images: ImageSet) -> Composition:
    """What both networks are made of, beside their sizes."""
    growth = model.discriminator.growth
    return Composition(
        architecture=model.architecture,
        conditioning=model.conditioning,
        classes=images.classes if model.conditioning != "none" else (),
        generator_depth=model.generator.depth,
        discriminator_depth=model.discriminator.depth,
        generator_separable=model.generator.separable,
        discriminator_separable=model.discriminator.separable,
        norm=model.discriminator.norm,
        spectral_norm=model.discriminator.spectral_norm,
        growth_at=growth.at,
        growth_adds=growth.adds,
    )
