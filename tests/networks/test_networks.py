# Designs of the built-in architectures are chains of blocks.
# mypy: disable-error-code="attr-defined, list-item"

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from gansweep.config import NetworkConfig
from gansweep.networks.block import Layout
from gansweep.networks.network import Network, _image_convolution, _transposed_to_image
from gansweep.networks.registry import discriminator_design, generator_design

SIZES = pytest.mark.parametrize("size", [16, 28, 32, 64])
CHANNELS = pytest.mark.parametrize("channels", [1, 3])


def generator(latent_dim: int, maps: int, size: int, channels: int) -> Network:
    return Network(generator_design(latent_dim, maps, size, channels))


def discriminator(maps: int, size: int, channels: int) -> Network:
    return Network(discriminator_design(maps, size, channels))


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


@SIZES
@CHANNELS
def test_shapes_and_range(size: int, channels: int) -> None:
    images = generator(5, 2, size, channels)(torch.randn(3, 5))
    assert images.shape == (3, channels, size, size)
    assert images.abs().max() <= 1
    assert discriminator(2, size, channels)(images).shape == (3,)


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
    g, d = generator(5, 2, size, channels).double(), discriminator(2, size, channels).double()
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
    together = discriminator(4, 32, 1).double()
    apart = copy.deepcopy(together)
    real, fakes = torch.randn(2, 6, 1, 32, 32, dtype=torch.float64)
    logits = together(torch.cat([real, fakes]), groups=2)
    torch.testing.assert_close(logits, torch.cat([apart(real), apart(fakes)]))
    torch.testing.assert_close(together.state_dict(), apart.state_dict())
    assert not torch.allclose(logits, together(torch.cat([real, fakes])))


def test_initial_weights_are_those_of_the_paper() -> None:
    for network in (generator(50, 16, 32, 1), discriminator(16, 32, 1)):
        weights = torch.cat([w.detach().flatten() for w in network.weights])
        scales = torch.cat([n.state_dict()["weight"] for n in network.norms])
        assert abs(float(weights.mean())) < 1e-3
        assert float(weights.std()) == pytest.approx(0.02, rel=0.03)
        assert float(scales.mean()) == pytest.approx(1.0, abs=0.01)
        assert float(scales.std()) == pytest.approx(0.02, rel=0.3)
        assert all((n.state_dict()["bias"] == 0).all() for n in network.norms)


def test_in_eval_mode_an_image_does_not_depend_on_its_neighbours() -> None:
    g = generator(5, 4, 16, 1).eval()
    z = torch.randn(6, 5)
    torch.testing.assert_close(g(z)[2:3], g(z[2:3]))


# Other architectures, written plainly.


def filled(ours: Network, modules: Iterable[nn.Module]) -> None:
    """Give plain modules our weights, and both random biases."""
    weights, biases, norms = iter(ours.weights), iter(ours.biases), iter(ours.norms)
    with torch.no_grad():
        for module in modules:
            if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d | nn.GroupNorm):
                module.load_state_dict(next(norms).state_dict())
            elif isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
                module.weight.copy_(next(weights))
                if module.bias is not None:
                    module.bias.copy_(next(biases).normal_())
    assert [*weights, *biases, *norms] == []


def double(*modules: nn.Module) -> nn.Sequential:
    return nn.Sequential(*modules).double()


def assert_equal(ours: Network, plain: nn.Module, x: Tensor) -> None:
    """Outputs, gradients of the inputs, running statistics."""
    x = x.double()
    torch.testing.assert_close(values_and_gradients(ours, x), values_and_gradients(plain, x))
    statistics = [[b for name, b in network.named_buffers() if "running" in name] for network in (ours, plain)]
    torch.testing.assert_close(*statistics)


def up(inputs: int, outputs: int) -> list[nn.Module]:
    return [nn.ConvTranspose2d(inputs, outputs, 4, 2, 1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU()]


def down(inputs: int, outputs: int) -> list[nn.Module]:
    return [nn.Conv2d(inputs, outputs, 4, 2, 1, bias=False), nn.BatchNorm2d(outputs), nn.LeakyReLU(0.02)]


@CHANNELS
def test_study_cs_networks_equal_plain_layers(channels: int) -> None:
    """Layer for layer as STUDIES.md has them, a quarter as wide."""
    c = NetworkConfig("dcgan_mnist28")
    g = Network(generator_design(10, 8, 28, channels, c)).double()
    last = nn.ConvTranspose2d(8, channels, 2, 2, 2, bias=False)
    plain = double(nn.Unflatten(1, (10, 1, 1)), *up(10, 64), *up(64, 32), *up(32, 16), *up(16, 8), last, nn.Tanh())
    filled(g, plain)
    assert_equal(g, plain, torch.randn(4, 10))
    d = Network(discriminator_design(8, 28, channels, c)).double()
    first = nn.Conv2d(channels, 8, 2, 2, 2, bias=False)
    head = nn.Conv2d(64, 1, 4, 2, 1)
    plain = double(first, nn.LeakyReLU(0.02), *down(8, 16), *down(16, 32), *down(32, 64), head, nn.Flatten(0))
    filled(d, plain)
    assert_equal(d, plain, torch.randn(4, channels, 28, 28))


def doubling(inputs: int, outputs: int, separable: bool) -> list[nn.Module]:
    if not separable:
        return up(inputs, outputs)
    pointwise = nn.Conv2d(inputs, outputs, 1, bias=False)
    depthwise = nn.ConvTranspose2d(outputs, outputs, 4, 2, 1, groups=outputs, bias=False)
    return [pointwise, depthwise, nn.BatchNorm2d(outputs), nn.ReLU()]


def halving(inputs: int, outputs: int, separable: bool) -> list[nn.Module]:
    if not separable:
        return [nn.Conv2d(inputs, outputs, 4, 2, 1, bias=False), nn.LeakyReLU(0.2)]
    depthwise = nn.Conv2d(inputs, inputs, 4, 2, 1, groups=inputs, bias=False)
    return [depthwise, nn.Conv2d(inputs, outputs, 1, bias=False), nn.LeakyReLU(0.2)]


def projected(ours: Network, latent_dim: int, maps: int, base: int, channels: int, separable: bool) -> nn.Module:
    """Study B's generator with a linear layer, as STUDIES.md has it, and our weights."""
    wide = 4 * maps * base**2
    linear, norm = nn.Linear(latent_dim, wide), nn.BatchNorm1d(wide)
    ups = [*doubling(4 * maps, 2 * maps, separable), *doubling(2 * maps, maps, separable)]
    last = nn.Conv2d(maps, channels, 3, 1, 1)
    stored = nn.ConvTranspose2d(latent_dim, 4 * maps, base)  # the linear layer as ours holds it
    stored.bias = nn.Parameter(torch.empty(wide))
    double(stored, norm, *ups, last)
    filled(ours, [stored, norm, *ups, last])
    plain = double(linear, norm, nn.ReLU(), nn.Unflatten(1, (4 * maps, base, base)), *ups, last, nn.Tanh())
    linear.load_state_dict({"weight": stored.weight.flatten(1).t(), "bias": stored.bias})
    return plain


@CHANNELS
@pytest.mark.parametrize("size", [16, 28])
@pytest.mark.parametrize("separable", [False, True])
def test_study_bs_networks_equal_plain_layers(channels: int, size: int, separable: bool) -> None:
    b = NetworkConfig("projected", generator_separable=separable, discriminator_separable=separable)
    g = Network(generator_design(10, 4, size, channels, b)).double()
    assert_equal(g, projected(g, 10, 4, size // 4, channels, separable), torch.randn(5, 10))
    d = Network(discriminator_design(4, size, channels, b)).double()
    halvings = (*halving(channels, 4, separable), *halving(4, 8, separable))
    plain = double(*halvings, nn.Conv2d(8, 1, size // 4), nn.Flatten(0))
    filled(d, plain)
    assert_equal(d, plain, torch.randn(5, channels, size, size))


def test_deeper_networks_equal_plain_layers() -> None:
    deep = NetworkConfig(generator_depth=2, discriminator_depth=2, norm="layer")

    def three(maps: int, norm: nn.Module, activation: nn.Module) -> list[nn.Module]:
        return [nn.Conv2d(maps, maps, 3, 1, 1, bias=False), norm, activation]

    g = Network(generator_design(10, 4, 16, 1, deep)).double()
    stem = [nn.Unflatten(1, (10, 1, 1)), nn.ConvTranspose2d(10, 8, 4, bias=False), nn.BatchNorm2d(8), nn.ReLU()]
    first, second = (three(maps, nn.BatchNorm2d(maps), nn.ReLU()) for maps in (8, 4))
    last = nn.ConvTranspose2d(4, 1, 4, 2, 1, bias=False)
    plain = double(*stem, *first, *up(8, 4), *second, last, nn.Tanh())
    filled(g, plain)
    assert_equal(g, plain, torch.randn(5, 10))
    d = Network(discriminator_design(4, 16, 1, deep)).double()
    first, second = (three(maps, nn.GroupNorm(1, maps), nn.LeakyReLU(0.2)) for maps in (4, 8))
    middle = [nn.Conv2d(4, 8, 4, 2, 1, bias=False), nn.GroupNorm(1, 8), nn.LeakyReLU(0.2)]
    plain = double(
        nn.Conv2d(1, 4, 4, 2, 1, bias=False), nn.LeakyReLU(0.2), *first, *middle, *second,
        nn.Conv2d(8, 1, 4, bias=False), nn.Flatten(0),
    )  # fmt: skip
    filled(d, plain)
    assert_equal(d, plain, torch.randn(5, 1, 16, 16))


# Conditioning.

ABC = ("a", "b", "c")
LABELS = torch.tensor([0, 2, 1, 2])
ARCHITECTURES = pytest.mark.parametrize("architecture", ["dcgan", "dcgan_mnist28", "projected"])


def planes(side: int) -> Tensor:
    """LABELS as constant planes, one a class."""
    found = torch.zeros(len(LABELS), len(ABC), side, side, dtype=torch.float64)
    for image, label in enumerate(LABELS.tolist()):
        found[image, label] = 1
    return found


@ARCHITECTURES
def test_concat_is_a_network_of_more_inputs_that_is_given_the_class(architecture: str) -> None:
    concat, plain = NetworkConfig(architecture, "concat", ABC), NetworkConfig(architecture)
    g, wide_g = Network(generator_design(5, 4, 28, 1, concat)), Network(generator_design(8, 4, 28, 1, plain))
    wide_g.load_state_dict(g.state_dict())
    z = torch.randn(4, 5, dtype=torch.float64)
    one_hot = planes(1)[:, :, 0, 0]
    torch.testing.assert_close(g.double()(z, LABELS), wide_g.double()(torch.cat([z, one_hot], 1)))
    d, wide_d = Network(discriminator_design(4, 28, 1, concat)), Network(discriminator_design(4, 28, 4, plain))
    wide_d.load_state_dict(d.state_dict())
    images = torch.randn(4, 1, 28, 28, dtype=torch.float64)
    torch.testing.assert_close(d.double()(images, LABELS), wide_d.double()(torch.cat([images, planes(28)], 1)))


@pytest.mark.parametrize("maps", [4, 3], ids=["even", "odd"])
def test_two_streams_equal_two_plain_layers_whose_outputs_are_joined(maps: int) -> None:
    config = NetworkConfig("dcgan", "two_stream", ABC)
    g = Network(generator_design(5, maps, 16, 1, config)).double()
    wide = 2 * maps  # of the deepest layers; half of it for z, half for the class
    of_z, of_label = (nn.ConvTranspose2d(n, maps, 4, bias=False) for n in (5, len(ABC)))
    norm_z, norm_label = nn.BatchNorm2d(maps), nn.BatchNorm2d(maps)
    last = nn.ConvTranspose2d(maps, 1, 4, 2, 1, bias=False)
    rest = double(*up(wide, maps), last, nn.Tanh())
    filled(g, double(of_z, of_label, norm_z, norm_label, *rest))
    z, images = torch.randn(4, 5, dtype=torch.float64), torch.randn(4, 1, 16, 16, dtype=torch.float64)
    both = torch.cat([norm_z(of_z(z[:, :, None, None])), norm_label(of_label(planes(1)))], 1)
    torch.testing.assert_close(g(z, LABELS), rest(F.relu(both)))
    d = Network(discriminator_design(maps, 16, 1, config)).double()
    of_image = nn.Conv2d(1, maps - maps // 2, 4, 2, 1, bias=False)
    of_planes = nn.Conv2d(len(ABC), maps // 2, 4, 2, 1, bias=False)
    middle = nn.Conv2d(maps, wide, 4, 2, 1, bias=False)
    rest = double(middle, nn.BatchNorm2d(wide), nn.LeakyReLU(0.2), nn.Conv2d(wide, 1, 4, bias=False))
    filled(d, double(of_image, of_planes, *rest))
    both = torch.cat([of_image(images), of_planes(planes(16))], 1)
    torch.testing.assert_close(d(images, LABELS), rest(F.leaky_relu(both, 0.2)).flatten())


@ARCHITECTURES
@pytest.mark.parametrize("separable", [False, True])
@pytest.mark.parametrize("maps", [4, 3], ids=["even", "odd"])
def test_two_streams_and_the_rest_are_networks_of_their_own(architecture: str, separable: bool, maps: int) -> None:
    config = NetworkConfig(
        architecture, "two_stream", ABC, generator_separable=separable, discriminator_separable=separable
    )
    g, d = generator_design(5, maps, 28, 1, config), discriminator_design(maps, 28, 1, config)
    z, images = torch.randn(4, 5, dtype=torch.float64), torch.randn(4, 1, 28, 28, dtype=torch.float64)
    for layout, x in ((g, z[:, :, None, None]), (d, images)):
        own, label = layout.streams
        assert own.outputs - label.outputs in (0, 1)
        alone = (Layout((own,), ()), Layout((label,), ()), Layout(layout.rest[:1], layout.rest[1:]))
        parts, whole = [Network(part).double() for part in alone], Network(layout).double()
        for kind in ("weights", "biases", "norms"):
            members = [member for part in parts for member in copy.deepcopy(getattr(part, kind))]
            setattr(whole, kind, type(getattr(whole, kind))(members))
        first, second, rest = parts
        torch.testing.assert_close(whole(x, LABELS), rest(torch.cat([first(x), second(planes(x.shape[2]))], 1)))


@pytest.mark.parametrize("conditioning", ["concat", "two_stream"])
def test_groups_of_a_conditional_network_equal_passes_one_after_another(conditioning: str) -> None:
    config = NetworkConfig("dcgan", conditioning, ABC)
    together = Network(discriminator_design(4, 16, 1, config)).double()
    apart = copy.deepcopy(together)
    real, fakes = torch.randn(2, 4, 1, 16, 16, dtype=torch.float64)
    logits = together(torch.cat([real, fakes]), torch.cat([LABELS, LABELS.flip(0)]), groups=2)
    torch.testing.assert_close(logits, torch.cat([apart(real, LABELS), apart(fakes, LABELS.flip(0))]))
    torch.testing.assert_close(together.state_dict(), apart.state_dict())


def test_a_conditional_network_needs_labels_and_another_takes_none() -> None:
    for conditioning in ("concat", "two_stream"):
        g = Network(generator_design(5, 4, 16, 1, NetworkConfig("dcgan", conditioning, ABC)))
        with pytest.raises((ValueError, RuntimeError)):
            g(torch.zeros(4, 5))
    with pytest.raises((ValueError, RuntimeError)):
        generator(5, 4, 16, 1)(torch.zeros(4, 5), LABELS)


# Norms.


def test_with_a_layer_norm_or_none_an_image_does_not_depend_on_its_neighbours() -> None:
    images = torch.randn(6, 1, 16, 16)
    for norm, alone in (("layer", True), ("none", True), ("batch", False)):
        d = Network(discriminator_design(4, 16, 1, NetworkConfig(norm=norm)))
        assert torch.allclose(d(images)[2:3], d(images[2:3]), atol=1e-6) == alone


NORMED = [
    NetworkConfig("dcgan", spectral_norm=True),
    NetworkConfig("projected", spectral_norm=True, discriminator_separable=True, norm="layer"),
    NetworkConfig("dcgan_mnist28", "two_stream", ABC, spectral_norm=True, discriminator_depth=2),
]


@pytest.mark.parametrize("config", NORMED, ids=lambda c: c.architecture)
def test_spectrally_normed_weights_have_largest_singular_values_of_one(config: NetworkConfig) -> None:
    d = Network(discriminator_design(4, 28, 1, config))
    images, labels = torch.zeros(4, 1, 28, 28), LABELS if config.classes else None
    with torch.no_grad():
        for _ in range(200):
            d(images, labels)
    d.eval()
    for raw, weight in zip(d.weights, d.effective_weights(), strict=True):
        before, after = (w.detach().double().numpy().reshape(len(w), -1) for w in (raw, weight))
        assert np.linalg.svd(after, compute_uv=False)[0] == pytest.approx(1, abs=1e-3)
        np.testing.assert_allclose(after, before / np.linalg.svd(before, compute_uv=False)[0], rtol=1e-3, atol=1e-6)


def test_the_norm_of_a_weight_has_a_gradient_and_its_vectors_have_none() -> None:
    """Miyato et al. 2018, eq. 12."""
    d = Network(discriminator_design(4, 16, 1, NetworkConfig("projected", spectral_norm=True))).double().eval()
    x = torch.randn(3, 1, 16, 16, dtype=torch.float64)
    ours = torch.autograd.grad(d(x).square().sum(), [*d.weights])
    plain = copy.deepcopy(d)
    plain.spectral_norm = False  # type: ignore[assignment]
    normed = {}
    for i, weight in enumerate(d.weights):
        matrix, u = weight.detach().flatten(1), d.get_buffer(f"u{i}")
        v = F.normalize(matrix.t() @ u, dim=0)
        outer = torch.outer(u, v).view(weight.shape)
        normed[f"weights.{i}"] = weight / (outer * weight).sum()
    outputs = torch.func.functional_call(plain, normed, (x,))
    torch.testing.assert_close(ours, torch.autograd.grad(outputs.square().sum(), [*d.weights]))


def test_eval_mode_does_not_move_the_power_method() -> None:
    d = Network(discriminator_design(4, 16, 1, NetworkConfig(spectral_norm=True)))
    before = {name: tensor.clone() for name, tensor in d.state_dict().items()}
    d.eval()(torch.randn(3, 1, 16, 16))
    torch.testing.assert_close(dict(d.state_dict()), before, rtol=0, atol=0)
    d.train()(torch.randn(3, 1, 16, 16))
    assert all(not torch.equal(d.get_buffer(f"u{i}"), before[f"u{i}"]) for i in range(len(d.weights) - 1))


def test_gradients_are_of_a_pass_of_their_own_whatever_is_passed_in_between() -> None:
    """D passes real images and fakes, and what lies between, before it is asked for gradients."""
    d = Network(discriminator_design(4, 16, 1, NetworkConfig(norm="none", spectral_norm=True))).double()
    other, x = copy.deepcopy(d), torch.randn(3, 1, 16, 16, dtype=torch.float64)
    outputs = d(x)
    d(2 * x)
    ours = torch.autograd.grad(outputs.sum(), [*d.weights])
    torch.testing.assert_close(ours, torch.autograd.grad(other(x).sum(), [*other.weights]))


@pytest.mark.parametrize("architecture", ["dcgan", "projected"])
def test_activations_are_channels_last_on_every_device(architecture: str) -> None:
    """Without a call of .to(memory_format): it follows from the weights' own format, and the layers keep it."""
    config = NetworkConfig(architecture=architecture, norm="layer")
    seen: list[Tensor] = []
    for network, given in (
        (Network(generator_design(8, 8, 32, 3, config)), torch.randn(4, 8)),
        (Network(discriminator_design(8, 32, 3, config)), torch.randn(4, 3, 32, 32)),
    ):
        for norm in network.norms:
            norm.register_forward_hook(lambda _, inputs, output: seen.extend([inputs[0], output]))
        network(given)
    images = [x for x in seen if x.dim() == 4 and x.shape[2] > 1]
    assert len(images) >= 4
    assert all(x.is_contiguous(memory_format=torch.channels_last) for x in images)
