"""Images as networks see them: float, in three channels where they must be, at the network's side."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F


def resized(images: Tensor, side: int) -> Tensor:
    """Return images (N, C, H, W) at a side in pixels.

    Larger ones are reduced by bilinear interpolation with antialiasing, without which reduced images alias
    (Parmar, Zhang & Zhu 2022, section 3). Smaller ones are enlarged by bilinear interpolation, which adds no detail.
    """
    if images.shape[2] == side:
        return images
    return F.interpolate(
        images, size=(side, side), mode="bilinear", align_corners=False, antialias=images.shape[2] > side
    )


def in_colour(pixels: Tensor) -> Tensor:
    """Return images (N, 1 or 3, H, W) with three channels, which are equal in grey images."""
    return pixels.expand(-1, 3, -1, -1)


def to_float(pixels: Tensor) -> Tensor:
    """Return uint8 images as float32 from 0 to 255."""
    return pixels.to(torch.float32)
