"""The interface of embeddings: frozen networks whose features samples are judged in.

Metrics that are computed on these features must not be called FID.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

import torch
from torch import Tensor, nn

CHUNK = 256  # images at a time


class UnsuitableError(Exception):
    """Raised if an embedding cannot serve a set of images. The message is the reason, a clause with figures."""


@dataclass(frozen=True)
class Description:
    """Description of an embedding, for records.

    Attributes:
        name: Name in the sweep file.
        version: Version of the kind of embedding in `gansweep.features`.
        resolution: Side in pixels of the images that the network sees.
        dimensions: Number of the network's features, before they are reduced to at most FEATURES.
        parameters: Number of weights and biases of the network.
        multiply_adds: Cost of an image, in multiply-adds of convolutions and linear layers.
        device: Device on which gansweep computed the weights; empty for weights from elsewhere.
        accuracy: Share of held-out real images that are assigned to their class; None without classes.
        checksum: SHA-256 of the file of weights, or hash of the user's code; empty if there is neither.
        notices: Notices for the user, each one line.
    """

    name: str
    version: int
    resolution: int
    dimensions: int
    parameters: int
    multiply_adds: int
    device: str = ""
    accuracy: float | None = None
    checksum: str = ""
    notices: tuple[str, ...] = ()

    def record(self) -> dict[str, Any]:
        """Return the description as plain data for JSON."""
        return {**asdict(self), "notices": list(self.notices)}

    @classmethod
    def of(cls, record: Mapping[str, Any]) -> Description:
        """Restore a description from its record. Raises KeyError if the record, of another version, lacks a value."""
        found = {one.name: record[one.name] for one in fields(cls)}
        return cls(**{**found, "notices": tuple(record["notices"])})


@dataclass(frozen=True)
class Stored:
    """Stored data from which a recipe restores an embedding.

    Attributes:
        tensors: Name → tensor. Weights that are loaded from another file, such as the user's, are not among them.
        facts: Plain data for JSON: the description, the number of classes, and data of the recipe.
    """

    tensors: Mapping[str, Tensor]
    facts: Mapping[str, Any]

    @property
    def classes(self) -> int:
        """Number of classes; 0 without labels."""
        return int(self.facts["classes"])

    @property
    def description(self) -> Description:
        """Description of the embedding. Raises KeyError if the stored data, of another version, lack a value."""
        return Description.of(self.facts)


class Embedding(nn.Module):
    """A frozen network from images to features, and to labels if it knows classes.

    Attributes:
        chunk: Number of images that pass through the network at a time.
        classes: Number of classes; 0 without labels.
        description: Description for records.
    """

    chunk = CHUNK

    def __init__(self, classes: int, description: Description) -> None:
        super().__init__()
        self.classes, self.description = classes, description

    def features(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        """Return the features and labels of one chunk of images, in the form that `embed` returns."""
        raise NotImplementedError

    @torch.no_grad()
    def embed(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        """Return the features and labels of images. With the same number of threads they are the same bit for bit.

        Args:
            pixels: (N, C, H, W) uint8 on the device of the embedding.

        Returns:
            Features, (N, k) float32, where k ≤ FEATURES is the same for all images, and labels, (N,) int64, which are
            all 0 if the embedding knows no classes.
        """
        parts = [self.features(chunk) for chunk in torch.split(pixels, self.chunk)]
        return torch.cat([features for features, _ in parts]), torch.cat([labels for _, labels in parts])

    def stored(self) -> Stored:
        """Return the data from which the recipe restores the embedding."""
        return Stored(self.state_dict(), {"classes": self.classes, **self.description.record()})

    def frozen(self) -> Embedding:
        """Switch to eval mode without gradients, and return the embedding itself."""
        return self.eval().requires_grad_(False)


@contextlib.contextmanager
def one_thread() -> Iterator[None]:
    """Compute on one thread within the block: weights must not depend on the number of threads of a trial."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def no_labels(pixels: Tensor) -> Tensor:
    """Return the labels that an embedding without classes gives to N images: zeros, (N,) int64."""
    return torch.zeros(len(pixels), dtype=torch.int64, device=pixels.device)
