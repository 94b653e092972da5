"""Labels of images, computed from the features of an embedding that knows no classes."""

from __future__ import annotations

import torch
from torch import Tensor

from gansweep.gan.features.base import Embedding


class Labelled(Embedding):
    """An embedding whose labels are those of linear discriminants (Fisher 1936; Hastie et al. 2009, 4.3).

    Args:
        embedding: Embedding without classes, which computes the features.
        weight: Weight of the discriminants, (classes, k) float64.
        bias: Bias of the discriminants, (classes,) float64.
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
    """Fit linear discriminants: the most probable class of features is the one with the largest output.

    Features of a class are modelled as normally distributed, with the same covariance in all classes. The prior
    probability of a class is its share of the labels, so that a class without images is never chosen.

    Args:
        features: (N, k).
        labels: (N,) int64, from 0 to classes − 1.
        classes: Number of classes.

    Returns:
        Weight, (classes, k), and bias, (classes,), float64.
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
