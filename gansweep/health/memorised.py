"""Training images that samples may be copies of. NumPy only."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from gansweep.health.quality import COPY, DUPLICATE_QUANTILE, Floats

AT_A_TIME = 2_000  # rows of either side, which bounds the memory of distances


@dataclass(frozen=True)
class TrainingImages:
    """Training images in an embedding, with the distance from them up to which a sample counts as memorised.

    Args:
        features: (K, d) features of the training images.
        distance: A sample counts as memorised if the nearest training image is at most this far away. Other real images
            are seldom that near to one.
    """

    features: NDArray[np.float32]
    distance: float

    @classmethod
    def of(cls, training: NDArray[np.float32], fresh: NDArray[np.float32]) -> Self:
        """Return training images, with a distance calibrated by other real images.

        A share DUPLICATE_QUANTILE of the other images is at most this far from the nearest training image.
        Training images with an exact copy among the other images are left out: a sample that equals an image that the
        data set repeats does not show that G has memorised it.

        Args:
            training: (N, d) features.
            fresh: (M, d) features of other real images, M at least 1.
        """
        spread = float(np.sqrt(fresh.var(axis=0, dtype=np.float64).sum()))
        kept = training[nearest(training, fresh) > COPY * spread]
        distance = float(np.quantile(nearest(fresh, kept), DUPLICATE_QUANTILE)) if len(kept) else 0.0
        return cls(kept, distance)

    def share(self, samples: Floats) -> float:
        """Return the share (0…1) of samples, (N, d), that count as memorised; NaN without training images."""
        return float((nearest(samples, self.features) <= self.distance).mean()) if len(self.features) else math.nan


def nearest(rows: Floats, others: Floats) -> Floats:
    """Return (N,) the distance of each of the rows (N, d) to the nearest of the others (M, d), for M at least 1."""
    parts = [rows[at : at + AT_A_TIME] for at in range(0, len(rows), AT_A_TIME)]
    return np.concatenate([_nearest(part.astype(np.float64), others) for part in parts])


def _nearest(rows: NDArray[np.float64], others: Floats) -> Floats:
    """Return `nearest` for at most AT_A_TIME rows.

    Only the smallest squares of distances are turned into distances, which halves the time.
    """
    found = np.full(len(rows), np.inf)
    for at in range(0, len(others), AT_A_TIME):
        part = others[at : at + AT_A_TIME].astype(np.float64)
        products = rows @ (-2 * part.T)
        products += (part**2).sum(axis=1)
        np.minimum(found, products.min(axis=1), out=found)
    squares = found + (rows**2).sum(axis=1)
    distances: Floats = np.sqrt(np.maximum(squares, 0))
    return distances
