"""Architectures that are chains of blocks.

Modules like dcgan.py define the plain chains. This module adds what settings change: depth, separable convolutions,
another norm, conditioning and growth.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Protocol

from gansweep.networks.architecture import NetworkConfig
from gansweep.networks.block import Block, Layout

DEEPEST = 4


class Blocks(Protocol):
    """Python module of an architecture whose networks are sequences of blocks, listed from input to output.

    Attributes:
        SIZES: Supported sides of the images, in pixels.
    """

    @property
    def SIZES(self) -> tuple[int, ...]: ...  # noqa: N802  # a module's constant

    def generator(self, latent_dim: int, feature_maps: int, image_size: int, channels: int) -> tuple[Block, ...]: ...

    def discriminator(self, feature_maps: int, image_size: int, channels: int) -> tuple[Block, ...]: ...


@dataclass(frozen=True)
class Chains:
    """Architecture that is defined by a module of blocks.

    Layouts are cached, so that the thousands of trials of a sweep share those of equal arguments.
    """

    blocks: Blocks

    @property
    def image_sizes(self) -> tuple[int, ...]:
        return self.blocks.SIZES

    @lru_cache(maxsize=None, typed=True)  # noqa: B019  # architectures last as long as the process; 4.0 is no width
    def generator(
        self, latent_dim: int, feature_maps: int, image_size: int, channels: int, config: NetworkConfig
    ) -> Layout:
        first, *inner, last = self.blocks.generator(latent_dim, feature_maps, image_size, channels)
        inner = [replace(block, separable=config.generator_separable) for block in inner]
        return _conditioned([*_deepened([first, *inner], config.generator_depth), last], config)

    @lru_cache(maxsize=None, typed=True)  # noqa: B019  # architectures last as long as the process; 4.0 is no width
    def discriminator(
        self, feature_maps: int, image_size: int, channels: int, config: NetworkConfig, *, grown: bool
    ) -> Layout:
        *blocks, head = self.blocks.discriminator(feature_maps, image_size, channels)
        blocks = [replace(block, separable=config.discriminator_separable) for block in blocks]
        if config.norm is not None:
            blocks[1:] = [replace(block, norm=config.norm) for block in blocks[1:]]
        blocks = _deepened(blocks, config.discriminator_depth)
        if not grown and config.growth_adds == "block":
            depth = config.discriminator_depth
            blocks, (gone, *_) = blocks[:-depth], blocks[-depth:]
            head = replace(head, inputs=gone.inputs, kernel=gone.side, stride=1, padding=0, side=gone.side)
        return replace(_conditioned([*blocks, head], config), spectral_norm=config.spectral_norm)


def _deepened(blocks: Iterable[Block], depth: int) -> list[Block]:
    """Add depth − 1 blocks of 3×3 after each block, at its resolution. They have the norm of the last block.

    Raises:
        ValueError: The depth is not between 1 and DEEPEST. A damaged or forged checkpoint may contain any number.
    """
    if not 1 <= depth <= DEEPEST:
        raise ValueError(depth)
    found: list[Block] = []
    blocks = list(blocks)
    for block in blocks:
        extra = replace(
            block, inputs=block.outputs, kernel=3, stride=1, padding=1, side=block.output_side, transposed=False,
            bias=False, norm=blocks[-1].norm, flat=False,
        )  # fmt: skip
        found += [block, *[extra] * (depth - 1)]
    return found


def _conditioned(blocks: list[Block], config: NetworkConfig) -> Layout:
    """Return the layout of blocks, with the class as an input if the model is conditional.

    Raises:
        KeyError: The kind of conditioning is unknown.
    """
    first, *rest = blocks
    classes = len(config.classes)
    match config.conditioning:
        case "none":
            return Layout((first,), tuple(rest))
        case "concat":  # one constant plane per class, in addition to the input
            return Layout((replace(first, inputs=first.inputs + classes),), tuple(rest), classes)
        case "two_stream":  # a separate first block for the class; each block has half of the channels
            own = replace(first, outputs=first.outputs - first.outputs // 2)
            label = replace(first, inputs=classes, outputs=first.outputs // 2)
            return Layout((own, label), tuple(rest), classes)
        case unknown:
            raise KeyError(unknown)
