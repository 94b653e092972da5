"""Statistics of real images for a number of samples, which are stored in files beside the reference data."""

from __future__ import annotations

import hashlib
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from gansweep.errors import CheckpointError, UserError
from gansweep.gan import checkpoint
from gansweep.health import quality
from gansweep.health.quality import Bins, Floats, Gaussian

VERSION = 3  # of the files; increase if the computation changes
BINS = 20  # maximum for NDB: a dozen samples each at 256; fewer with fewer than ten real images per bin
DRAWS = 10  # pairs of real samples, for the FD that ratios are relative to


@dataclass(frozen=True)
class RealStatistics:
    """Statistics of unseen real images that depend on the number of samples.

    The attributes are described in `RealSide`, under the same names.
    """

    gaussian: Gaussian
    radii: Floats
    radii_of_3: Floats
    bins: Bins
    duplicate_distance: float
    near_duplicates: float
    baseline: float

    @classmethod
    def of(cls, features: NDArray[np.float32], samples: int) -> RealStatistics:
        """Return the statistics for comparisons with `samples` generated images.

        Args:
            features: (unseen, k) features of all unseen images.
            samples: Number of samples.

        Raises:
            TooFewSamplesError: There are too few samples for a statistic. A Fréchet distance needs at least k + 1.
        """
        real = features[:samples]
        rng = np.random.default_rng(0)
        draws = [rng.permutation(len(features)) for _ in range(DRAWS)]
        pairs = [(features[d[:samples]], features[d[samples : 2 * samples]]) for d in draws]
        baseline = [quality.frechet_distance(Gaussian.of(a), Gaussian.of(b)) for a, b in pairs]
        distance = quality.duplicate_distance(real)
        return cls(
            gaussian=Gaussian.of(real),
            radii=quality.neighbour_radii(real),
            radii_of_3=quality.neighbour_radii(real, 3),
            bins=Bins.of(features, min(BINS, len(features) // 10)),
            duplicate_distance=distance,
            near_duplicates=float(np.mean([quality.near_duplicates(a, distance) for a, _ in pairs])),
            baseline=float(np.mean(baseline)),
        )


def real_statistics(features: NDArray[np.float32], samples: int, reference: Path) -> RealStatistics:
    """Return the statistics for comparisons with `samples` generated images, from a file beside the reference data.

    If the file is missing, damaged or of other features, the statistics are computed and stored there. Computed and
    stored statistics are equal to the last bit.

    Args:
        features: (unseen, k) features of all unseen images.
        samples: Number of samples.
        reference: File of the reference data.

    Raises:
        TooFewSamplesError: There are too few samples for a statistic. A Fréchet distance needs at least k + 1.
    """
    path = reference.with_suffix(f".{samples}-samples-{VERSION}.safetensors")
    digest = hashlib.sha256(features.tobytes()).hexdigest()
    with suppress(CheckpointError, KeyError):  # missing or damaged
        tensors, meta = checkpoint.load(path)
        if meta["features"] == digest:
            return _from_file(tensors, meta)
    found = RealStatistics.of(features, samples)
    with suppress(UserError, OSError):  # a home that cannot be written stays without them
        checkpoint.save(path, _tensors(found), {**_numbers(found), "features": digest})
    return found


def _tensors(found: RealStatistics) -> dict[str, Tensor]:
    arrays = {
        "mean": found.gaussian.mean,
        "covariance": found.gaussian.covariance,
        "radii": found.radii,
        "radii_of_3": found.radii_of_3,
        "centres": found.bins.centres,
        "shares": found.bins.shares,
    }
    return {name: torch.from_numpy(np.ascontiguousarray(one)) for name, one in arrays.items()}


def _numbers(found: RealStatistics) -> dict[str, float]:
    """Return the statistics that are single numbers, by name. JSON stores them without loss."""
    names = ("duplicate_distance", "near_duplicates", "baseline")
    return {**{name: getattr(found, name) for name in names}, "real": found.bins.real}


def _from_file(tensors: dict[str, Tensor], meta: dict[str, Any]) -> RealStatistics:
    """Return the statistics from the tensors and metadata of a file.

    Raises:
        KeyError: A statistic is missing.
    """
    arrays = {name: one.numpy() for name, one in tensors.items()}
    return RealStatistics(
        gaussian=Gaussian(arrays["mean"], arrays["covariance"]),
        radii=arrays["radii"],
        radii_of_3=arrays["radii_of_3"],
        bins=Bins(arrays["centres"], arrays["shares"], meta["real"]),
        duplicate_distance=meta["duplicate_distance"],
        near_duplicates=meta["near_duplicates"],
        baseline=meta["baseline"],
    )
