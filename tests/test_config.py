"""A run's configuration: from the sections of a sweep file, and to plain data and back."""

from __future__ import annotations

import json
from dataclasses import dataclass, fields, replace
from typing import Any

import pytest

from gansweep.config import (
    LossConfig,
    Model,
    NetworkConfig,
    OptimizerConfig,
    RunConfig,
    Training,
    TrainingConfig,
    from_plain,
    to_plain,
    values_for,
)
from gansweep.planning.single import MUST_AGREE
from gansweep.sweepfile.schema import Sweep

ADAM = OptimizerConfig(1e-3, 0.5, 0.999)
CONFIG = TrainingConfig(
    8,
    4,
    4,
    16,
    1,
    32,
    ADAM,
    replace(ADAM, updates=3),
    networks=NetworkConfig(classes=("a", "b")),
    loss=LossConfig("wasserstein_clip", {"clip": 0.1}),
)


@dataclass(frozen=True)
class Pairs:
    """Tuples of each kind."""

    many: tuple[tuple[str, int], ...] = ()
    parts: tuple[OptimizerConfig, ...] = ()


@pytest.mark.parametrize(
    "value",
    [CONFIG, RunConfig(9, 1, 2, 3, 1, stop_on=(), pauses=(2, 5)), Pairs((("a", 1), ("b", 2)), (ADAM, ADAM)), Pairs()],
    ids=lambda value: type(value).__name__,
)
def test_plain_data_survive_json(value: Any) -> None:
    assert from_plain(type(value), json.loads(json.dumps(to_plain(value)))) == value


def test_missing_fields_have_their_defaults() -> None:
    """So that the header of an older checkpoint can be read."""
    assert from_plain(NetworkConfig, {"norm": "layer"}) == NetworkConfig(norm="layer")
    plain = to_plain(CONFIG)
    del plain["loss"]["instance_noise"], plain["networks"], plain["ema"]
    assert from_plain(TrainingConfig, plain) == replace(CONFIG, networks=NetworkConfig())


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("surprise", 1),
        ("networks", {"surprise": 1}),
        ("networks", None),
        ("networks", ["dcgan"]),
        ("networks", {"classes": "ab"}),
        ("generator", {"beta1": 0.5}),
    ],
)
def test_unknown_and_missing_fields_are_refused(key: str, value: Any) -> None:
    with pytest.raises(TypeError):
        from_plain(TrainingConfig, {**to_plain(CONFIG), key: value})


def test_a_tuple_of_fixed_length_is_not_filled_up() -> None:
    with pytest.raises(ValueError, match="zip"):
        from_plain(Pairs, {"many": [["a"]]})


def test_values_find_their_fields_by_the_end_of_their_key() -> None:
    model = Model.model_validate({
        "architecture": "projected", "generator": {"depth": 2}, "discriminator": {"growth": {"at": 5}, "norm": "layer"},
    })  # fmt: skip
    assert NetworkConfig(**values_for(NetworkConfig, model)) == NetworkConfig(
        "projected", generator_depth=2, norm="layer", growth_at=5
    )


@pytest.mark.parametrize(
    ("config", "section"), [(NetworkConfig, Model()), (LossConfig, Training(steps=1))], ids=lambda one: str(one)[:20]
)
def test_defaults_are_the_same_in_the_file_and_in_python(config: type, section: Any) -> None:
    assert config(**values_for(config, section)) == config()


def test_a_network_inherits_the_options_of_the_training_that_it_does_not_set() -> None:
    training = Training.model_validate({"steps": 1, "beta1": 0.1, "discriminator": {"beta1": 0.0, "updates": 5}})
    assert training.optimizer("generator") == OptimizerConfig(2e-4, 0.1, 0.999)
    assert training.optimizer("discriminator") == OptimizerConfig(2e-4, 0.0, 0.999, 5)


def test_a_checkpoint_must_agree_in_every_option_of_the_networks() -> None:
    """A new one changes the tensors of a checkpoint as well. Messages name keys that a sweep file has."""
    assert {f"networks.{one.name}" for one in fields(NetworkConfig)} <= MUST_AGREE.keys()
    for key in MUST_AGREE.values():
        section: Any = Sweep
        for name in key.split("."):
            section = section.model_fields[name].annotation
