from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from gansweep.config import LossConfig
from gansweep.losses.cross_entropy import CrossEntropy
from gansweep.losses.loss import Loss
from gansweep.losses.registry import LOSSES, is_critic
from gansweep.losses.wasserstein import gradient_penalty

Outputs = NDArray[np.float64]
OUTPUTS = st.lists(st.floats(-(2.0**60), 2.0**60, width=32), min_size=1, max_size=9)
EACH = pytest.mark.parametrize("name", LOSSES)


def make(name: str, smoothing: float = 0.0) -> Loss:
    """A loss, its targets smoothed where it has such an option."""
    loss = LOSSES[name]
    return loss(label_smoothing=smoothing) if issubclass(loss, CrossEntropy) else loss()


def against_zeros(loss: Loss, fake: Tensor) -> Tensor:
    """G's loss where D's outputs for real images are 0."""
    return loss.generator(fake, lambda: torch.zeros_like(fake))


def of_g(loss: Loss, fake: Tensor) -> Tensor:
    """G's loss, of a loss that depends on fakes only."""

    def real() -> Tensor:
        raise AssertionError("needs no real outputs")

    return loss.generator(fake, real)


def log_sigmoid(x: Outputs) -> Outputs:
    """log σ(x) = −log(1 + e^−x)."""
    found: Outputs = -np.logaddexp(0.0, -x)
    return found


def cross_entropy(real: Outputs, fake: Outputs, s: float) -> float:
    """Targets 1 − s and 0."""
    return float(-((1 - s) * log_sigmoid(real) + s * log_sigmoid(-real)).mean() - log_sigmoid(-fake).mean())


def wasserstein(real: Outputs, fake: Outputs, _: float) -> float:
    return float(fake.mean() - real.mean())


# The formulas of the papers, in double precision: of D, of G, and what D's output says of an image.
CLOSED_FORMS: dict[
    str, tuple[Callable[..., float], Callable[[Outputs], float], Callable[[Outputs], Outputs] | None]
] = {
    "non_saturating": (cross_entropy, lambda fake: -log_sigmoid(fake).mean(), lambda x: np.exp(log_sigmoid(x))),
    "saturating": (cross_entropy, lambda fake: log_sigmoid(-fake).mean(), lambda x: np.exp(log_sigmoid(x))),
    "least_squares": (
        lambda real, fake, _: ((real - 1) ** 2).mean() / 2 + ((fake + 1) ** 2).mean() / 2,
        lambda fake: ((fake - 1) ** 2).mean() / 2,
        lambda x: np.clip((x + 1) / 2, 0, 1),
    ),
    "hinge": (
        lambda real, fake, _: np.maximum(0, 1 - real).mean() + np.maximum(0, 1 + fake).mean(),
        lambda fake: -fake.mean(),
        lambda x: np.clip((x + 1) / 2, 0, 1),
    ),
    "wasserstein_clip": (wasserstein, lambda fake: -fake.mean(), None),
    "wasserstein_gp": (wasserstein, lambda fake: -fake.mean(), None),
}


@pytest.mark.parametrize("name", CLOSED_FORMS)
@given(real=OUTPUTS, fake=OUTPUTS, smoothing=st.sampled_from([0.0, 0.1, 0.3]))
def test_equal_the_closed_forms(name: str, real: list[float], fake: list[float], smoothing: float) -> None:
    loss, (for_d, for_g, of_one) = make(name, smoothing), CLOSED_FORMS[name]
    ours = loss.discriminator(torch.tensor(real), torch.tensor(fake))
    real_outputs, fake_outputs = np.array(real), np.array(fake)
    scale = max(np.abs(real_outputs).mean(), np.abs(fake_outputs).mean())  # a difference of means may cancel
    assert float(ours) == pytest.approx(for_d(real_outputs, fake_outputs, smoothing), rel=1e-5, abs=1e-6 * scale + 1e-7)
    assert float(of_g(loss, torch.tensor(fake))) == pytest.approx(
        for_g(fake_outputs), rel=1e-5, abs=1e-6 * scale + 1e-44
    )  # float32 has nothing finer than 1e-45
    assert loss.critic == is_critic(name) == (of_one is None)
    if of_one:
        np.testing.assert_allclose(loss.probability(torch.tensor(real)), of_one(real_outputs), rtol=1e-5, atol=1e-7)


LN2 = math.log(2)


@pytest.mark.parametrize(
    ("name", "for_d", "for_g", "probability"),
    [
        ("non_saturating", 2 * LN2, LN2, 0.5),
        ("saturating", 2 * LN2, -LN2, 0.5),
        ("least_squares", 1, 0.5, 0.5),
        ("hinge", 2, 0, 0.5),
        ("wasserstein_clip", 0, 0, None),
        ("wasserstein_gp", 0, 0, None),
    ],
)
def test_values_where_d_can_tell_nothing(name: str, for_d: float, for_g: float, probability: float | None) -> None:
    loss, zeros = make(name), torch.zeros(4)
    assert float(loss.discriminator(zeros, zeros)) == pytest.approx(for_d)
    assert float(of_g(loss, zeros)) == pytest.approx(for_g)
    assert (None if loss.critic else float(loss.probability(zeros)[0])) == probability


@EACH
def test_d_and_g_want_the_opposite_of_fakes(name: str) -> None:
    """Where neither is sated: D rises on real images and falls on fakes, G wants D to rise on them."""
    real, fake = (torch.zeros(2, requires_grad=True) for _ in range(2))
    on_real, on_fake = torch.autograd.grad(make(name).discriminator(real, fake), (real, fake))
    (for_g,) = torch.autograd.grad(against_zeros(make(name), fake), fake)
    assert (on_real < 0).all()
    assert (on_fake > 0).all()
    assert (for_g < 0).all()


def test_gradients_equal_those_of_torch() -> None:
    torch.manual_seed(0)
    real, fake = (torch.randn(8, dtype=torch.float64, requires_grad=True) for _ in range(2))
    ones, zeros = torch.ones_like(real), torch.zeros_like(real)
    bce, mse, leaves = F.binary_cross_entropy_with_logits, F.mse_loss, (real, fake)
    references = {
        "non_saturating": (bce(real, ones) + bce(fake, zeros), bce(fake, ones)),
        "saturating": (bce(real, ones) + bce(fake, zeros), -bce(fake, zeros)),
        "least_squares": ((mse(real, ones) + mse(fake, -ones)) / 2, mse(fake, ones) / 2),
        "hinge": (F.hinge_embedding_loss(real, -ones) + F.hinge_embedding_loss(-fake, -ones), -fake.mean()),
    }
    for name, (for_d, for_g) in references.items():
        loss = make(name)
        ours = torch.autograd.grad(loss.discriminator(real, fake), leaves)
        torch.testing.assert_close(ours, torch.autograd.grad(for_d, leaves))
        torch.testing.assert_close(*(torch.autograd.grad(x, fake) for x in (of_g(loss, fake), for_g)))


@pytest.mark.parametrize("name", ["non_saturating", "saturating"])
@pytest.mark.parametrize("smoothing", [0.1, 0.4])
def test_smoothed_targets_are_those_of_torchs_cross_entropy(name: str, smoothing: float) -> None:
    torch.manual_seed(0)
    real, fake = (torch.randn(8, dtype=torch.float64, requires_grad=True) for _ in range(2))
    bce = F.binary_cross_entropy_with_logits
    plain = bce(real, torch.full_like(real, 1 - smoothing)) + bce(fake, torch.zeros_like(fake))
    ours = make(name, smoothing).discriminator(real, fake)
    torch.testing.assert_close(ours, plain)
    unsmoothed = make(name, smoothing).for_validation()
    torch.testing.assert_close(unsmoothed.discriminator(real, fake), make(name).discriminator(real, fake))
    torch.testing.assert_close(*(torch.autograd.grad(loss, (real, fake)) for loss in (ours, plain)))


@pytest.mark.parametrize(("output", "expected"), [(1e4, 0.0), (-1e4, 1e4), (3e38, 0.0), (-3e38, 3e38)])
def test_large_outputs_stay_finite_with_the_right_gradient(output: float, expected: float) -> None:
    outputs = torch.full((1,), output, requires_grad=True)
    loss = of_g(make("non_saturating"), outputs)
    assert float(loss.detach()) == pytest.approx(expected, rel=1e-6)
    (gradient,) = torch.autograd.grad(loss, outputs)
    assert gradient.tolist() == [0.0 if output > 0 else -1.0]


@EACH
@pytest.mark.parametrize("output", [1e4, -1e4, 1e18, -1e18])
def test_large_outputs_give_finite_losses(name: str, output: float) -> None:
    outputs = torch.full((3,), output)
    loss = make(name, 0.1)
    assert loss.discriminator(outputs, -outputs).isfinite()
    assert loss.discriminator(-outputs, outputs).isfinite()
    assert against_zeros(loss, outputs).isfinite()


@EACH
def test_nan_shows(name: str) -> None:
    nan, zero = torch.tensor([0.0, math.nan]), torch.zeros(2)
    for loss in (make(name), make(name, 0.1)):
        assert loss.discriminator(nan, zero).isnan()
        assert loss.discriminator(zero, nan).isnan()
    assert against_zeros(loss, nan).isnan()
    if not loss.critic:
        assert loss.probability(nan).isnan().tolist() == [False, True]


# The gradient penalty.


def images(*shape: int) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64)


@given(st.lists(st.floats(-3, 3), min_size=4, max_size=4).filter(lambda w: np.linalg.norm(w) > 1e-3))
def test_the_penalty_of_a_linear_critic_is_that_of_its_weights_length(w: list[float]) -> None:
    """D(x) = w·x: (‖w‖ − 1)², whose gradient is 2 (‖w‖ − 1) w / ‖w‖."""
    weight = torch.tensor(w, dtype=torch.float64, requires_grad=True)
    real, fake = images(3, 1, 2, 2), images(3, 1, 2, 2)
    penalty = gradient_penalty(lambda x: x.flatten(1) @ weight, real, fake, torch.rand(3))
    length = np.linalg.norm(w)
    assert float(penalty.detach()) == pytest.approx((length - 1) ** 2, abs=1e-12)
    (gradient,) = torch.autograd.grad(penalty, weight)
    np.testing.assert_allclose(gradient, 2 * (length - 1) * np.array(w) / length, atol=1e-9)


def test_the_penalty_is_taken_between_each_real_image_and_its_fake() -> None:
    """D(x) = x²/2 of one pixel has the gradient x there: (|x| − 1)² at share · real + (1 − share) · fake."""
    real, fake, share = torch.tensor([2.0, 4.0]), torch.tensor([-2.0, 8.0]), torch.tensor([0.75, 0.25])
    seen: list[Tensor] = []

    def critic(x: Tensor) -> Tensor:
        seen.append(x)
        return x.flatten().square() / 2

    penalty = gradient_penalty(critic, real.view(2, 1, 1, 1), fake.view(2, 1, 1, 1), share)
    assert seen[0].flatten().tolist() == [1.0, 7.0]
    assert float(penalty.detach()) == pytest.approx((0 + 36) / 2)


@pytest.mark.parametrize("act", [nn.Tanh(), nn.LeakyReLU(0.2)], ids=["smooth", "leaky"])
def test_the_penalty_and_its_gradients_equal_numerical_ones(act: nn.Module) -> None:
    torch.manual_seed(0)
    critic = nn.Sequential(nn.Conv2d(1, 2, 3), act, nn.Flatten(), nn.Linear(8, 1)).double()
    names = [name for name, _ in critic.named_parameters()]
    real, fake, share = images(3, 1, 4, 4), images(3, 1, 4, 4), torch.rand(3, dtype=torch.float64)

    def penalty(*parameters: Tensor) -> Tensor:
        def judge(x: Tensor) -> Tensor:
            outputs: Tensor = torch.func.functional_call(critic, dict(zip(names, parameters, strict=True)), (x,))
            return outputs.flatten()

        return gradient_penalty(judge, real, fake, share)

    leaves = tuple(p.detach().requires_grad_() for p in critic.parameters())
    points = (share.view(-1, 1, 1, 1) * real + (1 - share.view(-1, 1, 1, 1)) * fake).flatten(1)
    steps = 1e-6 * torch.eye(16, dtype=torch.float64)
    with torch.no_grad():
        higher, lower = (critic((points[:, None] + sign * steps).view(-1, 1, 4, 4)).view(3, 16) for sign in (1, -1))
    slopes = ((higher - lower) / 2e-6).norm(dim=1)
    assert float(penalty(*leaves).detach()) == pytest.approx(float((slopes - 1).square().mean()), rel=1e-6)
    assert torch.autograd.gradcheck(penalty, leaves)
    assert torch.autograd.gradgradcheck(penalty, leaves)


def test_the_penalty_of_a_critic_that_says_the_same_of_all_is_one_and_pulls_nowhere() -> None:
    weight = torch.zeros(4, requires_grad=True)
    penalty = gradient_penalty(
        lambda x: x.flatten(1) @ weight, torch.ones(3, 1, 2, 2), torch.ones(3, 1, 2, 2), torch.rand(3)
    )
    assert float(penalty.detach()) == 1
    assert torch.autograd.grad(penalty, weight)[0].tolist() == [0, 0, 0, 0]


def test_nan_in_the_penalty_shows() -> None:
    x = torch.full((2, 1, 2, 2), math.nan)
    assert gradient_penalty(lambda x: x.square().sum((1, 2, 3)), x, x, torch.rand(2)).isnan()


# Instance noise.


def test_instance_noise_falls_to_zero_on_a_line_and_stays_there() -> None:
    falling, lasting = LossConfig(instance_noise=0.4, instance_noise_until=4), LossConfig(instance_noise=0.4)
    assert [falling.noise_at(step) for step in range(7)] == pytest.approx([0.4, 0.3, 0.2, 0.1, 0, 0, 0])
    assert {lasting.noise_at(step) for step in (0, 10, 10**6)} == {0.4}
    assert LossConfig().noise_at(0) == 0
