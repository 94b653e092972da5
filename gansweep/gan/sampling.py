"""Images from a generator, and grids of them as PNG."""

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
CHUNK = 64  # images made at once by `in_chunks`


@contextmanager
def evaluating(network: nn.Module) -> Iterator[None]:
    """Eval mode without gradients; batch norms use and keep their running statistics."""
    network.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        network.train()


def sample(generator: nn.Module, z: Tensor, labels: Tensor | None = None) -> NDArray[np.uint8]:
    """z: (N, latent_dim), labels: (N,) int64 for a conditional generator → (N, C, H, W). NaN becomes 0.

    Touches no random stream.
    """
    with evaluating(generator):
        images = generator(z) if labels is None else generator(z, labels)
    pixels: NDArray[np.uint8] = images.nan_to_num(-1.0).add(1).mul(127.5).round().clamp(0, 255).byte().cpu().numpy()
    return pixels


def noise(latent_dim: int, count: int, seed: int, name: str = "draw") -> Tensor:
    """(count, latent_dim), standard normal: of one seed and name the first are the same, however many are asked for."""
    rng = stream(seed, name)
    return torch.cat([torch.randn(CHUNK, latent_dim, generator=rng) for _ in range(0, count, CHUNK)])[:count]


def walk(latent_dim: int, count: int, seed: int, frames: int, places: int) -> Iterator[Tensor]:
    """z of each frame, (count, latent_dim): a closed way that begins with `noise` itself and goes by so many
    places in equal time, this one included, from one to the next on an arc."""
    at = [noise(latent_dim, count, seed, name) for name in ("draw", *(f"walk {i}" for i in range(1, places)))]
    for frame in range(frames):
        place, rest = divmod(frame * places, frames)
        yield slerp(at[place], at[(place + 1) % places], rest / frames)


def slerp(p: Tensor, q: Tensor, share: float) -> Tensor:
    """Between p and q, (N, latent_dim), in each row (Shoemake 1985). On a straight line, where they lie on one."""
    cos = nn.functional.cosine_similarity(p, q, dim=1).clamp(-1, 1)[:, None]
    angle, sin = cos.acos(), (1 - cos.square()).sqrt()
    straight = sin < 1e-3
    of_p = torch.where(straight, 1 - share, ((1 - share) * angle).sin() / sin)
    of_q = torch.where(straight, share, (share * angle).sin() / sin)
    return of_p * p + of_q * q


def in_chunks(generator: nn.Module, z: Tensor, labels: Tensor | None = None) -> NDArray[np.uint8]:
    """`sample` for any number. Chunks are whole, and what was not asked for is cut off: sums depend on the size."""
    more = -len(z) % CHUNK
    z = nn.functional.pad(z, (0, 0, 0, more))
    labels = None if labels is None else nn.functional.pad(labels, (0, more))
    starts = range(0, len(z), CHUNK)
    parts = [sample(generator, z[i : i + CHUNK], None if labels is None else labels[i : i + CHUNK]) for i in starts]
    return np.concatenate(parts)[: len(z) - more]


def grid_png(images: NDArray[np.uint8], columns: int | None = None) -> bytes:
    """A grid, row by row, one image pixel a pixel, white between the images. (N, C, H, W), C 1 or 3.

    Near square, or with so many columns.
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
