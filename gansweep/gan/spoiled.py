"""Spoiled real images, which a network learns to distinguish from intact ones (gan/intact.py).

Each function in SPOILS takes real images and returns images that keep much of their texture but no longer show what
they showed. This is negative data augmentation (Sinha et al. 2021, "Negative Data Augmentation"), with pieces of other
images as in CutPaste (Li et al. 2021) and mixup (Zhang et al. 2018). Samples of a poor generator look like some of
these images.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F

DRAWN = 4  # independent draws of real images that a spoiled image is made of, at most
EDGE = 8.0  # steepness of the edges between pieces
Spoil = Callable[[Tensor, torch.Generator], Tensor]  # (DRAWN, n, C, S, S) in [-1, 1] → (n, C, S, S)


def quarters(drawn: Tensor, rng: torch.Generator) -> Tensor:
    """Return images composed of one quarter of each of four images, divided near the middle."""
    side = drawn.shape[-1]
    y, x = (torch.randint(-(side // 8), side // 8 + 1, (2,), generator=rng) + side // 2).tolist()
    found = drawn[0].clone()
    found[:, :, y:, :x] = drawn[1, :, :, y:, :x]
    found[:, :, :y, x:] = drawn[2, :, :, :y, x:]
    found[:, :, y:, x:] = drawn[3, :, :, y:, x:]
    return found


def halves(drawn: Tensor, rng: torch.Generator) -> Tensor:
    """Return images of two halves, divided by a line through the centre at any angle."""
    n, side = drawn.shape[1], drawn.shape[-1]
    angle = 2 * math.pi * torch.rand((n, 1, 1), generator=rng)
    at = torch.linspace(-1, 1, side)
    mask = torch.sigmoid(EDGE * (torch.cos(angle) * at[:, None] + torch.sin(angle) * at))[:, None]
    return drawn[0] * mask + drawn[1] * (1 - mask)


def pieces(drawn: Tensor, rng: torch.Generator) -> Tensor:
    """Return images in which irregular regions are replaced by those of other images."""
    mask = torch.sigmoid(EDGE * _smooth(drawn, 1, 5, rng))
    return drawn[0] * mask + drawn[1] * (1 - mask)


def overlaid(drawn: Tensor, rng: torch.Generator) -> Tensor:
    """Return overlays of two images each: the larger of the values at each pixel, or their mean."""
    if torch.rand((), generator=rng) < 0.5:
        return torch.maximum(drawn[0], drawn[1])
    return (drawn[0] + drawn[1]) / 2


def warped(drawn: Tensor, rng: torch.Generator) -> Tensor:
    """Return images bent by displacements with a standard deviation of about 1/8 to 9/32 of their side."""
    n, side = drawn.shape[1], drawn.shape[-1]
    return warp(drawn[0], side / 32 * (4 + 5 * torch.rand(n, generator=rng)), 6, rng)


def shuffled(drawn: Tensor, rng: torch.Generator) -> Tensor:
    """Return images that are cut into 4 or 16 squares, which are put together in random order."""
    n, channels, side = drawn.shape[1:4]
    k = 4 if torch.rand((), generator=rng) < 0.5 else 2
    squares = drawn[0].unfold(2, side // k, side // k).unfold(3, side // k, side // k)
    squares = squares.reshape(n, channels, k * k, side // k, side // k)
    order = torch.rand((n, k * k), generator=rng).argsort(1)[:, None, :, None, None].expand_as(squares)
    squares = squares.gather(2, order).reshape(n, channels, k, k, side // k, side // k)
    return squares.transpose(3, 4).reshape(n, channels, side, side)


def scrambled(drawn: Tensor, rng: torch.Generator) -> Tensor:
    """Return textures with the pixel values and roughly the amplitude spectrum of an image, but with random phases."""
    n, channels, side = drawn.shape[1:4]
    phases = torch.fft.rfft2(torch.randn((n, 1, side, side), generator=rng)).angle()
    texture = torch.fft.irfft2(torch.polar(torch.fft.rfft2(drawn[0]).abs(), phases.expand(n, channels, -1, -1)))
    ranks = texture.reshape(n, channels, -1).argsort(2).argsort(2)
    return drawn[0].reshape(n, channels, -1).sort(2).values.gather(2, ranks).reshape_as(drawn[0])


def tiled(drawn: Tensor, rng: torch.Generator) -> Tensor:
    """Return images that repeat one tile of noise, the same in all of them, with independent noise added."""
    n, channels, side = drawn.shape[1:4]
    tile = side // (8, 4, 2)[int(torch.randint(3, (), generator=rng))]
    repeated = torch.randn((1, channels, tile, tile), generator=rng).repeat(n, 1, side // tile, side // tile)
    return torch.tanh(repeated + 0.3 * torch.randn(drawn.shape[1:], generator=rng))


def erased(drawn: Tensor, rng: torch.Generator) -> Tensor:
    """Return images in which irregular regions, about half of the area, have the darkest value of the image."""
    kept = _smooth(drawn, 1, 4, rng) > 0
    return torch.where(kept, drawn[0], drawn[0].amin((2, 3), keepdim=True))


SPOILS: tuple[Spoil, ...] = (
    quarters, halves, pieces, overlaid, warped, shuffled, scrambled, tiled, erased,
)  # fmt: skip


def worn(images: Tensor, rng: torch.Generator) -> Tensor:
    """Return images with small flaws, which do not change what they show.

    They are moved, turned, scaled, bent a little, blurred, changed in contrast and brightness, and noisy. Samples of a
    good generator have such flaws too, so intact and spoiled images are both given them.

    Args:
        images: (N, C, S, S) in [-1, 1].
        rng: Random stream of the flaws.
    """
    n, channels, side, _ = images.shape

    def each() -> Tensor:
        return torch.rand((n, 1, 1, 1), generator=rng)

    images = _moved(images, rng)
    images = warp(images, side / 32 * torch.rand(n, generator=rng), 5, rng)
    if torch.rand((), generator=rng) < 0.5:
        images = _blurred(images, side / 32 * (0.4 + 0.8 * float(torch.rand((), generator=rng))))
    images = images * (0.6 + 0.8 * each()) + 0.3 * (each() - 0.5)
    images = images + 0.25 * each() * torch.randn(images.shape, generator=rng)
    if torch.rand((), generator=rng) < 0.3:  # as of transposed convolutions
        checkers = torch.randn((n, channels, side // 2, side // 2), generator=rng)
        images = images + 0.3 * each() * F.interpolate(checkers, scale_factor=2)
    return images.clamp(-1, 1)


def warp(images: Tensor, pixels: Tensor, grain: int, rng: torch.Generator) -> Tensor:
    """Return images that are bent by a smooth random field.

    Args:
        images: (N, C, S, S).
        pixels: (N,) standard deviation of the displacement, in pixels.
        grain: Side of the grid of independent displacements, between which displacements are interpolated.
        rng: Random stream of the displacements.
    """
    n, side = len(images), images.shape[-1]
    moved = _smooth(images, 2, grain, rng) * (2 / side * pixels)[:, None, None, None]
    straight = F.affine_grid(torch.eye(2, 3).expand(n, 2, 3), list(images.shape), align_corners=False)
    where = straight + moved.permute(0, 2, 3, 1)
    return F.grid_sample(images, where, padding_mode="border", align_corners=False)


def _smooth(like: Tensor, channels: int, grain: int, rng: torch.Generator) -> Tensor:
    """Return smooth random fields of about unit variance, (n, channels, S, S), for images `like`, (..., n, C, S, S)."""
    n, side = like.shape[-4], like.shape[-1]
    coarse = torch.randn((n, channels, grain, grain), generator=rng)
    return F.interpolate(coarse, size=(side, side), mode="bicubic", align_corners=True)


def _moved(images: Tensor, rng: torch.Generator) -> Tensor:
    """Return images turned by at most 8 degrees, scaled by at most 12 %, and moved by at most 3 % of their side."""
    n = len(images)
    angle = math.radians(8) * (2 * torch.rand(n, generator=rng) - 1)
    scale = 1 + 0.12 * (2 * torch.rand(n, generator=rng) - 1)
    x, y = 0.06 * (2 * torch.rand((2, n), generator=rng) - 1)
    cos, sin = torch.cos(angle) * scale, torch.sin(angle) * scale
    matrix = torch.stack([torch.stack([cos, -sin, x], 1), torch.stack([sin, cos, y], 1)], 1)
    where = F.affine_grid(matrix, list(images.shape), align_corners=False)
    return F.grid_sample(images, where, padding_mode="border", align_corners=False)


def _blurred(images: Tensor, deviation: float) -> Tensor:
    """Return images after a Gaussian filter.

    Args:
        images: (N, C, S, S).
        deviation: Standard deviation of the filter in pixels. The filter ends 4 pixels from its centre.
    """
    channels, reach = images.shape[1], 4
    line = torch.exp(-(torch.arange(-reach, reach + 1) ** 2) / (2 * deviation**2))
    line = (line / line.sum()).expand(channels, 1, -1)
    across = F.conv2d(F.pad(images, (reach, reach, 0, 0), "replicate"), line[:, :, None], groups=channels)
    return F.conv2d(F.pad(across, (0, 0, reach, reach), "replicate"), line[:, :, :, None], groups=channels)
