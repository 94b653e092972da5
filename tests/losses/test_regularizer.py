from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from gansweep.losses.regularizer import Regularizer

RNG = np.random.default_rng(0)
REAL, FAKE = (torch.tensor(RNG.normal(size=(3, 2, 4, 4))) for _ in range(2))


def linear(x: Tensor) -> Tensor:
    return 3 * x.sum((1, 2, 3))


def quadratic(x: Tensor) -> Tensor:
    """½ xᵀx, whose gradient is x."""
    return x.square().sum((1, 2, 3)) / 2


def squares(x: Tensor) -> float:
    """mean ‖x‖² over images."""
    return float((x.numpy() ** 2).sum((1, 2, 3)).mean())


@pytest.mark.parametrize(
    ("regularizer", "expected"),
    [
        (Regularizer(r1=2.0), squares(REAL)),
        (Regularizer(r2=2.0), squares(FAKE)),
        (Regularizer(r1=10.0, r2=4.0), 5 * squares(REAL) + 2 * squares(FAKE)),
        (Regularizer(r1=2.0, interval=16), 16 * squares(REAL)),
    ],
)
def test_penalties_of_a_quadratic_d_are_the_squares_of_its_inputs(regularizer: Regularizer, expected: float) -> None:
    assert regularizer.penalty(quadratic, REAL, FAKE).item() == pytest.approx(expected)


def test_penalties_of_a_linear_d_depend_on_its_slope_only() -> None:
    penalty = Regularizer(r1=1.0, r2=1.0).penalty(linear, REAL, FAKE)
    assert penalty.item() == pytest.approx(2 * 0.5 * 32 * 3**2)  # 32 pixels, each with a gradient of 3


def test_the_gradient_of_the_penalty_is_that_of_the_closed_form() -> None:
    """D(x) = w/2 · xᵀx: γ/2 · w² · mean ‖x‖², whose derivative is γ · w · mean ‖x‖²."""
    weight = torch.tensor(0.7, dtype=torch.float64, requires_grad=True)
    (slope,) = torch.autograd.grad(Regularizer(r1=5.0).penalty(lambda x: weight * quadratic(x), REAL, FAKE), weight)
    assert slope.item() == pytest.approx(5 * 0.7 * squares(REAL))


def test_lazy_penalties_are_due_each_interval_and_never_without_a_weight() -> None:
    assert [step for step in range(33) if Regularizer(r2=1.0, interval=16).is_due(step)] == [0, 16, 32]
    assert all(Regularizer(r1=1.0).is_due(step) for step in range(3))
    assert not any(Regularizer(interval=2).is_due(step) for step in range(3))
