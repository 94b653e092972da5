"""Sampling of images from a generator, and image grids as PNG."""

from __future__ import annotations

import io
import math
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor, nn

from gansweep.gan.batches import generator as stream

GAP = 2  # pixels between the images of a grid, so that strokes do not run from one into the next
CHUNK = 64  # images generated at a time by `in_chunks`
LARGE = 64  # pixels; only images with a larger side are generated in parts
MOST_PIXELS = 2**22  # pixels of large images that are generated at a time: those of 1,000 images of side 64


@contextmanager
def evaluating(network: nn.Module) -> Iterator[None]:
    """Put a network into eval mode without gradients during the block, and into training mode afterwards.

    In the block, batch norms use their running statistics and do not change them.
    """
    network.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        network.train()


def sample(generator: nn.Module, z: Tensor, labels: Tensor | None = None) -> NDArray[np.uint8]:
    """Return images (N, C, H, W) uint8 generated from z, as `sample_on_device`, on the host. Waits for the device."""
    pixels: NDArray[np.uint8] = sample_on_device(generator, z, labels).cpu().numpy()
    return pixels


def sample_on_device(
    generator: nn.Module, z: Tensor, labels: Tensor | None = None, image_size: int | None = None
) -> Tensor:
    """Return images (N, C, H, W) uint8 generated from z. NaN becomes 0. Uses no random stream.

    Args:
        generator: The generator.
        z: (N, latent_dim).
        labels: (N,) int64, for a conditional generator.
        image_size: Side of the images in pixels. If it exceeds LARGE, images are generated in parts, which bounds the
            memory. None: all images are generated at once.
    """
    at_once = len(z) if image_size is None or image_size <= LARGE else max(1, MOST_PIXELS // image_size**2)
    with evaluating(generator):
        if labels is None:
            made = [_pixels(generator(part)) for part in torch.split(z, at_once)]
        else:
            both = zip(torch.split(z, at_once), torch.split(labels, at_once), strict=True)
            made = [_pixels(generator(part, of)) for part, of in both]
    return made[0] if len(made) == 1 else torch.cat(made)


def _pixels(images: Tensor) -> Tensor:
    """Return images in [-1, 1] as uint8."""
    pixels: Tensor = images.nan_to_num(-1.0).add(1).mul(127.5).round().clamp(0, 255).byte()
    return pixels


def noise(latent_dim: int, count: int, seed: int, name: str = "draw") -> Tensor:
    """Return standard normal noise, (count, latent_dim).

    It depends on the seed and on `name`, which names the random stream. A larger count has the same first rows.
    """
    rng = stream(seed, name)
    return torch.cat([torch.randn(CHUNK, latent_dim, generator=rng) for _ in range(0, count, CHUNK)])[:count]


def draw_classes(shares: NDArray[np.floating], count: int, rng: torch.Generator) -> Tensor:
    """Return (count,) class indices in random order, whose shares are as close as possible to the given ones.

    Args:
        shares: (classes,) share of each class; their sum is 1.
        count: Number of classes to draw.
        rng: Random stream of the order.
    """
    ends = torch.from_numpy(shares).cumsum(0)
    classes = torch.searchsorted(ends, (torch.arange(count, dtype=ends.dtype) + 0.5) / count)
    return classes.clamp(max=len(ends) - 1)[torch.randperm(count, generator=rng)]


def walk(latent_dim: int, count: int, seed: int, frames: int, places: int) -> Iterator[Tensor]:
    """Yield the z of each of `frames` frames, (count, latent_dim), along a closed path for each row.

    The path begins at `noise(latent_dim, count, seed)`, visits `places` random points, of which this is the first, and
    returns to it. It moves along arcs (`slerp`) and takes about equally many frames from each point to the next.
    """
    at = [noise(latent_dim, count, seed, name) for name in ("draw", *(f"walk {i}" for i in range(1, places)))]
    for frame in range(frames):
        place, rest = divmod(frame * places, frames)
        yield slerp(at[place], at[(place + 1) % places], rest / frames)


def slerp(p: Tensor, q: Tensor, share: float) -> Tensor:
    """Interpolate each row between p and q, (N, latent_dim), on the sphere (Shoemake 1985).

    Collinear rows are interpolated linearly.
    """
    cos = nn.functional.cosine_similarity(p, q, dim=1).clamp(-1, 1)[:, None]
    angle, sin = cos.acos(), (1 - cos.square()).sqrt()
    straight = sin < 1e-3
    of_p = torch.where(straight, 1 - share, ((1 - share) * angle).sin() / sin)
    of_q = torch.where(straight, share, (share * angle).sin() / sin)
    return of_p * p + of_q * q


def in_chunks(generator: nn.Module, z: Tensor, labels: Tensor | None = None) -> NDArray[np.uint8]:
    """Return images (N, C, H, W) uint8 generated from z, CHUNK at a time, on the host.

    The last chunk is padded to CHUNK images and the surplus is dropped, because rounding depends on the batch size.
    """
    more = -len(z) % CHUNK
    z = nn.functional.pad(z, (0, 0, 0, more))
    labels = None if labels is None else nn.functional.pad(labels, (0, more))
    starts = range(0, len(z), CHUNK)
    parts = [sample(generator, z[i : i + CHUNK], None if labels is None else labels[i : i + CHUNK]) for i in starts]
    return np.concatenate(parts)[: len(z) - more]


def reduced(images: NDArray[np.uint8], side: int) -> NDArray[np.uint8]:
    """Return images (N, C, H, W) reduced to `side`: each new pixel is the mean of a square of pixels.

    Images with less than twice that side are returned unchanged.
    """
    factor = images.shape[2] // side
    if factor < 2:
        return images
    n, channels, height, width = images.shape
    squares = images.reshape(n, channels, height // factor, factor, width // factor, factor)
    means: NDArray[np.float32] = squares.mean((3, 5), dtype=np.float32)
    return np.rint(means).astype(np.uint8)


def grid_png(images: NDArray[np.uint8], columns: int | None = None) -> bytes:
    """Return a grid of images as a PNG, filled row by row, with white gaps. The images are not scaled.

    Args:
        images: (N, C, H, W) uint8, C 1 or 3.
        columns: Number of columns; by default the grid is nearly square.
    """
    n, channels, height, width = images.shape
    columns = columns or math.ceil(math.sqrt(n))
    rows = math.ceil(n / columns)
    cells = np.full((rows * columns, channels, height + GAP, width + GAP), 255, np.uint8)
    cells[:n, :, :height, :width] = images
    sheet = cells.reshape(rows, columns, channels, height + GAP, width + GAP).transpose(0, 3, 1, 4, 2)
    sheet = sheet.reshape(rows * (height + GAP), columns * (width + GAP), channels)[:-GAP, :-GAP]
    buffer = io.BytesIO()
    Image.fromarray(sheet.squeeze(2) if channels == 1 else sheet).save(buffer, "PNG")
    return buffer.getvalue()
