"""Small sets that embeddings are made for."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from gansweep.gan.features.base import Embedding
from gansweep.gan.features.recipe import Request, Source
from gansweep.usercode.code import Code

MakeRequest = Callable[..., Request]


@pytest.fixture(scope="session")
def make_request() -> MakeRequest:
    """(name, images=200, side=32, channels=3, classes=3) → a request whose classes are places of bright bars.

    Half of the images are held out.
    """

    def make(
        name: str,
        images: int = 200,
        side: int = 32,
        channels: int = 3,
        classes: int = 3,
        weights: Path | None = None,
        code: Code | None = None,
    ) -> Request:
        rng = np.random.default_rng(0)
        pixels = rng.integers(0, 90, (images, channels, side, side), np.uint8)
        labels = rng.integers(0, max(1, classes), images)
        width = side // max(1, classes)
        for image, label in zip(pixels, labels, strict=True):
            image[:, :, label * width : (label + 1) * width] += 120
        x, y, half = torch.from_numpy(pixels), torch.from_numpy(labels), images // 2
        names = tuple(f"class {i}" for i in range(classes))
        return Request(Source(name, weights, code or Code()), x[:half], y[:half], names, x[half:], y[half:])

    return make


def same(one: Embedding, other: Embedding, pixels: torch.Tensor) -> bool:
    """Whether two embeddings have the same facts, and give the same bits."""
    a, b = one.embed(pixels), other.embed(pixels)
    return one.description == other.description and torch.equal(a[0], b[0]) and torch.equal(a[1], b[1])


@pytest.fixture(scope="session", name="same")
def same_fixture() -> Callable[[Embedding, Embedding, torch.Tensor], bool]:
    """(one, other, pixels) → whether two embeddings have the same facts, and give the same bits."""
    return same
