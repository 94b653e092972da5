"""Embeddings that end in the principal components of a network's features.

With the few hundred samples of an evaluation, the covariance of many hundred features is singular. All metrics are
therefore computed on at most FEATURES components, which are fitted to real images of the evaluator's training half.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from gansweep.features import embedding_kind
from gansweep.gan.data import FEATURES
from gansweep.gan.features.base import Description, Embedding, Stored, UnsuitableError, no_labels
from gansweep.gan.features.cost import multiply_adds_of, parameters_of

MOST_FITTED = 4_000  # images that components are fitted to
SMALLEST = 1e-6  # deviations and variances that are divided by are at least that


class Output(NamedTuple):
    """Output of a network.

    Attributes:
        features: (N, d) float32.
        logits: (N, classes); None without classes.
    """

    features: Tensor
    logits: Tensor | None = None


def described(
    name: str, network: nn.Module, side: int, image: Tensor, *, device: str = "", checksum: str = ""
) -> Description:
    """Return the description of an embedding whose network maps images to `Output`.

    Args:
        name: Name of the embedding.
        network: The network, in eval mode.
        side: Side in pixels of the images that the network sees.
        image: Any image of the set, (1, C, H, W) uint8, on which the network is run to count features and operations.
        device: Device on which gansweep trained the network; empty if it did not.
        checksum: SHA-256 of the network's file of weights; empty if there is none.
    """
    with torch.no_grad():
        output: Output = network(image)
    return Description(
        name=name,
        version=embedding_kind(name).version,
        resolution=side,
        dimensions=output.features.shape[1],
        parameters=parameters_of(network),
        multiply_adds=multiply_adds_of(network, image),
        device=device,
        checksum=checksum,
    )


class Projection(nn.Module):
    """Projection of features, (N, dimensions), onto principal components, (N, components) (Pearson 1901)."""

    mean: Tensor
    axes: Tensor

    def __init__(self, dimensions: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(dimensions))
        self.register_buffer("axes", torch.zeros(min(FEATURES, dimensions), dimensions))

    def forward(self, features: Tensor) -> Tensor:
        return (features - self.mean) @ self.axes.T

    def fit(self, features: Tensor, *, standardised: bool = False) -> Projection:
        """Fit the mean and the axes to features, and return the projection itself.

        Axes are in descending order of variance, with signs such that the entry of largest magnitude is positive.

        Args:
            features: (N, dimensions), N > FEATURES.
            standardised: Whether both the features, before the fit, and the resulting components are divided by their
                standard deviations, so that all count alike.
        """
        x = features.double()
        mean, scale = x.mean(0), x.std(0).clamp(min=SMALLEST) if standardised else 1.0
        x = (x - mean) / scale
        variances, vectors = torch.linalg.eigh(torch.cov(x.T).reshape(x.shape[1], x.shape[1]))
        k = len(self.axes)
        axes = vectors[:, -k:].flip(1).T
        axes = axes * axes.gather(1, axes.abs().argmax(1, keepdim=True)).sign()  # an eigenvector's sign is arbitrary
        if standardised:
            axes = axes / variances[-k:].flip(0).clamp(min=SMALLEST).sqrt()[:, None] / scale
        self.mean.copy_(mean)
        self.axes.copy_(axes)
        return self


class Projected(Embedding):
    """Principal components of the features of a network.

    Args:
        network: Maps images (N, C, H, W) uint8 to `Output`.
        classes: Number of classes; 0 without labels.
        description: Description for records.
        weights_elsewhere: Whether the recipe loads the network from another file, such as the user's, when it restores
            the embedding. Then only the components are stored.
    """

    chunk = 32  # what a convolution writes stays in the cache until the next one reads it

    def __init__(
        self, network: nn.Module, classes: int, description: Description, *, weights_elsewhere: bool = False
    ) -> None:
        super().__init__(classes, description)
        self.network, self.projection = network, Projection(description.dimensions)
        self.weights_elsewhere = weights_elsewhere
        self.frozen()

    def features(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        found: Output = self.network(pixels)
        labels = no_labels(pixels) if found.logits is None else found.logits.argmax(1)
        return self.projection(found.features), labels

    @torch.no_grad()
    def fit(self, pixels: Tensor, *, standardised: bool = False) -> Projected:
        """Fit the components to the network's features of real images, and return the embedding itself.

        Args:
            pixels: (N, C, H, W) uint8.
            standardised: As in `Projection.fit`.

        Raises:
            UnsuitableError: There are FEATURES images or fewer.
        """
        if len(pixels) <= FEATURES:
            raise UnsuitableError(f"{len(pixels)} images are too few for {FEATURES} components")
        features = torch.cat([self.network(chunk).features for chunk in torch.split(pixels, self.chunk)])
        self.projection.fit(features, standardised=standardised)
        return self

    def stored(self) -> Stored:
        found = super().stored()
        if not self.weights_elsewhere:
            return found
        tensors = {name: tensor for name, tensor in found.tensors.items() if name.startswith("projection.")}
        return Stored(tensors, found.facts)

    def load(self, stored: Stored) -> Projected:
        """Load the stored tensors, and return the embedding itself.

        Raises:
            KeyError, RuntimeError: The tensors are those of another embedding.
        """
        if self.weights_elsewhere:
            self.projection.load_state_dict({name: stored.tensors[f"projection.{name}"] for name in ("mean", "axes")})
        else:
            self.load_state_dict(dict(stored.tensors))
        return self
