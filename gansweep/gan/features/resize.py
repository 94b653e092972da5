"""Conversion of images for networks: to float, to three channels, and to the side that a network sees."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F


def resized(images: Tensor, side: int) -> Tensor:
    """Resize square images, (N, C, H, W), to a side in pixels.

    Larger images are reduced by bilinear interpolation with antialiasing, without which reduced images alias
    (Parmar, Zhang & Zhu 2022, section 3). Smaller images are enlarged by bilinear interpolation, which adds no detail.
    """
    if images.shape[2] == side:
        return images
    return F.interpolate(
        images, size=(side, side), mode="bilinear", align_corners=False, antialias=images.shape[2] > side
    )


def in_colour(pixels: Tensor) -> Tensor:
    """Return images, (N, 1 or 3, H, W), with three channels. The channel of grey images is repeated."""
    return pixels.expand(-1, 3, -1, -1)


def to_float(pixels: Tensor) -> Tensor:
    """Return uint8 images as float32 from 0 to 255."""
    return pixels.to(torch.float32)
