"""All architectures by name, and what any of them can be composed with: depth, separable convolutions, another norm,
conditioning, growth. No torch.

One's own architecture is a module like dcgan.py (SIZES, generator, discriminator, which return the blocks from input
to output), a line in ARCHITECTURES, its name in config.py and, where its D has batch norm, in plan/conflicts.py.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Protocol

from gansweep.config import NetworkConfig
from gansweep.gan.networks import dcgan, dcgan_mnist28, projected
from gansweep.gan.networks.block import Block, Layout


class Architecture(Protocol):
    """A module. SIZES: sides of images that it can make."""

    @property
    def SIZES(self) -> tuple[int, ...]: ...  # noqa: N802  # a module's constant

    def generator(self, latent_dim: int, feature_maps: int, image_size: int, channels: int) -> tuple[Block, ...]: ...

    def discriminator(self, feature_maps: int, image_size: int, channels: int) -> tuple[Block, ...]: ...


ARCHITECTURES: dict[str, Architecture] = {
    "dcgan": dcgan,
    "dcgan_mnist28": dcgan_mnist28,
    "projected": projected,
}


PLAIN = NetworkConfig()
DEEPEST = 4


def generator_layout(
    latent_dim: int, feature_maps: int, image_size: int, channels: int, config: NetworkConfig = PLAIN
) -> Layout:
    """z: (N, latent_dim) to images. Raises KeyError for an unknown architecture or a size that it does not make."""
    c = config
    first, *inner, last = _architecture(c, image_size).generator(latent_dim, feature_maps, image_size, channels)
    inner = [replace(block, separable=c.generator_separable) for block in inner]
    blocks = [*_deepened([first, *inner], c.generator_depth), last]
    return _conditioned(blocks, c)


def discriminator_layout(
    feature_maps: int, image_size: int, channels: int, config: NetworkConfig = PLAIN, *, grown: bool = True
) -> Layout:
    """Images to logits. grown: False for a D that will get its last block later. Raises KeyError as above."""
    c = config
    *blocks, head = _architecture(c, image_size).discriminator(feature_maps, image_size, channels)
    blocks = [replace(block, separable=c.discriminator_separable) for block in blocks]
    if c.norm is not None:
        blocks[1:] = [replace(block, norm=c.norm) for block in blocks[1:]]
    blocks = _deepened(blocks, c.discriminator_depth)
    if not grown and c.growth_adds == "block":
        blocks, (gone, *_) = blocks[: -c.discriminator_depth], blocks[-c.discriminator_depth :]
        head = replace(head, inputs=gone.inputs, kernel=gone.side, stride=1, padding=0, side=gone.side)
    return _conditioned([*blocks, head], c)


def has_batch_norm(layout: Layout) -> bool:
    """Whether what it says of an image depends on the others of the batch."""
    return any(block.norm == "batch" for block in layout.blocks)


def _architecture(config: NetworkConfig, image_size: int) -> Architecture:
    found = ARCHITECTURES[config.architecture]
    if image_size not in found.SIZES:
        raise KeyError(image_size)
    return found


def _deepened(blocks: Iterable[Block], depth: int) -> list[Block]:
    """depth − 1 blocks of 3×3 after each, at its resolution. The image's first block has no norm, those after it the
    norm of all others. Raises ValueError for a depth that nobody means: a checkpoint may say anything."""
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
    first, *rest = blocks
    classes = len(config.classes)
    match config.conditioning:
        case "none":
            return Layout((first,), tuple(rest))
        case "concat":  # one constant plane a class, beside what comes in
            return Layout((replace(first, inputs=first.inputs + classes),), tuple(rest), classes)
        case "two_stream":  # a first block of its own for the class; each has half of the channels
            own = replace(first, outputs=first.outputs - first.outputs // 2)
            label = replace(first, inputs=classes, outputs=first.outputs // 2)
            return Layout((own, label), tuple(rest), classes)
        case unknown:
            raise KeyError(unknown)
