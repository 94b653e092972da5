"""Principal components of the pixels of images reduced to 16 px: a poor embedding, but one that serves any set."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from gansweep.gan.data import FEATURES
from gansweep.gan.features import small
from gansweep.gan.features.base import Embedding, Stored, UnsuitableError, one_thread
from gansweep.gan.features.recipe import Request, Source
from gansweep.gan.features.small import Small

NAME = "principal_components"


def make(request: Request) -> Embedding:
    """Return the embedding that projects images onto the first principal components of the set's images.

    Raises:
        UnsuitableError: The set has FEATURES images or fewer.
    """
    if len(request.pixels) <= FEATURES:
        raise UnsuitableError(f"{len(request.pixels)} images are too few for {FEATURES} components")
    with one_thread():
        return fit(request.pixels)


def restore(stored: Stored, source: Source) -> Embedding:
    """Restore a stored embedding."""
    return small.restore(stored)


def fit(pixels: Tensor) -> Small:
    """Return the embedding that projects images onto the first FEATURES principal components (Pearson 1901).

    Args:
        pixels: (N, C, H, W) uint8, N > FEATURES.
    """
    network = Small(pixels.shape[1], 0, NAME)
    network.frozen()
    x = small.reduced(pixels).flatten(1).double()
    mean = x.mean(0)
    _, vectors = torch.linalg.eigh(torch.cov((x - mean).T))
    axes = vectors[:, -FEATURES:].T
    signs = axes.gather(1, axes.abs().argmax(1, keepdim=True)).sign()  # the sign of an eigenvector is arbitrary
    linear = network.body[1]
    assert isinstance(linear, nn.Linear)
    linear.weight.copy_(axes * signs)
    linear.bias.copy_(-(axes * signs) @ mean)
    return network
