"""Networks of study C (docs/studies.md), layer for layer, for 28×28 images only. The study has feature_maps = 32.

With `feature_maps` = f:

G: 1 → 2 → 4 → 8 → 16 → 28 pixels, maps 8f, 4f, 2f, f, image. D: 28 → 16 → 8 → 4 → 2 → 1, maps f, 2f, 4f, 8f, logit.
"""

from __future__ import annotations

from gansweep.networks.block import Block

SIZES = (28,)
SLOPE = 0.02


def generator(latent_dim: int, feature_maps: int, image_size: int, channels: int) -> tuple[Block, ...]:
    """Return the blocks of G. As z is 1×1, only the inner 2×2 of the first block's 4×4 kernel have an effect."""
    f = feature_maps
    widths = (latent_dim, 8 * f, 4 * f, 2 * f, f)
    doublings = (
        Block(widths[i], widths[i + 1], 4, 2, 1, 2**i, transposed=True, norm="batch", activation="relu")
        for i in range(4)
    )
    return (*doublings, Block(f, channels, 2, 2, 2, 16, transposed=True, activation="tanh"))


def discriminator(feature_maps: int, image_size: int, channels: int) -> tuple[Block, ...]:
    f = feature_maps
    first = Block(channels, f, 2, 2, 2, image_size, activation="leaky_relu", slope=SLOPE)
    halvings = (
        Block(f << i, f << (i + 1), 4, 2, 1, 16 >> i, norm="batch", activation="leaky_relu", slope=SLOPE)
        for i in range(3)
    )
    return (first, *halvings, Block(8 * f, 1, 4, 2, 1, 2, bias=True))
