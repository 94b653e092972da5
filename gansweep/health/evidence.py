"""Data that evaluation metrics are computed from: samples, real images, and outputs of D. NumPy only.

Values that several metrics share are computed once.
"""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gansweep.health import pixels, quality
from gansweep.health.measure import Need, over
from gansweep.health.memorised import TrainingImages
from gansweep.health.quality import Bins, Floats, Gaussian, Histogram

PAIRS = 64  # pairs of images for MS-SSIM
MOST_SHOWN = 64  # maximum number of classes whose shares are recorded, one metric each


@dataclass(frozen=True)
class RealSide:
    """The real images that samples are compared with.

    Args:
        gaussian: Gaussian of `features`.
        features: (N, d) features of unseen real images, N the number of samples.
        radii: (N,) distance of each of these images to its fifth nearest neighbour among them.
        radii_of_3: (N,) distance to the third nearest neighbour.
        bins: Bins of NDB.
        duplicate_distance: The distance up to which two samples count as near duplicates.
        near_duplicates: Share of near duplicates among N real images, averaged over several draws. It is about .01, or
            more if the data set repeats images.
        training: Training images, of which samples may be copies.
        baseline: FD of two sets of N real images, averaged over several draws.
        unseen: (M, d) features of all unseen real images, in random order.
        labels: (M,) their classes.
        histogram: Number of images of each class in the whole data set.
        class_names: Names of the classes; empty if the images have one class.
        statistics: Name of a `Statistic` → its value for all unseen real images.
        intact: Mean probability that a real image is intact; NaN if there is no network that estimates it.
    """

    gaussian: Gaussian
    features: NDArray[np.float32]
    radii: Floats
    radii_of_3: Floats
    bins: Bins
    duplicate_distance: float
    near_duplicates: float
    training: TrainingImages
    baseline: float
    unseen: NDArray[np.float32]
    labels: NDArray[np.int64]
    histogram: Histogram
    class_names: tuple[str, ...]
    statistics: Mapping[str, Any]
    intact: float = math.nan


@dataclass(frozen=True)
class Images:
    """Real images or samples.

    Args:
        pixels: (N, C, H, W) uint8.
        features: (N, d) features in the evaluator's embedding.
        labels: (N,) classes; zeros if the images have no classes.
    """

    pixels: NDArray[np.uint8]
    features: Floats
    labels: NDArray[np.int64]

    @cached_property
    def spread(self) -> tuple[float, float]:
        """Spread across images and within an image, in grey levels."""
        return pixels.spread(self.pixels)

    @cached_property
    def ms_ssim(self) -> float:
        """Mean MS-SSIM over pairs of images of the same class; NaN if there are no such pairs."""
        first, second = quality.pairs_within(self.labels, PAIRS)
        return float(pixels.ms_ssim(self.pixels[first], self.pixels[second]).mean()) if len(first) else math.nan


@dataclass(frozen=True)
class Samples(Images):
    """Generated images, with the real images that they are compared with. `labels` are assigned by the classifier.

    Arrays are on the CPU. NumPy computes a property when a metric reads it. For samples that were generated on another
    device, `health.on_device` has computed most properties there before.

    Args:
        requested: (N,) requested classes; None for an unconditional model.
        real: The real images.
        intact: (N,) probability that a sample is an intact image; None if there is no network that estimates it.
    """

    requested: NDArray[np.int64] | None
    real: RealSide
    intact: Floats | None = None

    @property
    def given(self) -> Collection[Need]:
        """Requirements of metrics that these samples meet."""
        labels = {Need.LABELS} if self.real.class_names else set()
        return labels if self.requested is None else {*labels, Need.CONDITION}

    @cached_property
    def gaussian(self) -> Gaussian:
        """Gaussian of the features."""
        return Gaussian.of(self.features)

    @property
    def fd_ratio(self) -> float:
        return over(quality.frechet_distance(self.gaussian, self.real.gaussian), self.real.baseline)

    @cached_property
    def density_coverage(self) -> tuple[float, float]:
        return quality.density_coverage(self.real.features, self.real.radii, self.features)

    @cached_property
    def precision_recall(self) -> tuple[float, float]:
        return quality.precision_recall(self.real.features, self.real.radii_of_3, self.features)

    @cached_property
    def near_duplicates(self) -> float:
        return quality.near_duplicates(self.features, self.real.duplicate_distance)

    @property
    def intact_ratio(self) -> float | None:
        return None if self.intact is None else over(float(self.intact.mean()), self.real.intact)

    @cached_property
    def memorised(self) -> float:
        return self.real.training.share(self.features)

    @cached_property
    def bin_counts(self) -> NDArray[np.int64]:
        """(K,) number of samples in each bin of `real.bins`."""
        return self.real.bins.count(self.features)

    @cached_property
    def histogram(self) -> Histogram:
        """Number of samples that the classifier assigns to each class. Defined only if the images have classes."""
        return Histogram.of(self.labels, len(self.real.class_names))

    @cached_property
    def right(self) -> Floats:
        """(classes,) share of the samples requested of each class that the classifier assigns to it.

        It is NaN for a class of which no samples were requested.
        """
        classes = range(len(self.real.class_names))
        return np.array([mean(self.labels[self.requested == c] == c) for c in classes])

    @cached_property
    def requested_share(self) -> float:
        return mean(self.labels == self.requested)

    @cached_property
    def density_coverage_within(self) -> tuple[Floats, Floats]:
        """Density and coverage within each class, (classes,) each; NaN for a class with too few images."""
        assert self.requested is not None
        real = self.real
        return quality.within_classes(real.unseen, real.labels, self.features, self.requested, len(real.class_names))

    @property
    def within_classes(self) -> tuple[Floats, Floats] | None:
        """The same as `density_coverage_within`; None if no class has enough images."""
        density, coverage = self.density_coverage_within
        return (density, coverage) if np.isfinite(coverage).any() else None

    @property
    def mean_coverage_within(self) -> float | None:
        return None if self.within_classes is None else float(np.nanmean(self.within_classes[1]))

    @cached_property
    def worst_within(self) -> tuple[float, float] | None:
        """Density and coverage within the class with the smallest coverage; None if no class has enough images."""
        if self.within_classes is None:
            return None
        density, coverage = self.within_classes
        worst = int(np.nanargmin(coverage))
        return float(density[worst]), float(coverage[worst])


@dataclass(frozen=True)
class Outputs:
    """Outputs of D for several sets of images, one (n,) array for each set.

    Args:
        real: Outputs for training images.
        fake: Outputs for fresh samples.
        held_out: Outputs for held-out images; None if there are none.
        sure: σ(D) for fresh samples; None for a critic.
        compared: Whether the loss depends only on differences between outputs for real images and for samples, as a
            relativistic loss does.
        coherence: Mean cosine between the gradients of G's loss with respect to two samples.
    """

    real: NDArray[np.float64]
    fake: NDArray[np.float64]
    held_out: NDArray[np.float64] | None
    sure: NDArray[np.floating] | None
    compared: bool
    coherence: float

    @property
    def given(self) -> Collection[Need]:
        """Requirements of metrics that these outputs meet."""
        met = {
            Need.HELD_OUT: self.held_out is not None,
            Need.PROBABILITIES: self.sure is not None,
            Need.COMPARED: self.compared,
        }
        return {need for need, is_met in met.items() if is_met}

    @property
    def unseen(self) -> NDArray[np.float64]:
        """Outputs for held-out images; for training images if there are none."""
        return self.real if self.held_out is None else self.held_out

    @property
    def auc(self) -> float:
        return quality.auc(self.unseen, self.fake)

    @property
    def preference(self) -> float:
        """Mean σ(D(x) − D(G(z))) over all pairs of a real image and a fresh sample."""
        return float((1 / (1 + np.exp(self.fake[None, :] - self.unseen[:, None]))).mean())

    @property
    def deviation(self) -> float:
        return float(np.concatenate([self.real, self.fake]).std())

    @property
    def accuracy(self) -> float:
        return float(((self.real > 0).mean() + (self.fake < 0).mean()) / 2)

    @property
    def mean_sign(self) -> float:
        return float(np.sign(self.real).mean())

    @property
    def overfitting(self) -> float:
        """r_v (Karras et al. 2020, eq. 1); NaN if D does not separate real from fake, which makes it meaningless."""
        assert self.held_out is not None
        above, below = self.real.mean() - self.held_out.mean(), self.real.mean() - self.fake.mean()
        return float(above / below) if math.isfinite(below) and below > 1e-6 else math.nan

    @property
    def gap(self) -> float:
        assert self.held_out is not None
        return float((self.real > 0).mean() - (self.held_out > 0).mean())

    @property
    def mean_sure(self) -> float:
        assert self.sure is not None
        return float(self.sure.mean())


def by_class(names: tuple[str, ...], values: Floats) -> dict[str, float]:
    """Return the value of each class: class → value; {} if there are more than MOST_SHOWN classes or none.

    Classes are named as by `_plain_names`.
    """
    return dict(zip(_plain_names(names), values.tolist(), strict=False))


def _plain_names(names: tuple[str, ...]) -> list[str]:
    """Return names of classes that every tracking store accepts as part of a metric's name.

    Other characters are replaced. If names are not unique then, they are numbers. There are none for more than
    MOST_SHOWN classes.
    """
    if not 0 < len(names) <= MOST_SHOWN:
        return []
    plain = [re.sub(r"[^\w .:-]", "_", name) for name in names]
    return plain if len(set(plain)) == len(names) else [str(number) for number in range(len(names))]


def mean(values: NDArray[np.bool_]) -> float:
    """Return the share of values that are true; NaN if there are no values."""
    return float(values.mean()) if len(values) else math.nan
