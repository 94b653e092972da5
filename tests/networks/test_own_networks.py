"""Networks of users: what is accepted, what is refused and in which words, and how they are called."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import nn

from gansweep.errors import UserError
from gansweep.networks.architecture import NetworkConfig
from gansweep.networks.own import Facts, OwnDesign
from gansweep.networks.own_check import check
from gansweep.networks.registry import architecture_of, discriminator_design, generator_design
from gansweep.usercode.code import Code, write
from gansweep.usercode.find import find
from gansweep.usercode.path import ImportPath

USERS = Path(__file__).parents[1] / "users"
HEAD = "import torch\nfrom torch import nn\n"
Design = Callable[..., OwnDesign]


@pytest.fixture
def design(tmp_path: Path) -> Design:
    """The design of a network in a text, or in a file of tests/users."""

    def make(name: str, text: str = "", classes: int = 0, **options: object) -> OwnDesign:
        if text:
            (tmp_path / "nets.py").write_text(HEAD + text)
            path = ImportPath("nets", name)
        else:
            path = ImportPath.parse(name)
        code = write(find(path, tmp_path if text else USERS, "k"), tmp_path / "code")
        g = path.attribute.endswith(("G", "generator"))
        sizes = {"feature_maps": 4, "image_size": 16, "channels": 1, "classes": classes}
        return OwnDesign("model.k", path, code, options, {**({"latent_dim": 16} if g else {}), **sizes})

    return make


@pytest.mark.parametrize(
    ("name", "classes", "parameters", "buffers", "has_batch_norm"),
    [
        ("tutorial:G", 0, 2_648, 26, True),
        ("tutorial:D", 0, 720, 17, True),
        ("residual.nets:G", 0, 0, 0, True),
        ("residual.nets:D", 0, 0, 0, False),
        ("projection:Pair.generator", 10, 0, 0, True),
        ("projection:Pair.discriminator", 10, 0, 0, False),
        ("unet:D", 0, 0, 0, False),
    ],
)
def test_networks_of_users_are_run_and_counted(
    design: Design, name: str, classes: int, parameters: int, buffers: int, has_batch_norm: bool
) -> None:
    made = design(name, classes=classes)
    facts = check(made)
    network = made.build()
    assert facts.parameters == sum(p.numel() for p in network.parameters())
    assert facts.buffers == sum(b.numel() for b in network.buffers())
    assert facts.has_batch_norm == has_batch_norm
    assert not parameters or (facts.parameters, facts.buffers) == (parameters, buffers)


def test_multiply_adds_are_those_of_one_image(design: Design) -> None:
    assert check(design("tutorial:D")).multiply_adds == 8 * 8 * 4 * 16 + 4 * 4 * 8 * 4 * 16 + 8 * 16


LINEAR_D = "nn.Sequential(nn.Flatten(), nn.Linear(256, 1))"
REFUSED = {
    "a sigmoid": ("D", f"D = lambda: {LINEAR_D}.append(nn.Sigmoid())", "as of a sigmoid; leave it out"),
    "a sigmoid after batch norm": (
        "D",
        "D = lambda: nn.Sequential(nn.Conv2d(1, 4, 16), nn.BatchNorm2d(4), nn.Conv2d(4, 1, 1), nn.Sigmoid())",
        "as of a sigmoid; leave it out",
    ),
    "a map of scores": ("D", "D = lambda: nn.Conv2d(1, 1, 4, 2, 1)", "returns 256 values for 4 images"),
    "no tanh": ("G", "G = lambda: nn.ConvTranspose2d(16, 1, 16)", "expected images in [-1, 1]; end it with nn.Tanh"),
    "a sigmoid in G": (
        "G",
        "G = lambda: nn.Sequential(nn.ConvTranspose2d(16, 1, 16), nn.Sigmoid())",
        "end it with nn.Tanh instead of a sigmoid",
    ),
    "other channels": (
        "G",
        "G = lambda: nn.Sequential(nn.ConvTranspose2d(16, 3, 16), nn.Tanh())",
        "makes images (4, 3, 16, 16) of 4 z, expected (4, 1, 16, 16)",
    ),
    "another size": (
        "G",
        "G = lambda: nn.Sequential(nn.ConvTranspose2d(16, 1, 8), nn.Tanh())",
        "makes images (4, 1, 8, 8) of 4 z, expected (4, 1, 16, 16)",
    ),
    "another latent_dim": (
        "G",
        "G = lambda: nn.Sequential(nn.ConvTranspose2d(8, 1, 16), nn.Tanh())",
        "fails on z (2, latent_dim) and (2, latent_dim, 1, 1): RuntimeError:",
    ),
    "no module": ("D", "D = lambda: {}", "returns {}, expected a torch.nn.Module"),
    "no parameters": ("D", "class D(nn.Module):\n  def forward(self, x): return x.mean((1, 2, 3))", "no parameters"),
    "an error": ("D", "def D():\n  raise KeyError('width')", "cannot be built: nets.py:4: KeyError: 'width'"),
    "an unknown option": (
        "D", f"def D(maps=3): return {LINEAR_D}", "no argument is called width; it takes maps",
    ),
    "an unused layer": (
        "D",
        "class D(nn.Sequential):\n  def __init__(self):\n    super().__init__(nn.Flatten(), nn.Linear(256, 1))\n"
        "    self.spare = nn.ParameterList([torch.ones(1)])\n  def forward(self, x): return self[1](self[0](x))",
        "do not depend on spare.0",
    ),
    "a counter": (
        "D",
        "class D(nn.Linear):\n  def __init__(self):\n    super().__init__(256, 1); self.calls = 0\n"
        "  def forward(self, x):\n    self.calls += 1\n    return super().forward(x.flatten(1)) / self.calls",
        "has state that its state dict does not hold",
    ),
    "a random constant": (
        "D",
        "class D(nn.Linear):\n  def __init__(self):\n    super().__init__(256, 1); self.mix = torch.randn(256)\n"
        "  def forward(self, x): return super().forward(x.flatten(1) * self.mix)",
        "has state that its state dict does not hold",
    ),
    "not a number": (
        "D", "class D(nn.Linear):\n  def __init__(self): super().__init__(256, 1)\n"
        "  def forward(self, x): return super().forward(x.flatten(1)) / 0 * 0", "NaN or infinite",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_trained_is_refused_in_one_line(design: Design, case: str) -> None:
    name, text, message = REFUSED[case]
    with pytest.raises(UserError) as raised:
        check(design(name, text, **({"width": 3} if case == "an unknown option" else {})))
    assert message in str(raised.value)
    assert str(raised.value).startswith(f"model.k: nets:{name}")
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("zero", [False, True])
def test_a_d_that_starts_at_zero_is_no_sigmoid(design: Design, zero: bool) -> None:
    check(design("D", f"def D():\n  d = {LINEAR_D}\n  nn.init.zeros_(d[1].weight) if {zero} else None\n  return d"))


@pytest.mark.parametrize("width", [2, 4, 8])
def test_a_d_whose_outputs_happen_to_lie_between_0_and_1_has_no_sigmoid(design: Design, width: int) -> None:
    """Its instance norm makes them nearly the same for all images."""
    check(design("unet:D", width=width))


def test_messages_name_the_line_of_the_users_class(design: Design) -> None:
    text = "\n\nclass D(nn.Conv2d):\n  def __init__(self): super().__init__(1, 1, 4)\n"
    with pytest.raises(UserError, match=r"^model\.k: nets:D \(nets\.py:5\): returns 676 values"):
        check(design("D", text))


def test_options_take_precedence_over_sizes_and_unnamed_sizes_are_not_passed(design: Design) -> None:
    text = "def D(feature_maps, image_size, **more):\n  assert not more, more\n"
    text += "  return nn.Sequential(nn.Conv2d(1, feature_maps, image_size), nn.Flatten(), nn.Linear(feature_maps, 1))"
    assert check(design("D", text)).parameters == 4 * 257 + 5
    assert check(design("D", text, feature_maps=2)).parameters == 2 * 257 + 3


def test_groups_are_separate_batches(design: Design) -> None:
    network, images = design("tutorial:D").build(), torch.randn(6, 1, 16, 16)
    apart = torch.cat([network(part) for part in images.chunk(2)])
    assert torch.equal(network(images, groups=2), apart)
    assert not torch.allclose(network(images), apart)


def test_a_copy_has_the_state_and_draws_nothing(design: Design) -> None:
    """torch cannot copy a module that has computed its weight by spectral norm."""
    network = design("residual.nets:D").build()
    network(torch.randn(4, 1, 16, 16)).sum().backward()
    before = torch.get_rng_state()
    copied = copy.deepcopy(network)
    assert torch.equal(torch.get_rng_state(), before)
    assert copied.state_dict().keys() == network.state_dict().keys()
    assert all(
        torch.equal(a, b) for a, b in zip(copied.state_dict().values(), network.state_dict().values(), strict=True)
    )
    assert not {id(p) for p in copied.parameters()} & {id(p) for p in network.parameters()}


def test_lazy_layers_have_their_shape_when_they_are_built(design: Design) -> None:
    made = design("D", "D = lambda: nn.Sequential(nn.Flatten(), nn.LazyLinear(1))")
    assert check(made).parameters == 257
    assert all(not isinstance(p, nn.UninitializedParameter) for p in made.build().parameters())


def test_one_network_may_be_ours(design: Design) -> None:
    code = Code("0" * 16, "/nowhere")
    config = NetworkConfig("projected", discriminator_network="unet:D", discriminator_options={"width": 2})
    assert generator_design(8, 4, 16, 1, config, code) == generator_design(8, 4, 16, 1, NetworkConfig("projected"))
    d = discriminator_design(4, 16, 1, config, code)
    assert isinstance(d, OwnDesign)
    assert (d.key, str(d.path), d.options) == ("model.discriminator.network", "unet:D", {"width": 2})
    assert 96 not in architecture_of(config).image_sizes
    assert 96 in architecture_of(NetworkConfig("projection:Pair")).image_sizes


def test_numbers_of_a_network_that_has_not_run_are_unknown(design: Design) -> None:
    made = design("unet:D")
    with pytest.raises(RuntimeError, match="has not been run"):
        _ = made.parameters
    assert OwnDesign(**{**vars(made), "facts": Facts(1, 2, 3, True)}).parameters == 1
