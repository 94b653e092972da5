"""Operators against NumPy, and what their composition does in training."""

from __future__ import annotations

from collections.abc import Callable
from typing import get_args

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from gansweep import config
from gansweep.config import DiffAugmentConfig
from gansweep.gan.batches import generator
from gansweep.gan.diffaugment import (
    OPERATORS,
    DiffAugment,
    brightness,
    contrast,
    cutout,
    saturation,
    translation,
)
from gansweep.gan.training import Trainer

IMAGES = torch.tensor(np.random.default_rng(0).uniform(-1, 1, (4, 3, 8, 8)))
U = torch.tensor([[0.0, 0.0], [0.5, 0.5], [0.25, 0.75], [0.99, 0.99]], dtype=torch.float64)
Image = NDArray[np.float64]


def shifted(image: Image, down: int, right: int) -> Image:
    """An image of (C, 8, 8) moved on a field of zeros."""
    field = np.zeros((len(image), 16, 16))
    field[:, 4 + down : 12 + down, 4 + right : 12 + right] = image
    return field[:, 4:12, 4:12]


def cut(image: Image, row: int, column: int) -> Image:
    """An image of (C, 8, 8) without the square of 4 × 4 whose third row and column are these."""
    image = image.copy()
    image[:, max(0, row - 2) : row + 2, max(0, column - 2) : column + 2] = 0
    return image


def test_operators_are_those_of_the_schema() -> None:
    assert tuple(OPERATORS) == get_args(config.Operator)


def test_colours_equal_the_closed_forms() -> None:
    x, u = IMAGES.numpy(), U.numpy()[:, :1, None, None]
    grey, level = x.mean(1, keepdims=True), x.mean((1, 2, 3), keepdims=True)
    np.testing.assert_allclose(brightness(IMAGES, U), x + u - 0.5)
    np.testing.assert_allclose(saturation(IMAGES, U), grey + (x - grey) * 2 * u)
    np.testing.assert_allclose(contrast(IMAGES, U), level + (x - level) * (u + 0.5))
    np.testing.assert_allclose(saturation(IMAGES[:, :1], U), x[:, :1], err_msg="grey images have no colour")


def test_an_image_is_shifted_by_up_to_an_eighth_of_its_side() -> None:
    moves = [(-1, -1), (0, 0), (-1, 1), (1, 1)]  # of ⌊3u⌋ − 1
    expected = [shifted(image, *move) for image, move in zip(IMAGES.numpy(), moves, strict=True)]
    assert np.array_equal(translation(IMAGES, U), expected)


def test_a_square_of_half_the_side_is_cut_out_around_any_pixel() -> None:
    centres = [(0, 0), (4, 4), (2, 6), (8, 8)]  # of ⌊9u⌋
    expected = [cut(image, *centre) for image, centre in zip(IMAGES.numpy(), centres, strict=True)]
    assert np.array_equal(cutout(IMAGES, U), expected)


@pytest.mark.parametrize("operators", OPERATORS.values(), ids=OPERATORS)
def test_gradients_are_those_of_finite_differences(operators: tuple[Callable[[Tensor, Tensor], Tensor], ...]) -> None:
    images = IMAGES[:2, :, :4, :4].clone().requires_grad_()
    for operator in operators:
        assert torch.autograd.gradcheck(lambda x, operator=operator: operator(x, U[1:3]), (images,))


def test_each_operator_is_applied_with_its_probability() -> None:
    images = torch.ones(4000, 1, 8, 8)
    augment = DiffAugment(["translation", "cutout"], generator(0, "test"))
    whole = [float(augment(images, torch.tensor(p)).flatten(1).all(1).float().mean()) for p in (0.0, 0.4, 1.0)]
    # Neither is applied, or a translation by nothing: 1 of 9.
    assert whole == pytest.approx([1, 0.6 * (0.6 + 0.4 / 9), 0], abs=0.03)


def test_amounts_do_not_depend_on_the_probability() -> None:
    """Only the brightness of a grey image of one value changes."""
    found = DiffAugment(["color"], generator(0, "test"))(torch.zeros(4000, 1, 2, 2), torch.tensor(0.5))[:, 0, 0, 0]
    changed = found[found != 0]
    assert len(changed) / 4000 == pytest.approx(0.5, abs=0.03)
    assert float(changed.mean()) == pytest.approx(0, abs=0.02)
    assert float(changed.std()) == pytest.approx(12**-0.5, abs=0.02)


def test_the_policy_is_applied_in_its_order_from_its_own_stream() -> None:
    augment, rng = DiffAugment(["cutout", "color"], generator(3, "x")), generator(3, "x")
    expected = IMAGES
    for operator in (cutout, brightness, saturation, contrast):
        expected = operator(expected, torch.rand(4, 3, generator=rng)[:, :2])
    assert torch.equal(augment(IMAGES), expected)


def test_everything_that_d_sees_is_augmented_and_g_learns_through_it(
    make_trainer: Callable[..., Trainer], monkeypatch: pytest.MonkeyPatch
) -> None:
    trainer, shown, fakes = make_trainer(augment=DiffAugmentConfig(("translation", "cutout"))), [], []
    seen, made = trainer.inputs._augment, trainer._make
    assert seen is not None

    def augment(images: Tensor, probability: Tensor | None = None) -> Tensor:
        augmented = seen(images, probability)
        shown.append((images, augmented))
        return augmented

    def make(labels: Tensor | None) -> Tensor:
        fakes.append(made(labels))
        fakes[-1].register_hook(lambda gradient: slopes.append(gradient))
        return fakes[-1]

    slopes: list[Tensor] = []
    monkeypatch.setattr(trainer.inputs, "_augment", augment)
    monkeypatch.setattr(trainer, "_make", make)
    inputs: list[Tensor] = []
    trainer.discriminator.register_forward_pre_hook(lambda _, given: inputs.append(given[0].detach()))
    trainer.train_step()
    (real, real_shown), (for_d, fakes_shown), (for_g, shown_to_train_g) = shown
    assert torch.equal(inputs[0], torch.cat([real_shown, fakes_shown]).detach())
    assert torch.equal(inputs[1], shown_to_train_g.detach())
    assert not torch.equal(real, real_shown)
    assert torch.equal(for_d, fakes[0])
    assert for_g is fakes[0]
    assert not torch.equal(fakes_shown, shown_to_train_g)
    (slope,) = slopes
    assert slope.abs().sum() > 0
    hidden = (shown_to_train_g == 0).all(1, keepdim=True).flatten(1).float().mean(1)
    assert float(hidden.min()) > 0  # of each image a part is cut out, …
    assert float((slope == 0).float().mean()) > 0.05  # … of which G learns nothing
