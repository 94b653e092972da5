"""FID, KID and the inception score of a generator: many samples against all real images, a batch at a time.

Memory holds one batch and what the metrics accumulate: sums of features and of their products for FID, the features of
some images for KID, and sums of probabilities for the inception score. The statistics of the real images are stored in
a file beside the images.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from gansweep.errors import CheckpointError, UserError
from gansweep.gan import checkpoint
from gansweep.gan.batches import generator
from gansweep.gan.data import ImageSet
from gansweep.gan.inception import Network, load
from gansweep.gan.network_file import NetworkFile
from gansweep.gan.sampling import draw_classes, noise
from gansweep.health.fid import Distances, check_images
from gansweep.health.kernel import SEED, SUBSETS, subset_distances
from gansweep.health.quality import Gaussian, frechet_distance
from gansweep.records import lock

BATCH = 16  # images at a time: 3 s of a core in Inception
KEPT = 10_000  # images of either kind whose features KID draws its subsets from
SPLITS = 10  # of the inception score, as published
WAIT_S = 0.5  # between two attempts to read what another process computes


@dataclass(frozen=True)
class Progress:
    """Progress of a measurement.

    Attributes:
        what: The current phase, in words.
        done, total: Numbers of images or subsets in this phase. Both are 0 while another process is waited for.
    """

    what: str
    done: int
    total: int


@dataclass(frozen=True)
class Samples:
    """Samples of a generator for FID, which are the same whenever they are drawn.

    Attributes:
        generate: Returns images, (N, C, H, W) uint8, for z, (N, latent_dim), and classes, (N,), or None.
        latent_dim: Length of z.
        conditional: Whether G is conditional. Classes are requested in the proportions of the real images.
        count: Number of samples.
        seed: Seed of the trial.
    """

    generate: Callable[[Tensor, Tensor | None], Tensor]
    latent_dim: int
    conditional: bool
    count: int
    seed: int

    def batches(self, images: ImageSet) -> Iterator[Tensor]:
        """Yield the samples in batches, (at most BATCH, C, H, W) uint8. `images` are the real images."""
        z = noise(self.latent_dim, self.count, self.seed, "fid")
        parts = torch.split(z, BATCH)
        if not self.conditional:
            yield from (self.generate(part, None) for part in parts)
            return
        shares = np.bincount(images.labels(), minlength=len(images.classes)) / images.images
        classes = torch.split(draw_classes(shares, self.count, generator(self.seed, "fid classes")), BATCH)
        yield from (self.generate(part, of) for part, of in zip(parts, classes, strict=True))


@dataclass(frozen=True)
class Statistics:
    """Statistics of a set of images, from which FID and KID are computed.

    Attributes:
        gaussian: Mean and covariance of the features of all images.
        features: (n, d) float32, features of n ≤ KEPT of the images.
    """

    gaussian: Gaussian
    features: NDArray[np.float32]


class Features:
    """Accumulator of statistics of features that arrive in batches.

    Args:
        kept: Indices of the images whose features are kept, ascending.
    """

    def __init__(self, kept: NDArray[np.int64]) -> None:
        self._kept, self._count = kept, 0
        self._sum = self._products = torch.zeros(())
        self._features: list[NDArray[np.float32]] = []

    def add(self, features: Tensor) -> None:
        """Add (N, d) float64 features."""
        self._sum, self._products = self._sum + features.sum(0), self._products + features.T @ features
        first, end = np.searchsorted(self._kept, [self._count, self._count + len(features)])
        rows = self._kept[first:end] - self._count
        self._features.append(features.numpy()[rows].astype(np.float32))
        self._count += len(features)

    def statistics(self) -> Statistics:
        """Return the statistics of all images that were added."""
        n, mean = self._count, self._sum / self._count
        covariance = (self._products - n * torch.outer(mean, mean)) / (n - 1)
        return Statistics(Gaussian(mean.numpy(), covariance.numpy()), np.concatenate(self._features))


class InceptionScore:
    """Accumulator of the inception score (Salimans et al. 2016), computed for each of SPLITS parts of the images.

    The score of a part is exp of the mean KL divergence of an image's class probabilities from the mean of the part.
    Images are assigned to parts in a fixed random order, as in torch-fidelity.

    Args:
        count: Number of all images.
    """

    def __init__(self, count: int) -> None:
        order = np.random.RandomState(SEED).permutation(count)
        ends = [i * count // SPLITS for i in range(1, SPLITS + 1)]
        part = np.empty(count, np.int64)
        part[order] = np.searchsorted(ends, np.arange(count), "right")
        self._parts, self._at = torch.from_numpy(part), 0
        self._sizes = torch.bincount(self._parts, minlength=SPLITS)[:, None]
        self._classes = self._negative_entropy = torch.zeros(())

    def add(self, logits: Tensor) -> None:
        """Add (N, classes) float64 logits of the next images."""
        if not self._at:
            self._classes, self._negative_entropy = torch.zeros(2, SPLITS, logits.shape[1], dtype=torch.float64)
        part = self._parts[self._at : self._at + len(logits)]
        logs = logits.log_softmax(dim=1)
        self._classes.index_add_(0, part, logs.exp())
        self._negative_entropy.index_add_(0, part, logs.exp() * logs)
        self._at += len(logits)

    def value(self) -> tuple[float, float]:
        """Return mean and standard deviation over the parts."""
        means = self._classes / self._sizes
        divergence = (self._negative_entropy / self._sizes - torch.xlogy(means, means)).sum(1)
        scores = divergence.exp()
        return float(scores.mean()), float(scores.std(correction=0))


def measure(
    file: NetworkFile, images: ImageSet, samples: Samples, device: torch.device
) -> Generator[Progress, None, Distances]:
    """Compare samples with all real images.

    Args:
        file: File of the network.
        images: The real images.
        samples: The samples.
        device: Device for Inception. Other networks compute on the CPU.

    Yields:
        The progress, after each batch or subset, and repeatedly while another process is waited for.

    Returns:
        The distances, as the value of StopIteration.

    Raises:
        UserError: There are too few real images or too few samples, or the network cannot be used.
    """
    check_images(images.images)
    network = load(file, device)
    real = yield from _real(network, images)
    if samples.count < (least := real.features.shape[1]):
        raise UserError(f"{file.path}: its {least:,} features need as many samples, got {samples.count:,}")
    features, score = Features(np.arange(min(samples.count, KEPT))), InceptionScore(samples.count)
    done = 0
    for batch in samples.batches(images):
        found, logits = network(batch)
        features.add(found)
        score.add(logits)
        done += len(batch)
        yield Progress("samples", done, samples.count)
    made = features.statistics()
    distances: list[float] = []
    for distance in subset_distances(made.features, real.features, SUBSETS):
        distances.append(distance)
        yield Progress("subsets for KID", len(distances), SUBSETS)
    frechet = frechet_distance(made.gaussian, real.gaussian)
    return Distances(file.name, frechet, (float(np.mean(distances)), float(np.std(distances))), score.value())


def _real(network: Network, images: ImageSet) -> Generator[Progress, None, Statistics]:
    """Return the statistics of the real images from their file. If it is missing or damaged, write it first.

    Only one process computes the statistics; the others yield their progress and wait for the file.
    """
    path = network.file.statistics(images)
    while True:
        with contextlib.suppress(CheckpointError):  # missing or damaged
            return _load(path)
        try:
            held = lock.acquire(path.with_suffix(".lock"))
        except lock.Locked:
            yield Progress("real images, which another process computes", 0, 0)
            time.sleep(WAIT_S)
            continue
        with held:
            with contextlib.suppress(CheckpointError):
                return _load(path)
            yield from _compute(network, images, path)


def _compute(network: Network, images: ImageSet, path: Path) -> Iterator[Progress]:
    count, pixels = images.images, images.load()
    order = torch.randperm(count, generator=generator(0, "kid")).numpy()
    features = Features(np.sort(order[:KEPT]))
    for start in range(0, count, BATCH):
        found, _ = network(torch.from_numpy(pixels[start : start + BATCH]))
        features.add(found)
        yield Progress("real images", min(start + BATCH, count), count)
    made = features.statistics()
    arrays = {"mean": made.gaussian.mean, "covariance": made.gaussian.covariance, "features": made.features}
    checkpoint.save(path, {name: torch.from_numpy(one) for name, one in arrays.items()}, {"images": count})


def _load(path: Path) -> Statistics:
    """Return stored statistics. Raises CheckpointError if the file is missing or damaged."""
    tensors, _ = checkpoint.load(path)
    mean, covariance, features = (tensors[name].numpy() for name in ("mean", "covariance", "features"))
    return Statistics(Gaussian(mean, covariance), features)
