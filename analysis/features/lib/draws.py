"""Draws of real images, degraded or not, from a data set: which image, and which version of it.

All images of draws are unseen: they are from the half that trains no embedding.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from analysis.features.lib import degradations
from analysis.features.lib.names import REAL
from gansweep import evaluation_halves

REFERENCE = 2_000  # unseen images that evaluations compare samples with, at most
MOST = 3_000  # images that draws take, at most
DEGRADED = 2_000  # of them, those that are degraded
HALF, POOLS = "half_classes", {"pool_20": 20, "pool_100": 100}
IN_POOLS = 200  # images of which pools are drawn
SHIFTS = [(1, 0), (0, 1), (1, 1)]  # pixels to the right and down; each image of a pool is also there unshifted


@dataclass(frozen=True)
class Draw:
    """Images of one draw.

    Attributes:
        parts: Name of a version of the images → indices of its rows. Versions: Bench.versions.
        order: (unseen,) order of the unseen images, of which the first are the reference; None: the usual one.
    """

    parts: dict[str, np.ndarray]
    order: np.ndarray | None = None

    def of(self, arrays):
        """Return the rows of this draw of version → array."""
        return np.concatenate([arrays[version][rows] for version, rows in self.parts.items()])


class Bench:
    """The unseen images of a data set, as a reference and as draws.

    The reference is that of evaluations, and draws take other images. A set with fewer than twice REFERENCE unseen
    images has too few for both: each draw then divides the unseen images anew, one half as the reference.
    """

    def __init__(self, images):
        unseen = evaluation_halves(images.images)[1]
        self.small = len(unseen) < 2 * REFERENCE
        self.chosen = unseen if self.small else unseen[REFERENCE : REFERENCE + MOST]
        self.channels, self.classes = images.channels, len(images.classes)
        self._images = images

    @cached_property
    def real(self):
        return self._images.load()[self.chosen]

    @cached_property
    def labels(self):
        return self._images.labels()[self.chosen]

    def without(self, pixels):
        """Return features that say nothing, and the true labels, of the images of a version."""
        return np.zeros((len(pixels), 1), np.float32), self.labels[: len(pixels)]

    def samples(self, wanted):
        """Return the number of images of a draw."""
        return min(wanted, len(self.chosen) // 2) if self.small else wanted

    def versions(self):
        """Return name → function that returns the images of a version, (rows, C, H, W)."""
        pooled = self.real if self.small else self.real[:IN_POOLS]
        found: dict[str, Callable] = {REAL: lambda: self.real}
        for name, degrade in degradations.of(self.channels).items():
            found[name] = lambda degrade=degrade: degrade(self.real[:DEGRADED], np.random.default_rng(0))
        for shift in SHIFTS:
            found[_name(shift)] = lambda shift=shift: degradations.shifted(pooled, *shift)
        return found

    def kinds(self):
        """Return the names of the degradations."""
        return [*degradations.of(self.channels), *([HALF] if self.classes > 1 else []), *POOLS]

    def draw(self, kind, number, samples):
        """Return draw `number` of a degradation, or of real images."""
        rng = np.random.default_rng([number, samples])
        order = rng.permutation(len(self.chosen)) if self.small else None
        there = np.arange(len(self.chosen)) if order is None else order[len(order) // 2 :]
        if kind == HALF:
            kept = rng.permutation(self.classes)[: self.classes // 2]
            there = there[np.isin(self.labels[there], kept)]
            return Draw({REAL: rng.choice(there, samples, replace=len(there) < samples)}, order)
        if kind in POOLS:
            few = rng.choice(there if self.small else there[:IN_POOLS], POOLS[kind], replace=False)
            rows, shift = rng.choice(few, samples), rng.integers(0, len(SHIFTS) + 1, samples)
            return Draw({name: rows[shift == at] for at, name in enumerate([REAL, *map(_name, SHIFTS)])}, order)
        return Draw({kind: rng.choice(there[there < DEGRADED], samples, replace=False)}, order)


def _name(shift):
    return f"shift_{shift[0]}_{shift[1]}"
