"""Ranges of pixel values, and their conversion to 0 … 255."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
Range = tuple[float, float]
FLOATS: tuple[Range, ...] = ((0.0, 1.0), (-1.0, 1.0))  # ranges of floating-point images, the narrower first
INTEGERS: tuple[Range, ...] = ((0.0, 255.0),)
ROUNDING = 1e-4  # share of a range by which values may exceed it


def first_containing(ranges: Iterable[Range], low: float, high: float) -> Range | None:
    """Return the first range that contains `low` and `high`, up to ROUNDING; None if none does or if either is NaN."""
    for least, largest in ranges:
        room = ROUNDING * (largest - least)
        if least - room <= low and high <= largest + room:
            return least, largest
    return None


def to_bytes(values: Array, limits: Range) -> Array:
    """Scale values linearly so that the limits become 0 and 255; values beyond them are clipped."""
    low, high = limits
    whole = np.iinfo(np.uint8)
    if values.dtype == whole.dtype and (low, high) == (whole.min, whole.max):
        return values
    return np.rint((values.astype(np.float64).clip(low, high) - low) * (255 / (high - low))).astype(np.uint8)
