"""Evaluation of a trainer: samples against real images, D against fresh samples. It leaves the trainer unchanged."""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from gansweep.gan.batches import Batch, generator
from gansweep.gan.reference import Reference
from gansweep.gan.sampling import sample
from gansweep.gan.training import Trainer
from gansweep.health.evidence import Outputs, Samples, by_class
from gansweep.health.measure import Metric, Need
from gansweep.health.metrics import DISCRIMINATOR_METRICS, SAMPLE_METRICS
from gansweep.health.quality import TooFewSamplesError

PROBE = 128  # real images, and samples, for which D is evaluated; more only if a batch is larger


class Evaluator:
    """Computes the metrics of a trainer's samples and of its D.

    Args:
        reference: The real images.
        samples: Number of samples per evaluation.
        seed: Seed of the random numbers.
        sample_metrics, discriminator_metrics: Metrics to compute.

    Attributes:
        notices: Sentences for the user, one for each metric that cannot be computed.

    Each step has its own random stream. G is in eval mode. D is a copy in training mode, because its batch norm would
    otherwise see other statistics than in training; real and fake images are in separate batches of the training size.
    """

    def __init__(
        self,
        reference: Reference,
        samples: int,
        seed: int,
        sample_metrics: Sequence[Metric[Samples]] = SAMPLE_METRICS,
        discriminator_metrics: Sequence[Metric[Outputs]] = DISCRIMINATOR_METRICS,
    ) -> None:
        self.notices: list[str] = []
        self._reference, self._samples, self._seed = reference, samples, seed
        self._real = reference.at(samples)
        self._sample_metrics = [*filter(self._possible, sample_metrics)]
        self._discriminator_metrics = discriminator_metrics

    def description(self) -> dict[str, Any]:
        """Return the description of the evaluation for the records.

        accuracy: Accuracy of the classifier on held-out real images. real_shares: Class → its share of the real images.
        """
        accuracy, reference = self._reference.accuracy, self._reference
        return {
            "accuracy": None if math.isnan(accuracy) else accuracy,
            "classes": reference.classes,
            "real_shares": by_class(reference.class_names, reference.histogram.shares),
            "samples": self._samples,
        }

    def __call__(self, trainer: Trainer) -> dict[str, float]:
        """Return every metric whose needs are met, in the order of the registry."""
        s = trainer.config
        batches = max(1, round(PROBE / s.batch_size))
        rng = generator(self._seed, f"evaluation {trainer.step}")
        count = max(self._samples, batches * s.batch_size)
        z = torch.randn(count, s.latent_dim, generator=rng)
        asked = self._classes(count, rng).to(trainer.device) if s.networks.classes else None
        pixels = sample(trainer.sampler, z.to(trainer.device), asked)
        # D is evaluated on samples of the G that it is trained against: an average of G over time lags behind.
        fresh = pixels if trainer.average is None else sample(trainer.generator, z.to(trainer.device), asked)
        fakes = torch.from_numpy(fresh[: batches * s.batch_size]).to(trainer.device)
        of_d = self._discriminator(trainer, fakes, None if asked is None else asked[: len(fakes)])
        wanted = None if asked is None else asked[: self._samples].cpu().numpy()
        return self.quality(pixels[: self._samples], wanted) | of_d

    def _classes(self, count: int, rng: torch.Generator) -> Tensor:
        """Return (count,) requested classes, in the proportions of the real images and in random order."""
        ends = torch.from_numpy(self._reference.histogram.shares).cumsum(0)
        classes = torch.searchsorted(ends, (torch.arange(count, dtype=ends.dtype) + 0.5) / count)
        return classes.clamp(max=len(ends) - 1)[torch.randperm(count, generator=rng)]

    def quality(self, pixels: np.ndarray, requested: np.ndarray | None = None) -> dict[str, float]:
        """Return the metrics of images.

        Args:
            pixels: (N, C, H, W) uint8, as many as `samples`.
            requested: (N,) requested classes, for a conditional model.
        """
        features, labels = self._reference.embedding.embed(torch.from_numpy(pixels))
        samples = Samples(pixels, features.numpy(), labels.numpy(), requested, self._real)
        return _record(self._sample_metrics, samples)

    def _possible(self, metric: Metric[Samples]) -> bool:
        """Whether there are enough samples for a metric. If not, adds a notice."""
        if metric.least is None or (Need.LABELS in metric.needs and not self._real.class_names):
            return True
        least = metric.least(self._real)
        if self._samples < least:
            error = TooFewSamplesError(metric.label, self._samples, least)
            self.notices.append(f"evaluation.samples: {error}; it is not recorded")
        return self._samples >= least

    def _discriminator(self, trainer: Trainer, fakes: Tensor, requested: Tensor | None) -> dict[str, float]:
        """Return the metrics of D. fakes: (batches · batch_size, C, H, W) uint8 of classes `requested`."""
        size, judge = trainer.config.batch_size, copy.deepcopy(trainer.discriminator)
        training, held_out = trainer.batches.probe(len(fakes))
        real, fake = _outputs(judge, training, size), _outputs(judge, (fakes, requested), size)
        unseen = _outputs(judge, held_out, size) if held_out is not None else None
        with np.errstate(all="ignore"):  # outputs may be infinite
            sure = None if trainer.loss.critic else trainer.loss.probability(torch.from_numpy(fake)).numpy()
            return _record(self._discriminator_metrics, Outputs(real, fake, unseen, sure))


def _record(metrics: Sequence[Metric[Any]], evidence: Samples | Outputs) -> dict[str, float]:
    """Return name → value of the metrics whose needs are met."""
    given = {*evidence.given}
    return {name: value for one in metrics if one.needs <= given for name, value in one.record(evidence).items()}


@torch.no_grad()
def _outputs(discriminator: torch.nn.Module, batch: Batch, size: int) -> np.ndarray:
    """Return (N,) float64 outputs, normalised in batches of `size`; a smaller last batch is normalised separately."""
    pixels, labels = batch
    classes = [None] * -(-len(pixels) // size) if labels is None else torch.split(labels, size)
    parts = [
        discriminator(chunk.to(torch.float32).div(127.5).sub(1), of).float()
        for chunk, of in zip(torch.split(pixels, size), classes, strict=True)
    ]
    outputs: np.ndarray = torch.cat(parts).double().cpu().numpy()
    return outputs
