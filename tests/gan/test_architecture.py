from __future__ import annotations

import pytest
import torch

from gansweep.gan.architecture import discriminator_layers, generator_layers
from gansweep.gan.networks import Discriminator, Generator
from gansweep.gan.training import parameter_count

SIZES = pytest.mark.parametrize("size", [16, 28, 32, 64])
CHANNELS = pytest.mark.parametrize("channels", [1, 3])


@SIZES
@CHANNELS
@pytest.mark.parametrize("maps", [1, 4])
def test_counts_equal_the_built_networks(size: int, channels: int, maps: int) -> None:
    for layers, network in (
        (generator_layers(7, maps, size, channels), Generator(7, maps, size, channels)),
        (discriminator_layers(maps, size, channels), Discriminator(maps, size, channels)),
    ):
        assert sum(x.parameters for x in layers) == parameter_count(network)
        floats = [b for b in network.buffers() if b.is_floating_point()]
        assert sum(x.buffers for x in layers) == sum(b.numel() for b in floats)


def test_the_tutorials_networks_have_the_tutorials_size() -> None:
    """https://docs.pytorch.org/tutorials/beginner/dcgan_faces_tutorial.html: 64 px, 64 maps, RGB."""
    assert parameter_count(Generator(100, 64, 64, 3)) == 3_576_704
    assert parameter_count(Discriminator(64, 64, 3)) == 2_765_568


@SIZES
@CHANNELS
def test_multiply_adds_use_every_weight_once_a_position(size: int, channels: int) -> None:
    for transposed, layers in (
        (True, generator_layers(5, 4, size, channels)),
        (False, discriminator_layers(4, size, channels)),
    ):
        for i, layer in enumerate(layers):
            dense = i == (0 if transposed else len(layers) - 1)
            stride, padding = (1, 0) if dense else (2, 1)
            kind = torch.nn.ConvTranspose2d if transposed else torch.nn.Conv2d
            side = (1 if dense else layer.side // 2) if transposed else layer.side
            plain = kind(layer.inputs, layer.outputs, layer.kernel, stride, padding, bias=False)
            positions = min(side, plain(torch.zeros(1, layer.inputs, side, side)).shape[-1]) ** 2
            assert layer.multiply_adds == plain.weight.numel() * positions


@SIZES
def test_both_networks_mirror_each_other(size: int) -> None:
    g, d = generator_layers(5, 4, size, 3), discriminator_layers(4, size, 3)
    assert [(x.inputs, x.outputs, x.side) for x in g[1:]] == [(x.outputs, x.inputs, x.side) for x in d[-2::-1]]


def test_other_sizes_are_refused() -> None:
    with pytest.raises(KeyError):
        generator_layers(5, 4, 48, 1)
    with pytest.raises(KeyError):
        discriminator_layers(4, 48, 1)
