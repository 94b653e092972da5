"""Properties of a prepared image set that a user should know before training on it."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gansweep.gan.data import ImageSet, Pixels

BLOCK = 1 << 24  # bytes read at a time, at least one image
ROW, MOST_ROWS = 16, 16  # images per row of a contact sheet, and rows
NAMED = 5  # numbers of images given as examples


@dataclass(frozen=True)
class Survey:
    """Properties of an image set.

    Attributes:
        per_class: Name of a class → number of its images.
        low: Smallest value of all pixels, 0 to 255.
        high: Largest value of all pixels.
        mean: Mean value of all pixels.
        duplicates: Numbers, from 0, of images whose pixels equal those of an earlier image.
        constant: Numbers, from 0, of images in which all values are equal.
    """

    per_class: dict[str, int]
    low: int
    high: int
    mean: float
    duplicates: tuple[int, ...]
    constant: tuple[int, ...]


def survey(images: ImageSet) -> Survey:
    """Return the properties of an image set. Reads all images once, in blocks."""
    seen: set[bytes] = set()
    duplicates, constant, sums = [], [], []
    low, high, at = 255, 0, 0
    for block in _blocks(images.load()):
        flat = block.reshape(len(block), -1)
        least, largest = flat.min(1), flat.max(1)
        low, high = min(low, int(least.min())), max(high, int(largest.max()))
        sums.append(int(flat.sum(dtype=np.int64)))
        constant += (at + np.flatnonzero(least == largest)).tolist()
        for number, row in enumerate(flat, at):
            digest = hashlib.blake2b(row.data, digest_size=16).digest()
            if digest in seen:
                duplicates.append(number)
            seen.add(digest)
        at += len(block)
    counts = np.bincount(images.labels(), minlength=len(images.classes)).tolist()
    mean = sum(sums) / (images.images * images.channels * images.image_size**2)
    return Survey(dict(zip(images.classes, counts, strict=True)), low, high, mean, tuple(duplicates), tuple(constant))


def contact_sheet(images: ImageSet) -> bytes:
    """Return a PNG with images that are evenly spaced over the set.

    Each class has one row, of at most ROW images, and only the first MOST_ROWS classes are shown. A set with one class
    has up to MOST_ROWS rows.
    """
    from gansweep.gan.sampling import grid_png

    labels, pixels = images.labels(), images.load()
    if len(images.classes) == 1:
        return grid_png(pixels[_spaced(np.arange(images.images), ROW * MOST_ROWS)], ROW)
    rows = []
    for label in range(min(len(images.classes), MOST_ROWS)):
        chosen = pixels[_spaced(np.flatnonzero(labels == label), ROW)]
        blank = np.full((ROW - len(chosen), *pixels.shape[1:]), 255, np.uint8)
        rows += [chosen, blank]
    return grid_png(np.concatenate(rows), ROW)


def _blocks(pixels: Pixels) -> Iterator[Pixels]:
    rows = max(1, BLOCK // pixels[0].nbytes)
    for at in range(0, len(pixels), rows):
        yield pixels[at : at + rows]


def _spaced(numbers: NDArray[np.intp], count: int) -> NDArray[np.intp]:
    """Return at most `count` of the numbers, evenly spaced."""
    places = np.linspace(0, len(numbers) - 1, min(count, len(numbers))).astype(np.intp)
    return np.take(numbers, places)
