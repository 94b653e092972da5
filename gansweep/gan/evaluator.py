"""Evaluates a trainer as it stands: samples against real images, D against fresh fakes. Changes nothing of it."""

from __future__ import annotations

import copy
import math
import re
from typing import Any

import numpy as np
import torch
from torch import Tensor

from gansweep.gan.batches import Batch, generator
from gansweep.gan.reference import PAIRS, Reference
from gansweep.gan.sampling import sample
from gansweep.gan.training import Trainer
from gansweep.health import metrics as m
from gansweep.health import quality
from gansweep.health.quality import Gaussian, Histogram, TooFewSamplesError

MOST_SHOWN = 64  # classes whose shares are recorded, one metric each
PROBE = 128  # real images, and as many fakes, that D is asked about; more only where a batch is larger


class Evaluator:
    """samples: drawn at each evaluation. notices: sentences for the user (a metric that cannot be had).

    Random numbers come from a stream of its own for each step, G is in eval mode, D a copy in training mode (its
    batch norm would see other statistics than in training), with real and fake in separate batches of the training
    size: HEALTH, "Two traps".
    """

    def __init__(self, reference: Reference, samples: int, seed: int) -> None:
        self.notices: list[str] = []
        self._reference, self._samples, self._seed = reference, samples, seed
        self._real = reference.at(samples)
        self._countable = bool(reference.classes) and self._can_count()

    def description(self) -> dict[str, Any]:
        """What judges the samples, for the records. accuracy: of the classifier on unseen real images. real_shares:
        class name → its share among the real images."""
        accuracy, reference = self._reference.accuracy, self._reference
        return {
            "accuracy": None if math.isnan(accuracy) else accuracy,
            "classes": reference.classes,
            "real_shares": _class_shares(reference.class_names, reference.histogram),
            "samples": self._samples,
        }

    def __call__(self, trainer: Trainer) -> dict[str, float]:
        """Every metric of metrics.EVALUATION that can be had here, figures of each class, and nothing else."""
        s = trainer.config
        batches = max(1, round(PROBE / s.batch_size))
        rng = generator(self._seed, f"evaluation {trainer.step}")
        count = max(self._samples, batches * s.batch_size)
        z = torch.randn(count, s.latent_dim, generator=rng)
        asked = self._classes(count, rng).to(trainer.device) if s.networks.classes else None
        pixels = sample(trainer.sampler, z.to(trainer.device), asked)
        # D is asked about what it is trained against: an average of G over time lags behind.
        fresh = pixels if trainer.average is None else sample(trainer.generator, z.to(trainer.device), asked)
        fakes = torch.from_numpy(fresh[: batches * s.batch_size]).to(trainer.device)
        of_d = _discriminator(trainer, fakes, None if asked is None else asked[: len(fakes)])
        wanted = None if asked is None else asked[: self._samples].cpu().numpy()
        return self.quality(pixels[: self._samples], wanted) | of_d

    def _classes(self, count: int, rng: torch.Generator) -> Tensor:
        """(count,) classes to ask for: as often as they come among the real images, in random order."""
        ends = torch.from_numpy(self._reference.histogram.shares).cumsum(0)
        classes = torch.searchsorted(ends, (torch.arange(count, dtype=ends.dtype) + 0.5) / count)
        return classes.clamp(max=len(ends) - 1)[torch.randperm(count, generator=rng)]

    def quality(self, pixels: np.ndarray, asked: np.ndarray | None = None) -> dict[str, float]:
        """The metrics of metrics.QUALITY of (N, C, H, W) uint8 images, as many as `samples`.

        asked: (N,) the classes that they should be of, of a conditional model.
        """
        reference, real = self._reference, self._real
        embedded, labels = reference.embedding.embed(torch.from_numpy(pixels))
        features = embedded.numpy()
        distance = quality.frechet_distance(Gaussian.of(features), real.gaussian)
        density, coverage = quality.density_coverage(real.features, real.radii, features)
        precision, recall = quality.precision_recall(real.features, real.radii_of_3, features)
        across, within = quality.spread(pixels)
        first, second = quality.pairs_within(labels.numpy(), PAIRS)
        alike = float(quality.ms_ssim(pixels[first], pixels[second]).mean()) if len(first) else float("nan")
        found = {
            m.CFD_RATIO: _over(distance, real.baseline),
            m.DENSITY: density,
            m.COVERAGE: coverage,
            m.PRECISION: precision,
            m.RECALL: recall,
            m.NDB: real.bins.different(features),
            m.NEAR_DUPLICATES: quality.near_duplicates(features, real.duplicate_distance),
            m.SPREAD_ACROSS: _over(across, reference.spread[0]),
            m.SPREAD_WITHIN: _over(within, reference.spread[1]),
            m.MS_SSIM: _over(alike, reference.ms_ssim),
        }
        if reference.classes:
            histogram = Histogram.of(labels.numpy(), reference.classes)
            found[m.CLASSES] = histogram.effective_classes()
            found[m.LABEL_KL] = histogram.divergence_from(reference.histogram)
            if self._countable:
                found[m.CLASSES_MISSING] = float(histogram.missing(reference.histogram))
            shares = _class_shares(reference.class_names, histogram)
            found |= {f"{m.CLASS_SHARE}{name}": share for name, share in shares.items()}
        if asked is not None:
            found |= self._conditional(features, labels.numpy(), asked)
        return found

    def _conditional(self, features: np.ndarray, labels: np.ndarray, asked: np.ndarray) -> dict[str, float]:
        """Whether samples are of the class that was asked for, and cover it."""
        reference = self._reference
        right = np.array([_mean(labels[asked == c] == c) for c in range(reference.classes)])
        density, coverage = quality.within_classes(
            reference.features, reference.labels, features, asked, reference.classes
        )
        found = {m.REQUESTED: _mean(labels == asked), m.REQUESTED_WORST: float(np.nanmin(right))}
        if np.isfinite(coverage).any():
            worst = int(np.nanargmin(coverage))
            found[m.COVERAGE_WITHIN] = float(np.nanmean(coverage))
            found[m.COVERAGE_WITHIN_WORST] = float(coverage[worst])
            found[m.DENSITY_WITHIN_WORST] = float(density[worst])
        names = _plain_names(reference.class_names)
        return found | {f"{m.REQUESTED_SHARE}{name}": float(share) for name, share in zip(names, right, strict=False)}

    def _can_count(self) -> bool:
        least = self._reference.histogram.least_to_miss()
        if self._samples < least:
            error = TooFewSamplesError("counting missing classes", self._samples, least)
            self.notices.append(f"evaluation.samples: {error}; they are not counted")
        return self._samples >= least


def _discriminator(trainer: Trainer, fakes: Tensor, asked: Tensor | None) -> dict[str, float]:
    """fakes: (batches · batch_size, C, H, W) uint8. asked: their classes, of a conditional model."""
    size, judge = trainer.config.batch_size, copy.deepcopy(trainer.discriminator)
    training, held_out = trainer.batches.probe(len(fakes))
    real, fake = _outputs(judge, training, size), _outputs(judge, (fakes, asked), size)
    unseen = _outputs(judge, held_out, size) if held_out is not None else None
    with np.errstate(all="ignore"):  # outputs may be infinite
        found = _compared(real, fake, unseen)
        if trainer.loss.probability is not None:
            sure = trainer.loss.probability(torch.from_numpy(fake)).numpy()
            found |= _classified(real, fake, unseen) | {m.D_FRESH: float(sure.mean())}
    return found


def _compared(real: np.ndarray, fake: np.ndarray, unseen: np.ndarray | None) -> dict[str, float]:
    """Outputs for training images, fresh fakes and held-out images → metrics that hold for any D."""
    found = {
        m.D_AUC: quality.auc(real if unseen is None else unseen, fake),
        m.D_STD: float(np.concatenate([real, fake]).std()),
    }
    if unseen is not None:
        found[m.R_V] = _ratio(real.mean() - unseen.mean(), real.mean() - fake.mean())
    return found


def _classified(real: np.ndarray, fake: np.ndarray, unseen: np.ndarray | None) -> dict[str, float]:
    """The same, for a D whose sign says real or fake."""
    found = {
        m.D_ACCURACY: float(((real > 0).mean() + (fake < 0).mean()) / 2),
        m.R_T: float(np.sign(real).mean()),
    }
    if unseen is not None:
        found[m.D_GAP] = float((real > 0).mean() - (unseen > 0).mean())
    return found


@torch.no_grad()
def _outputs(discriminator: torch.nn.Module, batch: Batch, size: int) -> np.ndarray:
    """(N,) float64, normalised in batches of `size` (a last smaller one by itself)."""
    pixels, labels = batch
    classes = [None] * -(-len(pixels) // size) if labels is None else torch.split(labels, size)
    parts = [
        discriminator(chunk.to(torch.float32).div(127.5).sub(1), of).float()
        for chunk, of in zip(torch.split(pixels, size), classes, strict=True)
    ]
    outputs: np.ndarray = torch.cat(parts).double().cpu().numpy()
    return outputs


def _class_shares(names: tuple[str, ...], histogram: Histogram) -> dict[str, float]:
    """Class → share; {} for very many classes."""
    return dict(zip(_plain_names(names), histogram.shares.tolist(), strict=False))


def _plain_names(names: tuple[str, ...]) -> list[str]:
    """Names that every tracking store takes as part of a metric's; none for very many classes."""
    if not 0 < len(names) <= MOST_SHOWN:
        return []
    plain = [re.sub(r"[^\w .:-]", "_", name) for name in names]
    return plain if len(set(plain)) == len(names) else [str(number) for number in range(len(names))]


def _mean(values: np.ndarray) -> float:
    """NaN of none."""
    return float(values.mean()) if len(values) else float("nan")


def _over(value: float, real: float) -> float:
    """NaN where the real images show none of it."""
    return value / real if real else float("nan")


def _ratio(above: float, below: float) -> float:
    """NaN where D does not separate at all: the ratio would say nothing."""
    return float(above / below) if math.isfinite(below) and below > 1e-6 else float("nan")
