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
CHUNK = 64  # images made at once by `draw`


@contextmanager
def evaluating(network: nn.Module) -> Iterator[None]:
    """Eval mode without gradients; batch norms use and keep their running statistics."""
    network.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        network.train()


def sample(generator: nn.Module, z: Tensor) -> NDArray[np.uint8]:
    """z: (N, latent_dim) → (N, C, H, W). Touches no random stream. NaN becomes 0."""
    with evaluating(generator):
        images = generator(z)
    pixels: NDArray[np.uint8] = images.nan_to_num(-1.0).add(1).mul(127.5).round().clamp(0, 255).byte().cpu().numpy()
    return pixels


def draw(generator: nn.Module, latent_dim: int, count: int, seed: int) -> NDArray[np.uint8]:
    """(count, C, H, W) from fresh noise. Of one seed the first images are the same, however many are drawn.

    Whole chunks are made and the rest cut off: random numbers and sums depend on the size of what is asked for.
    """
    rng = stream(seed, "draw")
    chunks = [sample(generator, torch.randn(CHUNK, latent_dim, generator=rng)) for _ in range(0, count, CHUNK)]
    return np.concatenate(chunks)[:count]


def grid_png(images: NDArray[np.uint8]) -> bytes:
    """A near-square grid, row by row, one image pixel a pixel, white between the images. (N, C, H, W), C 1 or 3."""
    n, channels, height, width = images.shape
    columns = math.ceil(math.sqrt(n))
    rows = math.ceil(n / columns)
    cells = np.full((rows * columns, channels, height + GAP, width + GAP), 255, np.uint8)
    cells[:n, :, :height, :width] = images
    sheet = cells.reshape(rows, columns, channels, height + GAP, width + GAP).transpose(0, 3, 1, 4, 2)
    sheet = sheet.reshape(rows * (height + GAP), columns * (width + GAP), channels)[:-GAP, :-GAP]
    buffer = io.BytesIO()
    Image.fromarray(sheet.squeeze(2) if channels == 1 else sheet).save(buffer, "PNG")
    return buffer.getvalue()
