"""Metrics of a user, for tests."""

from __future__ import annotations

import math

import numpy as np
import torch


def sharpness(real, samples):
    """Return the ratio of the mean differences of neighbouring pixels."""
    steps = [np.abs(np.diff(images.astype(float))).mean() for images in (samples, real)]
    return steps[0] / steps[1]


def unmeasured(real, samples):
    return math.nan


def tensor(real, samples):
    return torch.from_numpy(np.array(samples)).float().mean()


def vector(real, samples):
    return samples.mean((1, 2, 3))


def words(real, samples):
    return "sharp"


def nothing(real, samples):
    return None


def writing(real, samples):
    real[:] = 0
    return 1


def uneven(real, samples):
    """Fail on images that training makes, not on those of the check."""
    if samples.std() < 40:
        raise ValueError("too flat")
    return 1


LEVEL = 3
