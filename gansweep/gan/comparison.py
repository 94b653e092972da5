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
from gansweep.gan.intact import Intact
from gansweep.health.evidence import RealSide, Samples
from gansweep.health.on_device import RealOnDevice, samples_of


class Comparison(Protocol):
    """Comparison of samples with real images."""

    def __call__(self, pixels: Tensor, requested: NDArray[np.int64] | None) -> Samples:
        """Compare samples with the real images. Return the evidence from which metrics of samples are computed.

        Args:
            pixels: (N, C, H, W) uint8, on the device of the comparison.
            requested: (N,) requested classes, for a conditional model.
        """
        ...


class OnCpu:
    """Comparison on the CPU: metrics are computed by NumPy.

    Args:
        embedding: Embedding of images.
        real: The real images.
        intact: Network that tells intact images from spoiled ones, if there is one.
    """

    def __init__(self, embedding: Embedding, real: RealSide, intact: Intact | None = None) -> None:
        self._embedding, self._real, self._intact = embedding, real, intact

    def __call__(self, pixels: Tensor, requested: NDArray[np.int64] | None) -> Samples:
        features, labels = self._embedding.embed(pixels)
        intact = self._intact(pixels).double().numpy() if self._intact else None
        return Samples(pixels.numpy(), features.numpy(), labels.numpy(), requested, self._real, intact)


class OnDevice:
    """Comparison by torch on a device. The host waits once per comparison, for the results.

    Args:
        embedding: Embedding of images.
        real: The real images.
        device: The device, to which the embedding, the real images and `intact` are copied.
        intact: Network that tells intact images from spoiled ones, if there is one.
    """

    def __init__(
        self, embedding: Embedding, real: RealSide, device: torch.device, intact: Intact | None = None
    ) -> None:
        self._embedding = copy.deepcopy(embedding).to(device)
        self._intact = copy.deepcopy(intact).to(device) if intact else None
        self._real, self._on_device = real, RealOnDevice(real, device)

    def __call__(self, pixels: Tensor, requested: NDArray[np.int64] | None) -> Samples:
        features, labels = self._embedding.embed(pixels)
        measured = self._on_device.measure(pixels, features, labels, requested)
        if self._intact:
            measured["intact"] = self._intact(pixels).double()
        return samples_of(HostCopy(measured).read(), requested, self._real)


def comparison(embedding: Embedding, real: RealSide, device: torch.device, intact: Intact | None = None) -> Comparison:
    """Return the object that compares samples on `device` with the real images. See `OnDevice` for the arguments."""
    if device.type == "cpu":
        return OnCpu(embedding, real, intact)
    return OnDevice(embedding, real, device, intact)


@contextmanager
def full_precision() -> Iterator[None]:
    """Compute in full float32 in the block. By default, CUDA uses TF32, with 10 bits of mantissa, for convolutions."""
    matmul, cudnn = torch.backends.cuda.matmul, torch.backends.cudnn
    before = matmul.allow_tf32, cudnn.allow_tf32
    matmul.allow_tf32 = cudnn.allow_tf32 = False
    try:
        yield
    finally:
        matmul.allow_tf32, cudnn.allow_tf32 = before
