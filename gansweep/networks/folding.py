"""Folding of 2×2 blocks of pixels into channels, and its inverse, with gradients.

Both only permute values. As one operation of torch, the permutation copies runs of two values, which takes a CPU as
long as a convolution of the result. On a CPU with gradients enabled, each plane of the folded images is therefore
copied by itself, in runs of a row. On a GPU, and without gradients, the permutation is one operation.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor


def fold(images: Tensor) -> Tensor:
    """Fold images, (N, C, 2H, 2W), to (N, 4C, H, W) in channels-last memory format.

    Channel 4c + 2i + j holds the pixels of channel c in rows 2a + i and columns 2b + j.
    """
    if _by_planes(images):
        folded: Tensor = _Fold.apply(images)
        return folded
    n, c, h, w = images.shape
    blocks = images.view(n, c, h // 2, 2, w // 2, 2).permute(0, 2, 4, 1, 3, 5)
    return blocks.reshape(n, h // 2, w // 2, 4 * c).permute(0, 3, 1, 2)


def unfold(folded: Tensor) -> Tensor:
    """Unfold (N, 4C, H, W) to images, (N, C, 2H, 2W): the inverse of `fold`."""
    if _by_planes(folded):
        images: Tensor = _Unfold.apply(folded)
        return images
    n, c, h, w = folded.shape
    blocks = folded.view(n, c // 4, 2, 2, h, w).permute(0, 1, 4, 2, 5, 3)
    return blocks.reshape(n, c // 4, 2 * h, 2 * w)


def _by_planes(x: Tensor) -> bool:
    return x.device.type == "cpu" and torch.is_grad_enabled()


def _planes(images: Tensor) -> Iterator[Tensor]:
    """Yield one view, (N, H, W), of the images, (N, C, 2H, 2W), for each of the 4C channels of the folded images."""
    for channel, i, j in itertools.product(range(images.shape[1]), range(2), range(2)):
        yield images[:, channel, i::2, j::2]


class _Fold(torch.autograd.Function):
    """`fold`, copying plane by plane. Gradients are permuted by the inverse, `unfold`."""

    @staticmethod
    def forward(ctx: Any, images: Tensor) -> Tensor:
        n, c, h, w = images.shape
        blocks = images.new_empty(n, h // 2, w // 2, 4 * c)
        for folded, plane in zip(blocks.unbind(3), _planes(images), strict=True):
            folded.copy_(plane)
        return blocks.permute(0, 3, 1, 2)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Any:
        return _Unfold.apply(gradient)


class _Unfold(torch.autograd.Function):
    """`unfold`, copying plane by plane. Gradients are permuted by the inverse, `fold`."""

    @staticmethod
    def forward(ctx: Any, folded: Tensor) -> Tensor:
        n, c, h, w = folded.shape
        images = folded.new_empty(n, c // 4, 2 * h, 2 * w)
        for plane, channel in zip(_planes(images), folded.unbind(1), strict=True):
            plane.copy_(channel)
        return images

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Any:
        return _Fold.apply(gradient)
