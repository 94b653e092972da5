"""A generator from a checkpoint file, and nothing but the file."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from gansweep.config import NetworkConfig, TrainingConfig, from_plain
from gansweep.errors import CheckpointError
from gansweep.gan import checkpoint
from gansweep.gan.restore import description, generator_of
from gansweep.gan.sampling import sample
from gansweep.gan.training import Trainer
from gansweep.networks.block import Layout
from gansweep.networks.network import Network

SIZES = [(16, 1), (28, 1), (32, 3), (64, 3)]
Forge = Callable[..., Path]


@pytest.fixture
def trainer(make_trainer: Callable[..., Trainer]) -> Trainer:
    trained = make_trainer()
    for _ in range(3):
        trained.train_step()
    return trained


@pytest.fixture
def forge(tmp_path: Path, trainer: Trainer) -> Forge:
    """A checkpoint of the trainer with a sound checksum; keywords change its settings, meta replaces them all."""

    def forge(tensors: dict[str, Tensor] | None = None, meta: dict[str, Any] | None = None, **changes: Any) -> Path:
        described = description(trainer.config)
        described["settings"] |= changes
        file = tmp_path / "forged.safetensors"
        checkpoint.save(file, tensors or trainer.state(), {"step": 3, **described} if meta is None else meta)
        return file

    return forge


@pytest.mark.parametrize("named", [True, False], ids=["settings named", "an older checkpoint"])
@pytest.mark.parametrize(("side", "channels"), SIZES)
def test_makes_the_same_images_as_the_trainer(
    tmp_path: Path, make_trainer: Callable[..., Trainer], side: int, channels: int, named: bool
) -> None:
    trainer = make_trainer(image_size=side, channels=channels, generator_maps=3, discriminator_maps=5)
    trainer.train_step()
    file = tmp_path / "c.safetensors"
    checkpoint.save(file, trainer.state(), {"step": 1, **(description(trainer.config) if named else {})})
    before = torch.get_rng_state()
    found = generator_of(file)
    assert torch.equal(torch.get_rng_state(), before)
    assert (found.step, found.latent_dim) == (1, trainer.config.latent_dim)
    expected = sample(trainer.generator, trainer.fixed_noise)
    np.testing.assert_array_equal(sample(found.generator, trainer.fixed_noise), expected)


def test_what_a_checkpoint_says_survives_json(trainer: Trainer) -> None:
    described = description(replace(trainer.config, validation=0.25))
    read = json.loads(json.dumps(described))
    assert from_plain(TrainingConfig, read["settings"]) == replace(trainer.config, validation=0.25)


@pytest.mark.parametrize(
    "changes",
    [
        {"latent_dim": 6},
        {"latent_dim": "5"},
        {"latent_dim": None},
        {"generator_maps": 10**12},
        {"generator_maps": 4.0},
        {"generator_maps": -4},
        {"image_size": 17},
        {"image_size": 32},
        {"image_size": [16]},
        {"channels": 3},
        {"networks": {"conditioning": "concat", "classes": ["a", "b"]}},
        {"networks": {"conditioning": "whatever"}},
        {"networks": {"generator_depth": 10**12}},
        {"networks": {"generator_depth": 2}},
        {"networks": {"colour": "red"}},
        {"networks": None},
    ],
    ids=str,
)
def test_settings_of_another_generator_are_refused(forge: Forge, changes: dict[str, Any]) -> None:
    with pytest.raises(CheckpointError, match=r"forged\.safetensors: its settings do not describe the generator"):
        generator_of(forge(**changes))


def test_sizes_that_a_forger_chose_take_no_memory(forge: Forge, monkeypatch: pytest.MonkeyPatch) -> None:
    class Weightless(Network):
        def __init__(self, layout: Layout) -> None:
            super().__init__(layout)
            assert all(parameter.device.type == "meta" for parameter in self.parameters())

    monkeypatch.setattr("gansweep.networks.network.Network", Weightless)
    with pytest.raises(CheckpointError, match="its settings do not describe the generator"):
        generator_of(forge(generator_maps=64))


@pytest.mark.parametrize(
    "meta", [{"step": 3, "settings": {}}, {"step": 3, "settings": None}, {"step": "three"}], ids=str
)
def test_meta_that_says_nothing_is_refused(forge: Forge, meta: dict[str, Any]) -> None:
    with pytest.raises(CheckpointError, match="its settings do not describe the generator"):
        generator_of(forge(meta=meta))


@pytest.mark.parametrize("missing", ["generator.norms.0.running_mean", "generator.weights.1", "generator.weights.2"])
@pytest.mark.parametrize("meta", [None, {"step": 3}], ids=["settings named", "an older checkpoint"])
def test_missing_weights_are_refused(forge: Forge, trainer: Trainer, missing: str, meta: dict[str, Any] | None) -> None:
    state = trainer.state()
    del state[missing]
    with pytest.raises(CheckpointError, match="its settings do not describe the generator"):
        generator_of(forge(state, meta))


def test_other_architectures_are_refused_by_name(forge: Forge, trainer: Trainer) -> None:
    meta = {"step": 3, **description(replace(trainer.config, networks=NetworkConfig("resnet")))}
    with pytest.raises(CheckpointError, match="of the architecture 'resnet', unknown to this version"):
        generator_of(forge(meta=meta))


@pytest.mark.parametrize("meta", [{"accuracy": 0.9}, {"step": 3}], ids=str)
def test_a_file_of_ours_without_a_generator_is_refused(forge: Forge, meta: dict[str, Any]) -> None:
    with pytest.raises(CheckpointError, match="contains no generator; name a checkpoint of a trial"):
        generator_of(forge({"mean": torch.zeros(3)}, meta))


def test_safetensors_of_others_are_refused(tmp_path: Path) -> None:
    file = tmp_path / "other.safetensors"
    save_file({"generator.weights.0": torch.zeros(5, 8, 4, 4)}, file)
    with pytest.raises(CheckpointError, match=r"other\.safetensors: "):
        generator_of(file)
