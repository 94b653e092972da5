"""Kernel distances of two sets of features (Bińkowski et al. 2018), of any embedding. NumPy only.

KID is `kernel_distance` of Inception's features. In other embeddings it is not KID.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from gansweep.health.measure import Metric
from gansweep.health.quality import Floats, TooFewSamplesError

if TYPE_CHECKING:
    from gansweep.health.evidence import Samples

SUBSETS, SUBSET_SIZE = 100, 1_000  # as published, and as torch-fidelity
SEED = 2020  # that of torch-fidelity, so that its subsets are the same


def kernel_distance(
    samples: Floats, real: Floats, subsets: int = SUBSETS, size: int = SUBSET_SIZE
) -> tuple[float, float]:
    """Return mean and standard deviation of the squared kernel distance over random subsets.

    The mean is an unbiased estimate for any number of samples, so it may be slightly negative.

    Args:
        samples: (N, d) features.
        real: (M, d) features.
        subsets: Number of pairs of subsets.
        size: Number of rows of a subset.

    Raises:
        TooFewSamplesError: N or M is below `size`.
    """
    found = [*subset_distances(samples, real, subsets, size)]
    return float(np.mean(found)), float(np.std(found))


def subset_distances(samples: Floats, real: Floats, subsets: int = SUBSETS, size: int = SUBSET_SIZE) -> Iterator[float]:
    """Yield the squared kernel distance of each pair of random subsets, which `kernel_distance` averages."""
    if (least := min(len(samples), len(real))) < size:
        raise TooFewSamplesError(f"a kernel distance of subsets of {size:,}", least, size)
    rng = np.random.RandomState(SEED)
    for _ in range(subsets):
        chosen = samples[rng.choice(len(samples), size, replace=False)]
        yield squared_mmd(chosen, real[rng.choice(len(real), size, replace=False)])


def squared_mmd(a: Floats, b: Floats) -> float:
    """Return the unbiased estimate of the squared maximum mean discrepancy (Gretton et al. 2012, eq. 3).

    The kernel is (xᵀy / d + 1)³ (Bińkowski et al. 2018, section 4). It may be negative, and is NaN with a NaN in the
    features.

    Args:
        a: (N, d) features.
        b: (M, d) features.

    Raises:
        TooFewSamplesError: N or M is below 2.
    """
    if (least := min(len(a), len(b))) < 2:
        raise TooFewSamplesError("a kernel distance", least, 2)
    a, b = a.astype(np.float64), b.astype(np.float64)
    return _mean_of_pairs(a) + _mean_of_pairs(b) - 2 * float(_kernel(a, b).mean())


# Not recorded by evaluations, whose journals have fixed names: `gansweep evaluate` prints it.
KERNEL_DISTANCE: Metric[Samples] = Metric(
    "kernel_distance",
    "kernel distance",
    "unbiased squared kernel distance of samples and real images (that of KID, in other features); 0 is ideal",
    lambda s: squared_mmd(s.features, s.real.features),
    better="lower",
)


def _mean_of_pairs(x: Floats) -> float:
    """Return the mean of the kernel over all pairs of different rows."""
    kernel = _kernel(x, x)
    return float((kernel.sum() - np.trace(kernel)) / (len(x) * (len(x) - 1)))


def _kernel(a: Floats, b: Floats) -> NDArray[np.float64]:
    base = a @ b.T / a.shape[1] + 1
    found: NDArray[np.float64] = base * base * base  # ten times as fast as the operator for powers
    return found
