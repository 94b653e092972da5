"""Networks of study B, reconstructed from their parameter counts (docs/studies.md).

Most of G's parameters are in the linear layer from z to the first map. D is small and has no norm.

With `feature_maps` = f and the side `base` of G's first map:

G: base → 2 · base → 4 · base pixels, maps 4f, 2f, f, then a 3×3 convolution to the image. D: maps f, 2f, logit.

The base is at most 16 pixels. For images of more than 64 pixels both networks have one more block for each doubling.
In G it has half of the maps of the block before, in D twice as many.
"""

from __future__ import annotations

import itertools

from gansweep.networks.block import Block

BASE_AND_DOUBLINGS = {16: (4, 2), 28: (7, 2), 32: (8, 2), 64: (16, 2), 128: (16, 3), 256: (16, 4)}
SIZES = tuple(BASE_AND_DOUBLINGS)


def generator(latent_dim: int, feature_maps: int, image_size: int, channels: int) -> tuple[Block, ...]:
    base, doublings = BASE_AND_DOUBLINGS[image_size]
    widths = [feature_maps << (doublings - i) for i in range(doublings + 1)]
    return (
        Block(latent_dim, widths[0], base, 1, 0, 1, True, bias=True, norm="batch", activation="relu", flat=True),
        *(
            Block(inputs, outputs, 4, 2, 1, base << i, transposed=True, norm="batch", activation="relu")
            for i, (inputs, outputs) in enumerate(itertools.pairwise(widths))
        ),
        Block(feature_maps, channels, 3, 1, 1, image_size, bias=True, activation="tanh"),
    )


def discriminator(feature_maps: int, image_size: int, channels: int) -> tuple[Block, ...]:
    base, doublings = BASE_AND_DOUBLINGS[image_size]
    widths = [channels, *(feature_maps << i for i in range(doublings))]
    halvings = (
        Block(inputs, outputs, 4, 2, 1, image_size >> i, activation="leaky_relu")
        for i, (inputs, outputs) in enumerate(itertools.pairwise(widths))
    )
    return (*halvings, Block(widths[-1], 1, base, 1, 0, base, bias=True))
