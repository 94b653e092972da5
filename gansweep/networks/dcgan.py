"""DCGAN (Radford, Metz & Chintala 2016): batch norm in all blocks except the outermost, and no pooling.

The networks mirror each other. By side of the image: the sides of G's feature maps, and their numbers for
`feature_maps` = f:

    16: 4 → 8 → 16               2f, f, image
    28: 7 → 14 → 28              2f, f, image
    32: 4 → 8 → 16 → 32          4f, 2f, f, image
    64: 4 → 8 → 16 → 32 → 64     8f, 4f, 2f, f, image
    128: 4 → 8 → … → 64 → 128    16f, 8f, 4f, 2f, f, image
    256: 4 → 8 → … → 128 → 256   32f, 16f, 8f, 4f, 2f, f, image
"""

from __future__ import annotations

import itertools

from gansweep.networks.block import Block

BASE_AND_DOUBLINGS = {16: (4, 2), 28: (7, 2), 32: (4, 3), 64: (4, 4), 128: (4, 5), 256: (4, 6)}
SIZES = tuple(BASE_AND_DOUBLINGS)
KERNEL = 4


def generator(latent_dim: int, feature_maps: int, image_size: int, channels: int) -> tuple[Block, ...]:
    """Return the blocks of G: one from z (1×1) to the smallest feature map, then one for each doubling of the side."""
    base, doublings = BASE_AND_DOUBLINGS[image_size]
    widths = [feature_maps * 2 ** (doublings - 1 - i) for i in range(doublings)]
    blocks = [Block(latent_dim, widths[0], base, 1, 0, 1, True, norm="batch", activation="relu")]
    for i, (inputs, outputs) in enumerate(itertools.pairwise(widths)):
        side = base * 2**i
        blocks.append(Block(inputs, outputs, KERNEL, 2, 1, side, True, norm="batch", activation="relu"))
    return (*blocks, Block(widths[-1], channels, KERNEL, 2, 1, image_size // 2, True, activation="tanh"))


def discriminator(feature_maps: int, image_size: int, channels: int) -> tuple[Block, ...]:
    """Return the blocks of D: one for each halving of the side, then one from the smallest feature map to the logit."""
    base, doublings = BASE_AND_DOUBLINGS[image_size]
    widths = [feature_maps * 2**i for i in range(doublings)]
    blocks = [Block(channels, feature_maps, KERNEL, 2, 1, image_size, activation="leaky_relu")]
    for i, (inputs, outputs) in enumerate(itertools.pairwise(widths), 1):
        side = image_size // 2**i
        blocks.append(Block(inputs, outputs, KERNEL, 2, 1, side, norm="batch", activation="leaky_relu"))
    return (*blocks, Block(widths[-1], 1, base, 1, 0, base))
