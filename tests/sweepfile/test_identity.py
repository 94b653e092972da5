"""Keys that came later give nobody's trials other ids: until they are used."""

from __future__ import annotations

from typing import Any

import pytest

from gansweep.config import Model, Training
from gansweep.section import Section
from gansweep.sweepfile.schema import TrialConfig
from gansweep.sweepfile.trials import FIRST_MODEL_KEYS, FIRST_TRAINING_KEYS, assign, trial_id

# Computed by the code of commit 0601ca3, which knew none of the later keys.
GOLDEN: dict[str, dict[str, Any]] = {
    "7ed4fd4f79ee": {"training": {"steps": 10}},
    "8bc4dce2c0aa": {
        "dataset": {"name": "mnist", "image_size": 28, "validation": 0.1, "augment": {"rotate": 10}},
        "model": {"latent_dim": 50, "feature_maps": 16, "discriminator": {"feature_maps": 8}},
        "training": {
            "epochs": 3, "batch_size": 128, "learning_rate": 1e-3, "beta1": 0.9, "generator": {"updates": 2},
            "discriminator": {"learning_rate": 1e-4, "beta2": 0.99},
        },
        "seed": 7,
    },
    "471d7efa4015": {
        "dataset": {"name": "image_folder", "path": "here", "image_size": 64, "channels": 3, "classes": ["person"]},
        "model": {"channels": 3, "generator": {"feature_maps": 32}},
        "training": {
            "steps": 5, "precision": "bfloat16", "beta2": 0.9, "discriminator": {"updates": 5, "beta1": 0.0},
        },
        "evaluation": {"per_run": 0, "samples": 64},
    },
}  # fmt: skip


def identity(config: dict[str, Any]) -> str:
    return trial_id(TrialConfig.model_validate(config), "da7a", 1)


def changed(*dotted: tuple[str, Any]) -> str:
    """The id of a plain trial with some keys set."""
    config: dict[str, Any] = {"training": {"steps": 10}}
    for key, value in dotted:
        config = assign(config, key, value)
    return identity(config)


PLAIN = "7ed4fd4f79ee"
# Two values that are not the default, of every key that came later.
LATER: dict[str, tuple[Any, Any]] = {
    "model.architecture": ("projected", "dcgan_mnist28"),  # the key is old, the values are not
    "model.conditioning": ("concat", "two_stream"),
    "model.generator.depth": (2, 3),
    "model.generator.separable": (True, True),
    "model.discriminator.depth": (2, 3),
    "model.discriminator.separable": (True, True),
    "model.discriminator.norm": ("layer", "none"),
    "model.discriminator.spectral_norm": (True, True),
    "model.discriminator.growth.at": (100, 200),
    "model.discriminator.growth.adds": ("head", "head"),
    "model.generator.network": ("nets:G", "nets:H"),
    "model.generator.options": ({"width": 8}, {"width": 9}),
    "model.discriminator.network": ("nets:D", "nets:E"),
    "model.discriminator.options": ({"width": 8}, {"depth": 8}),
    "training.loss": ("hinge", "wasserstein_gp"),
    "training.clip": (0.02, 0.03),
    "training.gradient_penalty": (1.0, 2.0),
    "training.label_smoothing": (0.1, 0.2),
    "training.loss_options": ({"margin": 1}, {"margin": 2}),
    "training.critic": (True, True),
    "training.augment.policy": (["color"], ["cutout", "color"]),
    "training.augment.adaptive": (True, True),
    "training.augment.target": (0.5, 0.7),
    "training.augment.interval": (8, 16),
    "training.augment.ramp_images": (1000, 100_000),
    "training.regularization.r1": (0.1, 10.0),
    "training.regularization.r2": (0.1, 10.0),
    "training.regularization.interval": (4, 16),
    "training.instance_noise": (0.1, 0.2),
    "training.instance_noise_until": (100, 200),
    "training.ema": (0.9, 0.99),
}


def keys_of(section: Section, prefix: str) -> set[str]:
    """Every dotted key of a section."""
    found = set()
    for name in type(section).model_fields:
        value = getattr(section, name)
        found |= keys_of(value, f"{prefix}{name}.") if isinstance(value, Section) else {prefix + name}
    return found


@pytest.mark.parametrize("expected", GOLDEN)
def test_old_configurations_have_the_ids_that_they_always_had(expected: str) -> None:
    assert identity(GOLDEN[expected]) == expected, "every trial ever trained would be trained again"


def test_every_key_is_old_or_later() -> None:
    """One that is neither here nor there would have no test."""
    known = {f"model.{key}" for key in FIRST_MODEL_KEYS} | {f"training.{key}" for key in FIRST_TRAINING_KEYS}
    everything = keys_of(Model(), "model.") | keys_of(Training(steps=1), "training.")
    assert known <= everything
    # `training.from` counts by the hash of the weights: tests/planning/test_weights.py.
    assert everything - known - {"training.from"} == LATER.keys() - {"model.architecture"}
    assert changed(("training.from", "faces")) == PLAIN


@pytest.mark.parametrize("key", LATER)
def test_a_later_key_counts_where_it_is_used(key: str) -> None:
    first, second = LATER[key]
    found = {PLAIN, changed((key, first)), changed((key, second))}
    assert len(found) == (2 if first == second else 3)


def test_no_two_later_keys_are_taken_for_each_other() -> None:
    assert len({changed((key, values[0])) for key, values in LATER.items()}) == len(LATER)
    of_both = {changed((f"model.{network}.depth", 2)) for network in ("generator", "discriminator")}
    assert len(of_both) == 2


@pytest.mark.parametrize("key", LATER)
def test_a_stated_default_makes_no_other_trial(key: str) -> None:
    default: Any = TrialConfig(training=Training(steps=10))
    for name in key.split("."):
        default = getattr(default, name)
    assert changed((key, default)) == PLAIN


def test_whole_numbers_and_the_order_of_keys_make_no_difference() -> None:
    assert changed(("training.gradient_penalty", 5)) == changed(("training.gradient_penalty", 5.0))
    pairs = [("training.ema", 0.9), ("model.generator.depth", 2), ("training.loss", "hinge")]
    assert changed(*pairs) == changed(*reversed(pairs))
