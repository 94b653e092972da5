"""Functions that compare generated samples with real images: features or labels → statistics → metrics. NumPy only.

Features: (N, d), of any embedding. Labels: (N,), integers from 0. With a NaN in the features, distances are NaN,
neighbours count as far away, and NDB is undefined. Callers keep images finite.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.floating]
NEIGHBOURS = 5  # k of density and coverage (Naeem et al. 2020, section 3)
COPY = 1e-4  # share of the median nearest-neighbour distance; closer images are the same image
DUPLICATE_QUANTILE = 0.01  # quantile of the nearest-neighbour distances among real images


class TooFewSamplesError(ValueError):
    """Too few samples for a metric. The message names the metric and the least number of samples."""

    def __init__(self, metric: str, given: int, least: int) -> None:
        super().__init__(f"{metric} needs at least {least} samples, got {given}")
        self.least = least


@dataclass(frozen=True)
class Gaussian:
    """Mean (d,) and covariance (d, d) of N features. The covariance is normalised by N − 1."""

    mean: Floats
    covariance: Floats

    @classmethod
    def of(cls, features: Floats) -> Self:
        """Return the Gaussian of (N, d) features.

        Raises:
            TooFewSamplesError: N ≤ d. The covariance would be singular by construction.
        """
        n, d = features.shape
        if n <= d:
            raise TooFewSamplesError("a Fréchet distance", n, d + 1)
        x = features.astype(np.float64)
        return cls(x.mean(axis=0), np.cov(x, rowvar=False).reshape(d, d))


def frechet_distance(a: Gaussian, b: Gaussian) -> float:
    """Return the squared Fréchet distance of two Gaussians (Dowson & Landau 1982, eq. 4; Heusel et al. 2017, eq. 6).

    It is at least 0, 0 for equal Gaussians, and NaN where a statistic is not finite.
    """
    if not all(np.isfinite(s).all() for s in (a.mean, a.covariance, b.mean, b.covariance)):
        return float("nan")
    root = _square_root(a.covariance)
    # The eigenvalues of Σa Σb are those of the symmetric √Σa Σb √Σa.
    cross = np.linalg.eigvalsh(root @ b.covariance @ root)
    distance = np.sum((a.mean - b.mean) ** 2) + np.trace(a.covariance + b.covariance)
    return max(0.0, float(distance - 2 * np.sqrt(np.maximum(cross, 0)).sum()))


def _square_root(covariance: Floats) -> Floats:
    values, vectors = np.linalg.eigh(covariance)
    root: Floats = (vectors * np.sqrt(np.maximum(values, 0))) @ vectors.T
    return root


def distances(a: Floats, b: Floats) -> Floats:
    """Return (N, M) Euclidean distances of each row of `a` (N, d) from each row of `b` (M, d)."""
    a, b = a.astype(np.float64), b.astype(np.float64)
    squares = (a**2).sum(1)[:, None] + (b**2).sum(1)[None, :] - 2 * a @ b.T
    found: Floats = np.sqrt(np.maximum(squares, 0))
    return found


def neighbour_radii(features: Floats, k: int = NEIGHBOURS, metric: str = "density and coverage") -> Floats:
    """Return (N,) the distance of each row to its k-th nearest other row.

    Raises:
        TooFewSamplesError: N ≤ k. Its message names `metric`.
    """
    n = len(features)
    if n <= k:
        raise TooFewSamplesError(metric, n, k + 1)
    among = distances(features, features)
    np.fill_diagonal(among, np.inf)
    radii: Floats = np.partition(among, k - 1, axis=1)[:, k - 1]
    return radii


def density_coverage(real: Floats, radii: Floats, samples: Floats, k: int = NEIGHBOURS) -> tuple[float, float]:
    """Return density (≥ 0, 1 for real images) and coverage (0…1) of samples (Naeem et al. 2020, eq. 3 and 4).

    Args:
        real: (N, d) features of real images.
        radii: neighbour_radii(real, k).
        samples: (M, d) features.
        k: Number of neighbours.

    Raises:
        TooFewSamplesError: There are no samples.
    """
    if len(samples) == 0:
        raise TooFewSamplesError("density and coverage", 0, 1)
    inside = distances(real, samples) < radii[:, None]
    return float(inside.sum() / (k * len(samples))), float(inside.any(axis=1).mean())


def within_classes(
    real: Floats,
    real_labels: NDArray[np.integer],
    generated: Floats,
    asked: NDArray[np.integer],
    classes: int,
    k: int = NEIGHBOURS,
) -> tuple[Floats, Floats]:
    """Return (classes,) density and (classes,) coverage within each class.

    Within a class, the samples that were requested of it are compared with its real images. If there are more of the
    one than of the other, the last ones are left out, so that both are equally many. A class with fewer than k + 1 of
    either has NaN.

    Args:
        real: (M, d) features of real images.
        real_labels: (M,) their classes.
        generated: (N, d) features of samples.
        asked: (N,) the classes that were requested.
        classes: Number of classes.
        k: Number of neighbours.
    """
    found = np.full((2, classes), np.nan)
    for label, there, made in matched_classes(real_labels, asked, classes, k):
        found[:, label] = density_coverage(real[there], neighbour_radii(real[there], k), generated[made], k)
    return found[0], found[1]


def matched_classes(
    real_labels: NDArray[np.integer], asked: NDArray[np.integer], classes: int, k: int = NEIGHBOURS
) -> Iterator[tuple[int, NDArray[np.intp], NDArray[np.intp]]]:
    """Yield (class, indices of real images, indices of samples) of each class that has more than k of both.

    There are equally many indices of both: if there are more of the one, its last ones are left out.

    Args:
        real_labels: (M,) classes of real images.
        asked: (N,) the classes that were requested.
        classes: Number of classes.
        k: Number of neighbours.
    """
    for label in range(classes):
        there, made = np.flatnonzero(real_labels == label), np.flatnonzero(asked == label)
        count = min(len(there), len(made))
        if count > k:
            yield label, there[:count], made[:count]


def precision_recall(real: Floats, real_radii: Floats, samples: Floats, k: int = 3) -> tuple[float, float]:
    """Return precision and recall, each 0…1 (Kynkäänniemi et al. 2019, eq. 1, 2).

    Precision is the share of samples within the manifold of the real images, recall the share of real images within the
    manifold of the samples.

    Args:
        real: (M, d) features of real images.
        real_radii: neighbour_radii(real, k).
        samples: (N, d) features.
        k: Number of neighbours.

    Raises:
        TooFewSamplesError: N ≤ k.
    """
    between = distances(real, samples)
    precision = (between <= real_radii[:, None]).any(axis=0).mean()
    recall = (between <= neighbour_radii(samples, k, "precision and recall")[None, :]).any(axis=1).mean()
    return float(precision), float(recall)


@dataclass(frozen=True)
class Bins:
    """Bins of NDB, the number of statistically different bins (Richardson & Weiss 2018).

    Args:
        centres: (K, d) features. An image belongs to the bin with the nearest centre.
        shares: (K,) share of the real images in each bin.
        real: Number of real images.
    """

    centres: Floats
    shares: Floats
    real: int

    @classmethod
    def of(cls, real: Floats, bins: int, rounds: int = 10) -> Self:
        """Return the bins of real images by Lloyd's k-means, started from evenly spaced rows.

        Args:
            real: (N, d) features of real images.
            bins: Number of bins.
            rounds: Number of rounds of k-means.

        Raises:
            TooFewSamplesError: There are fewer than 10 images per bin.
        """
        if len(real) < 10 * bins:
            raise TooFewSamplesError(f"NDB with {bins} bins", len(real), 10 * bins)
        centres = real[:: len(real) // bins][:bins].astype(np.float64)
        for _ in range(rounds):
            nearest = distances(real, centres).argmin(axis=1)
            for i in np.unique(nearest):
                centres[i] = real[nearest == i].mean(axis=0)
        nearest = distances(real, centres).argmin(axis=1)
        return cls(centres, np.bincount(nearest, minlength=bins) / len(real), len(real))

    def count(self, samples: Floats) -> NDArray[np.int64]:
        """Return (K,) the number of samples in each bin. `samples`: (N, d) features."""
        return np.bincount(distances(samples, self.centres).argmin(axis=1), minlength=len(self.centres))

    def different(self, counts: NDArray[np.int64]) -> float:
        """Return the share (0…1) of bins whose share of samples differs from that of real images.

        They are compared by a two-proportion z-test at 5 %. The share is NDB/K of Richardson & Weiss 2018, section 3.

        Args:
            counts: (K,) the number of samples in each bin.

        Raises:
            TooFewSamplesError: There are no samples.
        """
        n, m = int(counts.sum()), self.real
        if not n:
            raise TooFewSamplesError("NDB", 0, 1)
        shares = counts / n
        pooled = (n * shares + m * self.shares) / (n + m)
        error = np.sqrt(pooled * (1 - pooled) * (1 / n + 1 / m))
        with np.errstate(invalid="ignore", divide="ignore"):
            z = np.abs(shares - self.shares) / error
        return float((z > 1.959964).mean())


def duplicate_distance(real: Floats, quantile: float = DUPLICATE_QUANTILE) -> float:
    """Return the distance up to which two samples count as near duplicates.

    It is a quantile of the nearest-neighbour distances among real images (N, d). Images with an exact copy are left
    out, because a distance of 0 would be lost in rounding. It is 0 if no others are left.

    Raises:
        TooFewSamplesError: N < 2.
    """
    radii = neighbour_radii(real, 1, "near duplicates")
    different = radii[radii > COPY * np.median(radii)]
    return float(np.quantile(different, quantile)) if len(different) else 0.0


def near_duplicates(samples: Floats, distance: float) -> float:
    """Return the share (0…1) of samples (N, d) that have another sample within `distance`.

    It is high if G draws from a small pool (after the birthday-paradox test of Arora, Risteski & Zhang 2018).

    Raises:
        TooFewSamplesError: N < 2.
    """
    if len(samples) < 2:
        raise TooFewSamplesError("near duplicates", len(samples), 2)
    return float((neighbour_radii(samples, 1, "near duplicates") <= distance).mean())


@dataclass(frozen=True)
class Histogram:
    """Number of images of each class, (classes,)."""

    counts: NDArray[np.int64]

    @classmethod
    def of(cls, labels: NDArray[np.integer], classes: int) -> Self:
        """Return the histogram of labels (N,). Raises TooFewSamplesError for N = 0."""
        if len(labels) == 0:
            raise TooFewSamplesError("a class histogram", 0, 1)
        return cls(np.bincount(labels, minlength=classes))

    @property
    def shares(self) -> Floats:
        shares: Floats = self.counts / self.counts.sum()
        return shares

    def effective_classes(self) -> float:
        """Return exp of the entropy: m for m equally frequent classes."""
        p = self.shares[self.counts > 0]
        return float(np.exp(-(p * np.log(p)).sum()))

    def divergence_from(self, real: Histogram) -> float:
        """Return KL(self ‖ real) in nats: ≥ 0, and inf if `real` lacks a class that this histogram has.

        It is biased upwards by (classes − 1) / 2N for N samples.
        """
        p, q = self.shares, real.shares
        with np.errstate(divide="ignore"):
            terms = p[p > 0] * (np.log(p[p > 0]) - np.log(q[p > 0]))
        return max(0.0, float(terms.sum()))

    def least_to_miss(self) -> int:
        """Return the least number of samples that suffices to find missing classes, given these real images.

        It is the number of samples of which 12 are expected to be of the rarest class. Fewer than 5 of that class then
        occur by chance once in a hundred times.
        """
        return int(-(-12 * self.counts.sum() // self.counts[self.counts > 0].min()))

    def missing(self, real: Histogram) -> int:
        """Return the number of classes that are missing from the samples.

        A class is missing if fewer than max(5, a tenth of the number expected from its share of the real images) of
        the samples belong to it.

        `real`: Histogram of the real images.

        Raises:
            TooFewSamplesError: There are too few samples to call any class missing.
        """
        n = int(self.counts.sum())
        if n < real.least_to_miss():
            raise TooFewSamplesError("counting missing classes", n, real.least_to_miss())
        there = real.counts > 0
        return int((self.counts[there] < np.maximum(5, 0.1 * n * real.shares[there])).sum())


def auc(real: Floats, fake: Floats) -> float:
    """Return the probability that a real logit is above a fake one, ties counting half (Mann & Whitney 1947).

    It is NaN if any logit is NaN.

    Raises:
        TooFewSamplesError: `real` or `fake` is empty.
    """
    if not len(real) or not len(fake):
        raise TooFewSamplesError("AUC", 0, 1)
    if np.isnan(real).any() or np.isnan(fake).any():
        return float("nan")
    below = np.sort(fake)
    lower, upper = np.searchsorted(below, real, "left"), np.searchsorted(below, real, "right")
    return float((lower + upper).mean() / (2 * len(fake)))


def pairs_within(labels: NDArray[np.integer], count: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the indices of the first and of the second samples of at most `count` pairs with the same label.

    Each sample is in one pair at most. Pairs are in the order of their second samples.
    """
    first, second = [], []
    last: dict[int, int] = {}
    for i, label in enumerate(labels.tolist()):
        if label in last:
            first.append(last.pop(label))
            second.append(i)
        else:
            last[label] = i
    return np.array(first[:count], np.int64), np.array(second[:count], np.int64)
