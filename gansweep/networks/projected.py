"""Networks of study B, reconstructed from their parameter counts (docs/studies.md).

Most of G's parameters are in the linear layer from z to the first map. D is small and has no norm.

G: base → 2 · base → 4 · base pixels, maps 4f, 2f, f, then a 3×3 convolution to the image. D: maps f, 2f, logit.
"""

from __future__ import annotations

from gansweep.networks.block import Block

SIZES = (16, 28, 32, 64)


def generator(latent_dim: int, feature_maps: int, image_size: int, channels: int) -> tuple[Block, ...]:
    f, base = feature_maps, image_size // 4
    return (
        Block(latent_dim, 4 * f, base, 1, 0, 1, True, bias=True, norm="batch", activation="relu", flat=True),
        Block(4 * f, 2 * f, 4, 2, 1, base, transposed=True, norm="batch", activation="relu"),
        Block(2 * f, f, 4, 2, 1, 2 * base, transposed=True, norm="batch", activation="relu"),
        Block(f, channels, 3, 1, 1, image_size, bias=True, activation="tanh"),
    )


def discriminator(feature_maps: int, image_size: int, channels: int) -> tuple[Block, ...]:
    f, base = feature_maps, image_size // 4
    return (
        Block(channels, f, 4, 2, 1, image_size, activation="leaky_relu"),
        Block(f, 2 * f, 4, 2, 1, 2 * base, activation="leaky_relu"),
        Block(2 * f, 1, base, 1, 0, base, bias=True),
    )
