"""The interface of embeddings: frozen networks whose features samples are judged in.

Metrics computed on any of them must not be called FID.
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
    """An embedding that cannot serve a set of images. The message is the reason, a clause with figures."""


@dataclass(frozen=True)
class Description:
    """Facts of an embedding, for records.

    Attributes:
        name: As in the sweep file.
        version: That of `gansweep.features`.
        resolution: Side in pixels of the images that its network sees.
        dimensions: Features of the network, before they are reduced to at most FEATURES.
        parameters: Weights and biases of the network.
        multiply_adds: Cost of an image, in multiply-adds of convolutions and linear layers.
        device: Where it was trained; empty if it was not.
        accuracy: Share of held-out real images whose class it names; None without classes.
        checksum: SHA-256 of a file of weights, or hash of the user's code; empty without.
        notices: What a user should know, each one line.
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
        """Return the facts as plain data for JSON."""
        return {**asdict(self), "notices": list(self.notices)}

    @classmethod
    def of(cls, record: Mapping[str, Any]) -> Description:
        """Return the description that a record holds. Raises KeyError for another version's."""
        found = {one.name: record[one.name] for one in fields(cls)}
        return cls(**{**found, "notices": tuple(record["notices"])})


@dataclass(frozen=True)
class Stored:
    """What a recipe restores an embedding from.

    Attributes:
        tensors: Name → tensor. Weights that can be loaded from where they came are not among them.
        facts: Plain data for JSON.
    """

    tensors: Mapping[str, Tensor]
    facts: Mapping[str, Any]

    @property
    def classes(self) -> int:
        """Number of classes; 0 without labels."""
        return int(self.facts["classes"])

    @property
    def description(self) -> Description:
        """Facts of the embedding. Raises KeyError for another version's."""
        return Description.of(self.facts)


class Embedding(nn.Module):
    """A frozen network from images to features, and to labels if it knows classes.

    Attributes:
        chunk: Images at a time.
        classes: Number of classes; 0 without labels.
        description: Facts for records.
    """

    chunk = CHUNK

    def __init__(self, classes: int, description: Description) -> None:
        super().__init__()
        self.classes, self.description = classes, description

    def features(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        """Return features and labels of one chunk. See `embed`."""
        raise NotImplementedError

    @torch.no_grad()
    def embed(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        """Return features and labels of images. Bits are the same for the same number of threads.

        Args:
            pixels: (N, C, H, W) uint8 on the device of the embedding.

        Returns:
            (N, k) float32, k at most FEATURES and the same for all images, and (N,) int64, 0 without classes.
        """
        parts = [self.features(chunk) for chunk in torch.split(pixels, self.chunk)]
        return torch.cat([features for features, _ in parts]), torch.cat([labels for _, labels in parts])

    def stored(self) -> Stored:
        """Return what its recipe restores it from."""
        return Stored(self.state_dict(), {"classes": self.classes, **self.description.record()})

    def frozen(self) -> Embedding:
        """Return it in eval mode, without gradients."""
        return self.eval().requires_grad_(False)


@contextlib.contextmanager
def one_thread() -> Iterator[None]:
    """Compute on one thread: weights must not depend on the number of threads of a trial."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def no_labels(pixels: Tensor) -> Tensor:
    """Return the labels of images that an embedding without classes gives, (N,) int64 zeros."""
    return torch.zeros(len(pixels), dtype=torch.int64, device=pixels.device)
