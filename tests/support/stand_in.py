"""A small network with the interface of Inception: as a program, and as an extractor of torch-fidelity."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn

NAME = "stand-in"
SIDE, FEATURES, CLASSES = 4, 24, 10


class StandIn(nn.Module):
    """Fixed random features of images that are reduced to 4×4 pixels."""

    def __init__(self) -> None:
        super().__init__()
        rng = torch.Generator().manual_seed(7)
        self.register_buffer("first", torch.randn(3 * SIDE**2, FEATURES, generator=rng) / SIDE)
        self.register_buffer("last", torch.randn(FEATURES, CLASSES, generator=rng))

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Return features and logits of images (N, 3, H, W) uint8."""
        small = nn.functional.adaptive_avg_pool2d(images.float() / 127.5 - 1, SIDE).flatten(1)
        features = (small @ self.get_buffer("first")).tanh()
        return features, features @ self.get_buffer("last")


def write(path: Path, side: int = 16) -> Path:
    """Write the program for images of a side, in batches of any size."""
    images = torch.zeros(2, 3, side, side, dtype=torch.uint8)
    program = torch.export.export(StandIn(), (images,), dynamic_shapes=({0: torch.export.Dim.DYNAMIC},), strict=False)
    torch.export.save(program, path)
    return path
