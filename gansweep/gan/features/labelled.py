"""Labels for images in the features of an embedding that knows no classes."""

from __future__ import annotations

import torch
from torch import Tensor

from gansweep.gan.features.base import Embedding


class Labelled(Embedding):
    """An embedding without classes, with linear discriminants of its features (Fisher 1936; Hastie et al. 2009, 4.3).

    Args:
        embedding: The embedding.
        weight: (classes, k) float64.
        bias: (classes,) float64.
    """

    weight: Tensor
    bias: Tensor

    def __init__(self, embedding: Embedding, weight: Tensor, bias: Tensor) -> None:
        super().__init__(len(bias), embedding.description)
        self.embedding, self.chunk = embedding, embedding.chunk
        self.register_buffer("weight", weight)
        self.register_buffer("bias", bias)
        self.frozen()

    def features(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        features, _ = self.embedding.features(pixels)
        return features, (features.double() @ self.weight.T + self.bias).argmax(1)


def discriminants(features: Tensor, labels: Tensor, classes: int) -> tuple[Tensor, Tensor]:
    """Return weight (classes, k) and bias (classes,), float64, of the most probable class.

    Classes are taken as normal with a common covariance, and with the shares of the given images. A class without
    images is never chosen.

    Args:
        features: (N, k).
        labels: (N,) int64, below classes.
        classes: Number of classes.
    """
    x, members = features.double(), torch.nn.functional.one_hot(labels, classes).double()
    counts = members.sum(0)
    means = (members.T @ x) / counts.clamp(min=1)[:, None]
    within = x - means[labels]
    covariance = within.T @ within / len(x)
    covariance += 1e-6 * covariance.diagonal().mean().clamp(min=1e-12) * torch.eye(x.shape[1], dtype=x.dtype)
    weight = torch.linalg.solve(covariance, means.T).T
    bias = (counts / counts.sum()).log() - 0.5 * (weight * means).sum(1)
    return weight, bias
