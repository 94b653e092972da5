"""Comparison of samples with real images, on the device of the samples."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from gansweep.gan.features.base import Embedding
from gansweep.gan.host_copy import HostCopy
from gansweep.health.evidence import RealSide, Samples
from gansweep.health.on_device import RealOnDevice, samples_of


class Comparison(Protocol):
    """Comparison of samples with real images."""

    def __call__(self, pixels: Tensor, requested: NDArray[np.int64] | None) -> Samples:
        """Return what metrics of samples are computed from.

        Args:
            pixels: (N, C, H, W) uint8, on the device of the comparison.
            requested: (N,) requested classes, for a conditional model.
        """
        ...


class OnCpu:
    """Comparison by NumPy.

    Args:
        embedding: Embedding of images.
        real: The real images.
    """

    def __init__(self, embedding: Embedding, real: RealSide) -> None:
        self._embedding, self._real = embedding, real

    def __call__(self, pixels: Tensor, requested: NDArray[np.int64] | None) -> Samples:
        features, labels = self._embedding.embed(pixels)
        return Samples(pixels.numpy(), features.numpy(), labels.numpy(), requested, self._real)


class OnDevice:
    """Comparison by torch on a device, for which the host waits once.

    Args:
        embedding: Embedding of images.
        real: The real images.
        device: The device. It keeps a copy of both.
    """

    def __init__(self, embedding: Embedding, real: RealSide, device: torch.device) -> None:
        self._embedding = copy.deepcopy(embedding).to(device)
        self._real, self._on_device = real, RealOnDevice(real, device)

    def __call__(self, pixels: Tensor, requested: NDArray[np.int64] | None) -> Samples:
        features, labels = self._embedding.embed(pixels)
        found = HostCopy(self._on_device.measure(pixels, features, labels, requested)).read()
        return samples_of(found, requested, self._real)


def comparison(embedding: Embedding, real: RealSide, device: torch.device) -> Comparison:
    """Return the comparison for samples on a device."""
    return OnCpu(embedding, real) if device.type == "cpu" else OnDevice(embedding, real, device)


@contextmanager
def full_precision() -> Iterator[None]:
    """Compute in float32 as on the CPU: CUDA would use TF32, with 10 bits of mantissa, for convolutions."""
    matmul, cudnn = torch.backends.cuda.matmul, torch.backends.cudnn
    before = matmul.allow_tf32, cudnn.allow_tf32
    matmul.allow_tf32 = cudnn.allow_tf32 = False
    try:
        yield
    finally:
        matmul.allow_tf32, cudnn.allow_tf32 = before
