"""Kinds of training by name, as changes of a training configuration, and the comparison of two trainers."""

from __future__ import annotations

from typing import Any

import torch

from gansweep.config import AugmentationConfig, DiffAugmentConfig, LossConfig, NetworkConfig, OptimizerConfig
from gansweep.gan.training import Trainer
from gansweep.losses.registry import LOSSES
from gansweep.losses.regularizer import Regularizer

ABC = ("a", "b", "c")
MORE_UPDATES = {"generator": OptimizerConfig(2e-3, 0.5, 0.9, 2), "discriminator": OptimizerConfig(1e-3, 0.0, 0.999, 3)}
RECIPES: dict[str, dict[str, Any]] = {
    **{name: {"loss": LossConfig(name), "networks": NetworkConfig(norm="layer")} for name in LOSSES},
    "label smoothing": {"loss": LossConfig(options={"label_smoothing": 0.2})},
    "clipping": {"loss": LossConfig("wasserstein_clip", {"clip": 0.03}), **MORE_UPDATES},
    "a small penalty": {
        "loss": LossConfig("wasserstein_gp", {"gradient_penalty": 0.5}),
        "networks": NetworkConfig("projected"),
        **MORE_UPDATES,
    },
    "penalties": {"regularizer": Regularizer(2.0, 0.5), "networks": NetworkConfig(norm="none")},
    "lazy penalties": {
        "regularizer": Regularizer(2.0, 0.0, interval=2),
        "loss": LossConfig("relativistic", instance_noise=0.3),
        "networks": NetworkConfig("projected"),
    },
    "instance noise": {"loss": LossConfig(instance_noise=0.3), **MORE_UPDATES},
    "falling noise": {"loss": LossConfig("hinge", instance_noise=0.3, instance_noise_until=3)},
    "spectral norm": {"networks": NetworkConfig(spectral_norm=True), **MORE_UPDATES},
    "average": {"ema": 0.7, **MORE_UPDATES},
    "concat": {"networks": NetworkConfig(conditioning="concat", classes=ABC), **MORE_UPDATES},
    "two streams": {"networks": NetworkConfig("dcgan_mnist28", "two_stream", ABC), "image_size": 28},
    "a conditional critic": {
        "loss": LossConfig("wasserstein_gp"),
        "networks": NetworkConfig(conditioning="concat", classes=ABC, norm="none"),
        **MORE_UPDATES,
    },
}
VARIANTS: dict[str, dict[str, Any]] = {
    "plain": {},
    "colour": {"channels": 3},
    "validation": {"validation": 0.2},
    "diffaugment": {"augment": DiffAugmentConfig(("color", "translation", "cutout")), "channels": 3, **MORE_UPDATES},
    "adaptive": {"augment": DiffAugmentConfig(("cutout", "color"), adaptive=True, target=0.1, ramp_images=60)},
    "augmentation": {"augmentation": AugmentationConfig(flip=True, rotate=20, translate=0.1, scale=0.1)},
    "more updates": MORE_UPDATES,
    **RECIPES,
}


def assert_same_state(one: Trainer, other: Trainer) -> None:
    assert (one.step, one.batches.position) == (other.step, other.batches.position)
    expected = other.state()
    assert one.state().keys() == expected.keys()
    for name, tensor in one.state().items():
        assert torch.equal(tensor, expected[name]), name
