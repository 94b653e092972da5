from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn import functional as F

from gansweep.gan.losses import discriminator_loss, generator_loss

LOGITS = st.lists(st.floats(-(2.0**100), 2.0**100, width=32), min_size=1, max_size=9)


def log_sigmoid(logits: list[float]) -> np.ndarray:
    """log σ(x) = −log(1 + e^−x), in double precision."""
    return -np.logaddexp(0.0, -np.asarray(logits, np.float64))


@given(LOGITS, LOGITS)
def test_equal_the_closed_forms(real: list[float], fake: list[float]) -> None:
    d = -log_sigmoid(real).mean() - log_sigmoid([-x for x in fake]).mean()
    assert float(discriminator_loss(torch.tensor(real), torch.tensor(fake))) == pytest.approx(d, rel=1e-5, abs=1e-7)
    assert float(generator_loss(torch.tensor(fake))) == pytest.approx(-log_sigmoid(fake).mean(), rel=1e-5, abs=1e-7)


def test_values_where_d_can_tell_nothing() -> None:
    assert float(discriminator_loss(torch.zeros(4), torch.zeros(4))) == pytest.approx(2 * math.log(2))
    assert float(generator_loss(torch.zeros(4))) == pytest.approx(math.log(2))


@pytest.mark.parametrize(("logit", "expected"), [(1e4, 0.0), (-1e4, 1e4), (3e38, 0.0), (-3e38, 3e38)])
def test_large_logits_stay_finite_with_the_right_gradient(logit: float, expected: float) -> None:
    logits = torch.full((1,), logit, requires_grad=True)
    loss = generator_loss(logits)
    assert float(loss.detach()) == pytest.approx(expected, rel=1e-6)
    (gradient,) = torch.autograd.grad(loss, logits)
    assert gradient.tolist() == [0.0 if logit > 0 else -1.0]


def test_gradients_equal_those_of_torch() -> None:
    torch.manual_seed(0)
    real, fake = (torch.randn(8, requires_grad=True) for _ in range(2))
    bce, ones = F.binary_cross_entropy_with_logits, torch.ones(8)
    plain = torch.autograd.grad(bce(real, ones) + bce(fake, 0 * ones), (real, fake))
    torch.testing.assert_close(torch.autograd.grad(discriminator_loss(real, fake), (real, fake)), plain)
    plain = torch.autograd.grad(bce(fake, ones), fake)
    torch.testing.assert_close(torch.autograd.grad(generator_loss(fake), fake), plain)


def test_nan_shows() -> None:
    nan, zero = torch.tensor([0.0, math.nan]), torch.zeros(2)
    for loss in (discriminator_loss(nan, zero), discriminator_loss(zero, nan), generator_loss(nan)):
        assert math.isnan(loss)
