"""Computation of the properties of `evidence.Samples` by torch, on the device of the samples, without waiting for it.

Values agree with those of NumPy up to rounding: sums are float64, or integers. No shape of a tensor depends on a value,
because the host would have to wait for that value.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from gansweep.health import pixels as host_pixels
from gansweep.health import quality
from gansweep.health.evidence import PAIRS, RealSide, Samples
from gansweep.health.memorised import AT_A_TIME
from gansweep.health.quality import NEIGHBOURS, Gaussian

NUMBERS = ("density_coverage", "precision_recall", "near_duplicates", "memorised", "spread", "ms_ssim")  # not arrays


class RealOnDevice:
    """The real images that samples are compared with, as tensors on a device.

    Args:
        real: The real images.
        device: The device.
    """

    def __init__(self, real: RealSide, device: torch.device) -> None:
        self._real = real
        arrays = (real.features, real.radii, real.radii_of_3, real.bins.centres, real.unseen)
        doubles = (torch.from_numpy(array).to(device, torch.float64) for array in arrays)
        self._features, self._radii, self._radii_of_3, self._centres, self._unseen = doubles
        self._training = torch.from_numpy(real.training.features).to(device, torch.float64)

    def measure(
        self, pixels: Tensor, features: Tensor, labels: Tensor, requested: NDArray[np.int64] | None
    ) -> dict[str, Tensor]:
        """Queue the measurements of samples on the device without waiting for them.


        Args:
            pixels: (N, C, H, W) uint8.
            features: (N, d).
            labels: (N,) int64 classes assigned by the classifier.
            requested: (N,) requested classes, on the host; None for an unconditional model.

        Returns:
            Name → tensor on the device. `samples_of` makes `Samples` of the tensors once they are copied to the CPU.
        """
        x = features.double()
        mean, covariance = _gaussian(x)
        between = _distances(self._features, x)
        among = _distances(x, x).fill_diagonal_(torch.inf)
        nearest = among.topk(3, largest=False).values
        found = {
            "pixels": pixels,
            "features": features,
            "labels": labels,
            "mean": mean,
            "covariance": covariance,
            "density_coverage": _density_coverage(between, self._radii),
            "precision_recall": _precision_recall(between, self._radii_of_3, nearest[:, 2]),
            "near_duplicates": _mean(nearest[:, 0] <= self._real.duplicate_distance),
            "memorised": self._memorised(x),
            "bin_counts": _counts(_distances(x, self._centres).argmin(1), len(self._centres)),
            "spread": _spread(pixels),
            "ms_ssim": _ms_ssim(pixels, labels),
        }
        return found if requested is None else {**found, "density_coverage_within": self._within_classes(x, requested)}

    def _memorised(self, x: Tensor) -> Tensor:
        """Return `TrainingImages.share` of features (N, d), compared with AT_A_TIME training images at a time."""
        if not len(self._training):
            return torch.full((), torch.nan, dtype=torch.float64, device=x.device)
        nearest = torch.stack([_distances(x, part).amin(1) for part in torch.split(self._training, AT_A_TIME)]).amin(0)
        return _mean(nearest <= self._real.training.distance)

    def _within_classes(self, x: Tensor, requested: NDArray[np.int64]) -> Tensor:
        """Return (2, classes) density and coverage within each class, as `quality.within_classes`.

        The images of all classes are compared at once. Pairs of different classes are then ignored.

        Args:
            x: (N, d) features of samples.
            requested: (N,) requested classes.
        """
        classes = len(self._real.class_names)
        matched = [*quality.matched_classes(self._real.labels, requested, classes)]
        found = torch.full((2, classes), torch.nan, dtype=torch.float64, device=x.device)
        if not matched:
            return found
        sizes = [len(made) for _, _, made in matched]
        rows = [np.concatenate([m[1] for m in matched]), np.concatenate([m[2] for m in matched])]
        group = np.repeat(np.arange(len(matched)), sizes)
        there, made, groups = upload(torch.from_numpy(np.stack([*rows, group])), x.device)
        real, samples = self._unseen[there], x[made]
        together = groups[:, None] == groups
        among = _distances(real, real).masked_fill(~together, torch.inf).fill_diagonal_(torch.inf)
        radii = among.topk(NEIGHBOURS, largest=False).values[:, -1:]
        inside = (_distances(real, samples) < radii) & together
        of_class = (groups == torch.arange(len(matched), device=x.device)[:, None]).double()
        sums = torch.stack([inside.sum(1).double() / NEIGHBOURS, inside.any(1).double()])
        places = upload(torch.tensor([label for label, _, _ in matched]), x.device)
        return found.index_copy(1, places, sums @ of_class.T / of_class.sum(1))


def samples_of(found: Mapping[str, Tensor], requested: NDArray[np.int64] | None, real: RealSide) -> Samples:
    """Return samples whose properties were computed on a device.

    A property that was not computed there is computed by NumPy when a metric reads it.

    Args:
        found: Result of `RealOnDevice.measure`, copied to the CPU; `intact` may be added. Names are those of the
            properties and fields of `Samples`.
        requested: (N,) requested classes; None for an unconditional model.
        real: The real images.
    """
    known: dict[str, Any] = {name: tensor.numpy() for name, tensor in found.items()}
    pixels, features, labels = (known.pop(name) for name in ("pixels", "features", "labels"))
    intact = known.pop("intact", None)
    known["gaussian"] = Gaussian(known.pop("mean"), known.pop("covariance"))
    for name in NUMBERS:
        known[name] = known[name].tolist()
    samples = Samples(pixels, features, labels, requested, real, intact)
    vars(samples).update(known)  # where functools.cached_property looks for its value
    return samples


def upload(tensor: Tensor, device: torch.device) -> Tensor:
    """Copy a tensor from the host to a device without waiting for the device, and return the tensor there."""
    return tensor.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else tensor.to(device)


def _gaussian(x: Tensor) -> tuple[Tensor, Tensor]:
    mean = x.mean(0)
    centred = x - mean
    return mean, centred.T @ centred / (len(x) - 1)


def _distances(a: Tensor, b: Tensor) -> Tensor:
    """Return (N, M) Euclidean distances between rows, computed from differences, which is more exact than products."""
    return torch.cdist(a, b, compute_mode="donot_use_mm_for_euclid_dist")


def _density_coverage(between: Tensor, radii: Tensor) -> Tensor:
    inside = between < radii[:, None]
    return torch.stack([inside.sum().double() / (NEIGHBOURS * between.shape[1]), _mean(inside.any(1))])


def _precision_recall(between: Tensor, real_radii: Tensor, sample_radii: Tensor) -> Tensor:
    return torch.stack([_mean((between <= real_radii[:, None]).any(0)), _mean((between <= sample_radii).any(1))])


def _mean(values: Tensor) -> Tensor:
    return values.double().mean()


def _counts(labels: Tensor, classes: int) -> Tensor:
    return (labels[:, None] == torch.arange(classes, device=labels.device)).sum(0)


def _spread(pixels: Tensor) -> Tensor:
    """Return (2,) the spread across and within images, as `health.pixels.spread`.

    Sums are integers, so that equal images have a spread of exactly 0.
    """
    flat = pixels.flatten(1)
    squares = flat.int().square_()

    def deviation(dim: int, lost: int) -> Tensor:
        n, total = flat.shape[dim], flat.sum(dim)
        return ((n * squares.sum(dim) - total * total).double() / (n * (n - lost))).sqrt()

    return torch.stack([deviation(0, 1).mean(), deviation(1, 0).mean()])


def _ms_ssim(pixels: Tensor, labels: Tensor) -> Tensor:
    first, second, valid = _pairs_within(labels, PAIRS)
    a, b = pixels[first].double(), pixels[second].double()
    similarity: Tensor = host_pixels.similarity(a, b, lambda size: _window(size, pixels.device))
    return similarity.where(valid, 0.0).sum() / valid.sum()


@cache
def _window(size: int, device: torch.device) -> Tensor:
    return torch.from_numpy(host_pixels.ssim_window(size)).to(device)


def _pairs_within(labels: Tensor, count: int) -> tuple[Tensor, Tensor, Tensor]:
    """Return the pairs of `quality.pairs_within` as tensors of a fixed length.

    Returns:
        (pairs,) indices of the first samples, (pairs,) indices of the second samples, and (pairs,) whether each pair
        exists, where pairs is `count`, or the number of samples if that is smaller.
    """
    values, order = labels.sort(stable=True)
    places = torch.arange(len(labels), device=labels.device)
    is_second = (places - torch.searchsorted(values, values)) % 2 == 1
    chosen = order.where(is_second, len(labels)).argsort(stable=True)[:count]
    return order[chosen - 1], order[chosen], is_second[chosen]
