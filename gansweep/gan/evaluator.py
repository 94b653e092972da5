"""Evaluation of a trainer: of samples against real images, and of D on fresh fakes. The trainer is not changed."""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from gansweep.errors import UserError
from gansweep.gan.batches import Batch, generator
from gansweep.gan.coherence import outputs_and_coherence
from gansweep.gan.comparison import Comparison, comparison, full_precision
from gansweep.gan.host_copy import HostCopy
from gansweep.gan.reference import Reference
from gansweep.gan.sampling import draw_classes, sample_on_device
from gansweep.gan.training import Trainer
from gansweep.health.evidence import Outputs, Samples, by_class
from gansweep.health.measure import Metric, Need
from gansweep.health.metrics import DISCRIMINATOR_METRICS, SAMPLE_METRICS
from gansweep.health.on_device import upload
from gansweep.health.quality import TooFewSamplesError

PROBE = 128  # real images, and samples, for which D is evaluated; more only if a batch is larger


class Evaluator:
    """Computes the metrics of a trainer's samples and of its D.

    All metrics are computed on the trainer's device, for which the host waits once. Each step has a random stream of
    its own. G is in eval mode. D is evaluated as a copy in training mode, because in eval mode its batch norm would use
    other statistics than in training; real images and fakes are in separate batches of the training's batch size.

    Args:
        reference: The real images.
        samples: Number of samples per evaluation.
        seed: Seed of the random streams.
        sample_metrics, discriminator_metrics: Metrics to compute.

    Attributes:
        notices: Sentences for the user, one for each metric that cannot be computed. Evaluations may append to it.
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
        self._failed: set[str] = set()  # metrics of the user
        self._reference, self._samples, self._seed = reference, samples, seed
        self._real = reference.at(samples)
        self._comparisons: dict[torch.device, Comparison] = {}
        self._sample_metrics = [*filter(self._possible, sample_metrics)]
        self._discriminator_metrics = discriminator_metrics

    def description(self) -> dict[str, Any]:
        """Return the description of the evaluation for the records, with the following entries.

        features: Description of the embedding.
        accuracy: Share of unseen real images whose class the embedding recognises; None if there is none.
        classes: Number of classes.
        real_shares: Class → its share of the real images.
        samples: Number of samples per evaluation.
        real_near_duplicates: Share of near duplicates among as many real images as there are samples.
        training_images: Number of training images that samples are compared with (`memorised`).
        """
        accuracy, reference = self._reference.accuracy, self._reference
        return {
            "features": reference.embedding.description.record(),
            "accuracy": None if math.isnan(accuracy) else accuracy,
            "classes": reference.classes,
            "real_shares": by_class(reference.class_names, reference.histogram.shares),
            "samples": self._samples,
            "real_near_duplicates": self._real.near_duplicates,
            "training_images": len(self._real.training.features),
        }

    @full_precision()
    def __call__(self, trainer: Trainer) -> dict[str, float]:
        """Evaluate a trainer. Return name → value of the metrics whose needs are met, in the order of the registry."""
        s, device = trainer.config, trainer.device
        batches = max(1, round(PROBE / s.batch_size))
        rng = generator(self._seed, f"evaluation {trainer.step}")
        count = max(self._samples, batches * s.batch_size)
        z = upload(torch.randn(count, s.latent_dim, generator=rng), device)
        requested = self.classes(count, rng) if s.networks.classes else None
        asked = None if requested is None else upload(requested, device)
        pixels = sample_on_device(trainer.sampler, z, asked, s.image_size)
        # D is evaluated on samples of the G that it is trained against: an average of G over time lags behind.
        fresh = pixels if trainer.average is None else sample_on_device(trainer.generator, z, asked, s.image_size)
        fakes = fresh[: batches * s.batch_size]
        of_d = _outputs_of(trainer, fakes, None if asked is None else asked[: len(fakes)])
        wanted = None if requested is None else requested[: self._samples].numpy()
        of_samples = self._of_samples(pixels[: self._samples], wanted)
        return of_samples | self._of_discriminator(trainer, of_d)

    def classes(self, count: int, rng: torch.Generator) -> Tensor:
        """Return classes to request from G, (count,), in the proportions of the real images and in random order."""
        return draw_classes(self._reference.histogram.shares, count, rng)

    def quality(self, pixels: NDArray[np.uint8], requested: NDArray[np.int64] | None = None) -> dict[str, float]:
        """Return name → value of the sample metrics of given images, computed on the CPU.

        Args:
            pixels: (N, C, H, W) uint8; N is the number of samples per evaluation.
            requested: (N,) requested classes; None for an unconditional model.
        """
        return self._of_samples(torch.from_numpy(pixels), requested)

    def _of_samples(self, pixels: Tensor, requested: NDArray[np.int64] | None) -> dict[str, float]:
        if pixels.device not in self._comparisons:
            networks, device = self._reference, pixels.device
            self._comparisons[device] = comparison(networks.embedding, self._real, device, networks.intact)
        return self._record(self._sample_metrics, self._comparisons[pixels.device](pixels, requested))

    def _possible(self, metric: Metric[Samples]) -> bool:
        """Whether there are enough samples for a metric. If not, adds a notice."""
        if metric.least is None or (Need.LABELS in metric.needs and not self._real.class_names):
            return True
        least = metric.least(self._real)
        if self._samples < least:
            error = TooFewSamplesError(metric.label, self._samples, least)
            self.notices.append(f"evaluation.samples: {error}; it is not recorded")
        return self._samples >= least

    def _of_discriminator(self, trainer: Trainer, outputs: HostCopy) -> dict[str, float]:
        found = outputs.read()
        held_out = found["held_out"].numpy() if "held_out" in found else None
        with np.errstate(all="ignore"):  # outputs may be infinite
            sure = None if trainer.loss.critic else trainer.loss.probability(found["fake"]).numpy()
            evidence = Outputs(
                found["real"].numpy(),
                found["fake"].numpy(),
                held_out,
                sure,
                trainer.loss.compares,
                float(found["coherence"]),
            )
            return self._record(self._discriminator_metrics, evidence)

    def _record(self, metrics: Sequence[Metric[Any]], evidence: Samples | Outputs) -> dict[str, float]:
        """Return name → value of the metrics whose needs are met; NaN for a metric of the user that fails.

        Appends a notice at the first failure of a metric.
        """
        given = {*evidence.given}
        found: dict[str, float] = {}
        for one in (one for one in metrics if one.needs <= given):
            try:
                found |= one.record(evidence)
            except UserError as error:
                found[one.name] = math.nan
                if one.name not in self._failed:
                    self.notices.append(f"{error}; nan is recorded")
                self._failed.add(one.name)
        return found


def _outputs_of(trainer: Trainer, fakes: Tensor, requested: Tensor | None) -> HostCopy:
    """Return D's outputs for training images (`real`), fakes (`fake`) and held-out images (`held_out`, if any).

    The result also has `coherence`, the coherence of the gradients that G receives.

    Args:
        trainer: The trainer, whose D is copied.
        fakes: (batches · batch_size, C, H, W) uint8.
        requested: Requested classes of the fakes; None for an unconditional model.
    """
    size, judge = trainer.config.batch_size, copy.deepcopy(trainer.discriminator)
    training, held_out = trainer.batches.probe(len(fakes))
    real = _outputs(judge, training, size)
    fake, coherence = outputs_and_coherence(trainer.loss, judge, (fakes, requested), real[:size], size)
    found = {"real": real, "fake": fake, "coherence": coherence}
    if held_out is not None:
        found["held_out"] = _outputs(judge, held_out, size)
    return HostCopy(found)


@torch.no_grad()
def _outputs(discriminator: torch.nn.Module, batch: Batch, size: int) -> Tensor:
    """Return D's outputs for images, (N,) float64, computed in batches of `size` and a last, possibly smaller one.

    In training mode, D normalises each batch separately.
    """
    pixels, labels = batch
    classes = [None] * -(-len(pixels) // size) if labels is None else torch.split(labels, size)
    parts = [
        discriminator(chunk.to(torch.float32).div(127.5).sub(1), of).float()
        for chunk, of in zip(torch.split(pixels, size), classes, strict=True)
    ]
    return torch.cat(parts).double()
