"""The probability of augmentation follows r_t."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch

from gansweep.config import DiffAugmentConfig, LossConfig, OptimizerConfig, TrainingConfig
from gansweep.gan.adaptive import AdaptiveProbability
from gansweep.gan.training import Trainer
from gansweep.health.metrics import ADA_P, TRAINING

CPU = torch.device("cpu")


def followed(outputs: list[list[float]], **options: float) -> list[float]:
    """p after each batch."""
    adaptive = AdaptiveProbability(**{"target": 0.5, "interval": 2, "change": 0.25, **options}, device=CPU)  # type: ignore[arg-type]
    found = []
    for batch in outputs:
        adaptive.observe(torch.tensor(batch, dtype=torch.float32))
        found.append(float(adaptive.p))
    return found


@pytest.mark.parametrize(
    ("outputs", "expected"),
    [
        ([[1, 2], [3, 4], [1, 1], [2, 2]], [0, 0.25, 0.25, 0.5]),  # r_t = 1
        ([[1, 2], [3, 4], [-1, 1], [2, -2]], [0, 0.25, 0.25, 0]),  # then 0
        ([[9, 9], [-1, 1]], [0, 0]),  # their mean is the target
        ([[1, 1], [-1, 1], [1, 1], [1, 1], [1, 1]], [0, 0, 0, 0.25, 0.25]),
        ([[-1, -1]] * 4, [0, 0, 0, 0]),  # never below 0
        ([[1, 1]] * 12, [0, 0.25, 0.25, 0.5, 0.5, 0.75, 0.75, 1, 1, 1, 1, 1]),  # nor above 1
    ],
)
def test_p_rises_above_the_target_and_falls_below_it(outputs: list[list[float]], expected: list[float]) -> None:
    assert followed(outputs) == expected


def ada(config: TrainingConfig, p: float = 0.0, **options: float) -> Trainer:
    """A trainer on 8 images with p at a value."""
    pixels = np.random.default_rng(0).integers(0, 256, (8, 1, 16, 16), np.uint8)
    augment = DiffAugmentConfig(("translation", "cutout"), True, 0.6, 2, 320)
    trainer = Trainer(replace(config, augment=augment, **options), pixels, CPU)  # type: ignore[arg-type]
    assert trainer.inputs.adaptive is not None
    trainer.inputs.adaptive.p.fill_(p)
    return trainer


def p_and_r_t(trainer: Trainer, steps: int) -> tuple[list[float], list[float]]:
    """p after each step, and r_t of the images that D was trained on."""
    r_t: list[float] = []
    trainer.discriminator.register_forward_hook(lambda _, given, out: r_t.append(float(out.detach()[:8].sign().mean())))
    for _ in range(steps):
        trainer.train_step()
    assert trainer.metrics == (*TRAINING, ADA_P)
    return trainer.read()[:, trainer.metrics.index(ADA_P)].tolist(), r_t[::2]


def test_p_rises_with_a_d_that_overfits_until_r_t_is_at_its_target(
    make_settings: Callable[..., TrainingConfig],
) -> None:
    """D is shown the same eight images in each step. Without augmentation, r_t reaches 1 and stays there."""
    found, r_t = p_and_r_t(ada(make_settings(discriminator_maps=8)), 150)
    assert np.mean(r_t[:40]) > 0.85
    assert found[0] == 0
    assert max(found) > 0.5
    assert np.mean(r_t[-40:]) == pytest.approx(0.6, abs=0.2)
    assert {round(abs(b - a), 5) for a, b in itertools.pairwise(found)} == {0, 0.05}  # 8 · 2 / 320


def test_p_falls_with_a_d_that_does_not_overfit(make_settings: Callable[..., TrainingConfig]) -> None:
    still = OptimizerConfig(1e-9, 0.5, 0.999)
    found, _ = p_and_r_t(ada(make_settings(discriminator=still), p=0.5), 30)
    assert (found[0], found[-1]) == (0.5, 0)


def test_p_is_part_of_the_state(make_settings: Callable[..., TrainingConfig]) -> None:
    config = make_settings(loss=LossConfig("hinge"))
    whole, half, rest = ada(config, 0.3), ada(config, 0.3), ada(config)
    for trainer, steps in ((whole, 9), (half, 5)):
        for _ in range(steps):
            trainer.train_step()
    rest.load_state({name: tensor.clone() for name, tensor in half.state().items()}, half.step, half.batches.position)
    for _ in range(4):
        rest.train_step()
    expected = whole.state()
    assert {"ada.p", "ada.signs", "ada.batches", "diffaugment_rng"} <= expected.keys()
    assert all(torch.equal(tensor, expected[name]) for name, tensor in rest.state().items())
