from __future__ import annotations

import copy
from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from gansweep.gan.networks import Discriminator, Generator, _image_convolution, _transposed_to_image

SIZES = pytest.mark.parametrize("size", [16, 28, 32, 64])
CHANNELS = pytest.mark.parametrize("channels", [1, 3])


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


@SIZES
@CHANNELS
def test_shapes_and_range(size: int, channels: int) -> None:
    images = Generator(5, 2, size, channels)(torch.randn(3, 5))
    assert images.shape == (3, channels, size, size)
    assert images.abs().max() <= 1
    assert Discriminator(2, size, channels)(images).shape == (3,)


def values_and_gradients(function: Callable[..., Tensor], *inputs: Tensor) -> tuple[Tensor, ...]:
    leaves = [x.clone().requires_grad_() for x in inputs]
    outputs = function(*leaves)
    weights = torch.linspace(-1, 1, outputs.numel(), dtype=outputs.dtype).view(outputs.shape)
    return outputs, *torch.autograd.grad((outputs * weights).sum(), leaves)


@CHANNELS
@pytest.mark.parametrize("side", [4, 14, 32])
def test_the_image_convolution_equals_conv2d(channels: int, side: int) -> None:
    images = torch.randn(2, channels, side, side, dtype=torch.float64)
    weight = torch.randn(6, channels, 4, 4, dtype=torch.float64)
    ours = values_and_gradients(_image_convolution, images, weight)
    plain = values_and_gradients(lambda x, w: F.conv2d(x, w, stride=2, padding=1), images, weight)
    torch.testing.assert_close(ours, plain)


@CHANNELS
@pytest.mark.parametrize("side", [2, 7, 16])
def test_the_transposed_image_convolution_equals_conv_transpose2d(channels: int, side: int) -> None:
    maps = torch.randn(2, 6, side, side, dtype=torch.float64)
    weight = torch.randn(6, channels, 4, 4, dtype=torch.float64)
    ours = values_and_gradients(_transposed_to_image, maps, weight)
    plain = values_and_gradients(lambda x, w: F.conv_transpose2d(x, w, stride=2, padding=1), maps, weight)
    torch.testing.assert_close(ours, plain)


@SIZES
@CHANNELS
def test_whole_networks_equal_plain_layers(size: int, channels: int) -> None:
    g, d = Generator(5, 2, size, channels).double(), Discriminator(2, size, channels).double()
    z = torch.randn(4, 5, dtype=torch.float64)
    x = F.conv_transpose2d(z[:, :, None, None], g.weights[0])
    for norm, weight in zip(copy.deepcopy(g.norms), g.weights[1:], strict=True):
        x = F.conv_transpose2d(F.relu(norm(x)), weight, stride=2, padding=1)
    images = torch.tanh(x)
    torch.testing.assert_close(g(z), images)
    x = F.leaky_relu(F.conv2d(images, d.weights[0], stride=2, padding=1), 0.2)
    for norm, weight in zip(copy.deepcopy(d.norms), d.weights[1:-1], strict=True):
        x = F.leaky_relu(norm(F.conv2d(x, weight, stride=2, padding=1)), 0.2)
    torch.testing.assert_close(d(images), F.conv2d(x, d.weights[-1]).flatten())


def test_groups_equal_passes_one_after_another() -> None:
    together = Discriminator(4, 32, 1).double()
    apart = copy.deepcopy(together)
    real, fakes = torch.randn(2, 6, 1, 32, 32, dtype=torch.float64)
    logits = together(torch.cat([real, fakes]), groups=2)
    torch.testing.assert_close(logits, torch.cat([apart(real), apart(fakes)]))
    torch.testing.assert_close(together.state_dict(), apart.state_dict())
    assert not torch.allclose(logits, together(torch.cat([real, fakes])))


def test_initial_weights_are_those_of_the_paper() -> None:
    for network in (Generator(50, 16, 32, 1), Discriminator(16, 32, 1)):
        weights = torch.cat([w.detach().flatten() for w in network.weights])
        scales = torch.cat([n.weight.detach() for n in network.norms])
        assert abs(float(weights.mean())) < 1e-3
        assert float(weights.std()) == pytest.approx(0.02, rel=0.03)
        assert float(scales.mean()) == pytest.approx(1.0, abs=0.01)
        assert float(scales.std()) == pytest.approx(0.02, rel=0.3)
        assert all((n.bias == 0).all() for n in network.norms)


def test_in_eval_mode_an_image_does_not_depend_on_its_neighbours() -> None:
    g = Generator(5, 4, 16, 1).eval()
    z = torch.randn(6, 5)
    torch.testing.assert_close(g(z)[2:3], g(z[2:3]))
