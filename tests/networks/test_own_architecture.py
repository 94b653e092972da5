"""An architecture that is no chain of blocks, registered from outside: planned, refused, trained and restored."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from gansweep.config import NetworkConfig
from gansweep.errors import SweepFileError
from gansweep.gan import checkpoint
from gansweep.gan.restore import description, generator_of
from gansweep.gan.sampling import sample
from gansweep.gan.training import Trainer
from gansweep.networks.module import GanModule
from gansweep.networks.registry import ARCHITECTURES
from gansweep.planning.plan import make_plan
from gansweep.records.layout import Home
from gansweep.sweepfile.loader import sweep_of
from gansweep.sweepfile.template import template


class LinearModule(GanModule):
    """One linear layer, over the input and the one-hot class."""

    def __init__(self, shape: tuple[int, ...], inputs: int, classes: int) -> None:
        super().__init__()
        self.shape, self.classes = shape, classes
        self.layer = nn.Linear(inputs + classes, torch.Size(shape).numel())

    def forward(self, x: Tensor, labels: Tensor | None = None, groups: int = 1) -> Tensor:
        x = x.flatten(1)
        if labels is not None:
            x = torch.cat([x, nn.functional.one_hot(labels, self.classes).to(x.dtype)], 1)
        x = self.layer(x)
        return x.tanh().view(-1, *self.shape) if len(self.shape) == 3 else x.flatten()


@dataclass(frozen=True)
class LinearDesign:
    shape: tuple[int, ...]
    inputs: int
    classes: int
    buffers: int = 0
    has_batch_norm: bool = False

    @property
    def multiply_adds(self) -> int:
        return (self.inputs + self.classes) * torch.Size(self.shape).numel()

    @property
    def parameters(self) -> int:
        return self.multiply_adds + torch.Size(self.shape).numel()

    def build(self) -> LinearModule:
        return LinearModule(self.shape, self.inputs, self.classes)


class Linear:
    image_sizes = (16, 28)

    def generator(self, latent_dim: int, maps: int, size: int, channels: int, config: NetworkConfig) -> LinearDesign:
        return LinearDesign((channels, size, size), latent_dim, len(config.classes))

    def discriminator(self, maps: int, size: int, channels: int, config: NetworkConfig, *, grown: bool) -> LinearDesign:
        return LinearDesign((1,), channels * size * size, len(config.classes))


@pytest.fixture(autouse=True)
def registered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(ARCHITECTURES, "linear", Linear())


TEXT = """name: s
dataset: {name: digits, image_size: 16}
model: {architecture: linear, latent_dim: 5, conditioning: %s}
training: {steps: 2, batch_size: 8, loss: wasserstein_gp}
"""


@pytest.mark.parametrize("conditioning", ["none", "concat"])
def test_it_is_planned_trained_and_restored(tmp_path: Path, conditioning: str) -> None:
    sweep = sweep_of(TEXT % conditioning, "s.yaml")  # its D has no batch norm, so the gradient penalty is allowed
    (planned,) = make_plan(sweep, Home(tmp_path / "home")).trials
    classes = 10 if conditioning == "concat" else 0
    assert planned.parameters == ((6 + classes) * 256, 256 + classes + 1)
    trainer = Trainer.on(planned.images, planned.training, torch.device("cpu"))
    for network, parameters in zip((trainer.generator, trainer.discriminator), planned.parameters, strict=True):
        assert sum(p.numel() for p in network.parameters()) == parameters
    before = trainer.generator.layer.weight.detach().clone()  # type: ignore[operator,union-attr]
    trainer.train_step()
    assert not torch.equal(trainer.generator.layer.weight, before)  # type: ignore[union-attr]
    file = tmp_path / "1.safetensors"
    meta = {"step": 1, "position": trainer.batches.position, **description(trainer.config)}
    checkpoint.save(file, trainer.state(), meta)
    z, labels = trainer.grid()
    assert (sample(generator_of(file).generator, z, labels) == sample(trainer.generator, z, labels)).all()


def test_names_of_architectures_come_from_the_registry(refusal: Callable[[str], str]) -> None:
    assert "# dcgan | dcgan_mnist28 | projected | linear" in template()
    names = "'dcgan', 'dcgan_mnist28', 'projected' or 'linear'"
    assert refusal((TEXT % "none").replace("linear", "linea")) == (
        f"s.yaml:3:23: model.architecture: must be {names}, got 'linea'; did you mean linear?"
    )


@pytest.fixture
def refusal() -> Callable[[str], Any]:
    def refuse(text: str) -> str:
        with pytest.raises(SweepFileError) as caught:
            sweep_of(text, "s.yaml")
        (problem,) = caught.value.problems
        return problem

    return refuse
