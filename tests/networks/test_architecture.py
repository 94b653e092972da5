# Designs of the built-in architectures are chains of blocks.
# mypy: disable-error-code="attr-defined, list-item"

from __future__ import annotations

import itertools
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from gansweep.config import NetworkConfig
from gansweep.networks.block import Block, Layout
from gansweep.networks.chain import DEEPEST
from gansweep.networks.registry import ARCHITECTURES, discriminator_design, generator_design

SIZES = pytest.mark.parametrize("size", [16, 28, 32, 64, 128, 256])
LARGE = 64  # pixels; networks of larger images are built in few compositions, as the blocks are the same
CHANNELS = pytest.mark.parametrize("channels", [1, 3])
ABC = ("a", "b", "c")
COMPOSITIONS: dict[str, dict[str, Any]] = {
    "plain": {},
    "deep": {"generator_depth": 2, "discriminator_depth": 3},
    "separable": {"generator_separable": True, "discriminator_separable": True},
    "layer norm": {"norm": "layer"},
    "batch norm": {"norm": "batch"},
    "no norm": {"norm": "none"},
    "concat": {"conditioning": "concat", "classes": ABC},
    "two streams": {"conditioning": "two_stream", "classes": ABC},
    "spectral norm": {"spectral_norm": True},
    "growing": {"growth_at": 5},
    "a new head alone": {"growth_at": 5, "growth_adds": "head"},
    "everything": {
        "conditioning": "two_stream", "classes": ABC, "generator_depth": 2, "discriminator_depth": 2,
        "generator_separable": True, "discriminator_separable": True, "norm": "layer", "spectral_norm": True,
        "growth_at": 5,
    },
}  # fmt: skip
EVERYWHERE = pytest.mark.parametrize(
    ("architecture", "size", "changes"),
    [
        pytest.param(name, size, changes, id=f"{name}-{size}-{what}")
        for name, module in ARCHITECTURES.items()
        for size in module.image_sizes
        for what, changes in COMPOSITIONS.items()
        if size <= LARGE or what in ("plain", "everything")
    ],
)


def layouts(config: NetworkConfig, size: int, channels: int = 1, maps: int = 4) -> list[Layout]:
    """G's, D's before it grows, and D's."""
    return [
        generator_design(7, maps, size, channels, config),
        discriminator_design(maps, size, channels, config, grown=False),
        discriminator_design(maps, size, channels, config),
    ]


def numbers(network: nn.Module) -> int:
    return sum(p.numel() for p in network.parameters())


def statistics(network: nn.Module) -> int:
    """Running means and variances."""
    return sum(b.numel() for name, b in network.named_buffers() if ".running_" in name)


@EVERYWHERE
@CHANNELS
def test_counts_equal_the_built_networks_and_shapes_are_right(
    architecture: str, size: int, changes: dict[str, Any], channels: int
) -> None:
    config = NetworkConfig(architecture, **changes)
    labels = torch.tensor([2, 0]) if config.classes else None
    images = torch.zeros(2, channels, size, size)
    for i, layout in enumerate(layouts(config, size, channels)):
        network = layout.build()
        assert layout.parameters == numbers(network)
        assert layout.buffers == statistics(network)
        made = network(images if i else torch.zeros(2, 7), labels)
        assert made.shape == ((2,) if i else images.shape)


@EVERYWHERE
def test_blocks_fit_each_other(architecture: str, size: int, changes: dict[str, Any]) -> None:
    for layout in layouts(NetworkConfig(architecture, **changes), size):
        joined = sum(block.outputs for block in layout.streams)
        for block, after in itertools.pairwise([replace(layout.streams[0], outputs=joined), *layout.rest]):
            assert (block.outputs, block.output_side) == (after.inputs, after.side)


def test_the_tutorials_networks_have_the_tutorials_size() -> None:
    """https://docs.pytorch.org/tutorials/beginner/dcgan_faces_tutorial.html: 64 px, 64 maps, RGB."""
    assert generator_design(100, 64, 64, 3).parameters == 3_576_704
    assert discriminator_design(64, 64, 3).parameters == 2_765_568


@pytest.mark.parametrize("size", [128, 256])
def test_larger_images_have_one_more_block_for_each_doubling(size: int) -> None:
    """Sides and widths by the pattern of Radford et al.: the map of 4×4 has the most channels, each doubling half."""
    sides = [4 * 2**i for i in range(size.bit_length() - 2)]
    widths = [4 * (size // 2) // side for side in sides[:-1]]
    g, d = generator_design(7, 4, size, 3).blocks, discriminator_design(4, size, 3).blocks
    assert [b.output_side for b in g] == sides
    assert [b.outputs for b in g] == [*widths, 3]
    assert [b.outputs for b in d] == [*widths[::-1], 1]
    flat = NetworkConfig("projected")
    sides = [16 * 2**i for i in range(size.bit_length() - 4)]
    widths = [4 * size // side for side in sides]
    g, d = generator_design(7, 4, size, 3, flat).blocks, discriminator_design(4, size, 3, flat).blocks
    assert [b.output_side for b in g] == [*sides, size]
    assert [b.outputs for b in g] == [*widths, 3]
    assert [b.outputs for b in d] == [*widths[:0:-1], 1]


def test_the_studies_networks_have_the_studies_size() -> None:
    c, b, separable = (
        NetworkConfig("dcgan_mnist28"),
        NetworkConfig("projected"),
        NetworkConfig("projected", generator_separable=True, discriminator_separable=True),
    )
    assert generator_design(100, 32, 28, 1, c).parameters == 1_098_816
    assert discriminator_design(32, 28, 1, c).parameters == 693_249
    assert generator_design(100, 16, 28, 1, b).parameters == 364_209
    assert discriminator_design(16, 28, 1, b).parameters == 10_017
    assert generator_design(100, 16, 28, 1, separable).parameters == 326_577
    assert discriminator_design(48, 28, 1, separable).parameters == 10_145


def test_study_cs_sides_are_as_published() -> None:
    c = NetworkConfig("dcgan_mnist28")
    assert [b.output_side for b in generator_design(100, 32, 28, 1, c).blocks] == [2, 4, 8, 16, 28]
    assert [b.output_side for b in discriminator_design(32, 28, 1, c).blocks] == [16, 8, 4, 2, 1]
    assert [b.outputs for b in generator_design(100, 32, 28, 1, c).blocks] == [256, 128, 64, 32, 1]
    assert [b.outputs for b in discriminator_design(32, 28, 1, c).blocks] == [32, 64, 128, 256, 1]


PLACES = ("dcgan", "projected", "dcgan_mnist28")


@pytest.mark.parametrize("architecture", PLACES)
@pytest.mark.parametrize("separable", [False, True])
def test_multiply_adds_are_those_that_plain_layers_take(architecture: str, separable: bool) -> None:
    """torch counts an addition and a multiplication each; weights that meet nothing but padding count as well."""
    config = NetworkConfig(architecture, generator_separable=separable, discriminator_separable=separable)
    for layout in layouts(config, 28)[::2]:
        for block in layout.blocks:
            x = torch.zeros(1, block.inputs, block.side, block.side)
            with FlopCounterMode(display=False) as counter:
                for layer in plain_layers(block):
                    x = layer(x)
            counted = counter.get_total_flops() // 2
            assert x.shape == (1, block.outputs, block.output_side, block.output_side)
            assert block.multiply_adds == counted


def plain_layers(block: Block) -> list[nn.Module]:
    """Convolutions of a block, one after another."""
    k, s, p = block.kernel, block.stride, block.padding
    kind = nn.ConvTranspose2d if block.transposed else nn.Conv2d
    if not block.separable:
        return [kind(block.inputs, block.outputs, k, s, p, bias=False)]
    pointwise = nn.Conv2d(block.inputs, block.outputs, 1, bias=False)
    channels = block.outputs if block.transposed else block.inputs
    depthwise = kind(channels, channels, k, s, p, groups=channels, bias=False)
    return [pointwise, depthwise] if block.transposed else [depthwise, pointwise]


@SIZES
def test_both_networks_mirror_each_other(size: int) -> None:
    g, d = generator_design(5, 4, size, 3).blocks, discriminator_design(4, size, 3).blocks
    assert [(b.inputs, b.outputs, b.output_side) for b in g[1:]] == [(b.outputs, b.inputs, b.side) for b in d[-2::-1]]


@SIZES
def test_a_d_that_will_grow_lacks_its_last_block_and_nothing_else(size: int) -> None:
    for depth in (1, 2, 3):
        config = NetworkConfig(discriminator_depth=depth, growth_at=5)
        small = discriminator_design(4, size, 1, config, grown=False).blocks
        grown = discriminator_design(4, size, 1, config).blocks
        assert small[:-1] == grown[: len(small) - 1]
        assert len(grown) - len(small) == depth
        assert (small[-1].inputs, small[-1].side) == (small[-2].outputs, small[-2].output_side)
        assert (small[-1].outputs, small[-1].output_side) == (1, 1)


def test_one_whose_head_alone_is_made_anew_is_whole_from_the_start() -> None:
    config = NetworkConfig(growth_at=5, growth_adds="head")
    assert discriminator_design(4, 32, 1, config, grown=False) == discriminator_design(4, 32, 1)


def test_depth_adds_layers_at_each_resolution() -> None:
    for depth in range(1, DEEPEST + 1):
        config = NetworkConfig(generator_depth=depth, discriminator_depth=depth)
        g, d = generator_design(5, 4, 32, 1, config), discriminator_design(4, 32, 1, config)
        assert [b.output_side for b in g.blocks] == [s for s in (4, 8, 16) for _ in range(depth)] + [32]
        assert [b.output_side for b in d.blocks] == [s for s in (16, 8, 4) for _ in range(depth)] + [1]
    extra = d.blocks[1]
    assert (extra.kernel, extra.stride, extra.padding, extra.norm, extra.transposed) == (3, 1, 1, "batch", False)


@pytest.mark.parametrize("depth", [-1, 0, DEEPEST + 1, 10**12])
def test_depths_that_nobody_means_are_refused(depth: int) -> None:
    with pytest.raises(ValueError, match=str(depth)):
        generator_design(5, 4, 32, 1, NetworkConfig(generator_depth=depth))


@pytest.mark.parametrize("architecture", PLACES)
@pytest.mark.parametrize("norm", ["batch", "layer", "none"])
def test_a_norm_is_that_of_ds_inner_blocks_alone(architecture: str, norm: Any) -> None:
    config = NetworkConfig(architecture, norm=norm)
    d = discriminator_design(4, 28, 1, config)
    assert [b.norm for b in d.blocks] == ["none", *[norm] * (len(d.blocks) - 2), "none"]
    assert d.has_batch_norm == (norm == "batch")
    assert generator_design(5, 4, 28, 1, config) == generator_design(5, 4, 28, 1, NetworkConfig(architecture))


def test_width_and_depth_of_both_networks_are_independent() -> None:
    deep_g, deep_d = NetworkConfig(generator_depth=2), NetworkConfig(discriminator_depth=2)
    assert generator_design(5, 4, 32, 1, deep_d) == generator_design(5, 4, 32, 1)
    assert discriminator_design(4, 32, 1, deep_g) == discriminator_design(4, 32, 1)


@pytest.mark.parametrize(("architecture", "size"), [("dcgan", 48), ("dcgan_mnist28", 32), ("projected", 20)])
def test_other_sizes_are_refused(architecture: str, size: int) -> None:
    with pytest.raises(KeyError):
        generator_design(5, 4, size, 1, NetworkConfig(architecture))
    with pytest.raises(KeyError):
        discriminator_design(4, size, 1, NetworkConfig(architecture))


@pytest.mark.parametrize("changes", [{"architecture": "resnet"}, {"conditioning": "whatever"}])
def test_unknown_parts_are_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(KeyError):
        generator_design(5, 4, 32, 1, NetworkConfig(**changes))
