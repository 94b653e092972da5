"""What D and G minimise, on the raw outputs of D: each loss with what D's output means under it.

Constants and forms are those of the papers that the docstrings name. NaN where an output is NaN; finite for any finite
output but where a sum or a square overflows.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F


@dataclass(frozen=True)
class Loss:
    """discriminator: (real outputs (N,), fake outputs (N,), label smoothing) → scalar. generator: fake → scalar.

    probability: output → how sure D is that an image is real; None of a critic.
    """

    discriminator: Callable[[Tensor, Tensor, float], Tensor]
    generator: Callable[[Tensor], Tensor]
    probability: Callable[[Tensor], Tensor] | None


def gradient_penalty(discriminator: Callable[[Tensor], Tensor], real: Tensor, fake: Tensor, between: Tensor) -> Tensor:
    """mean (‖∇D(x)‖ − 1)² at x on the lines between real and fake (Gulrajani et al. 2017, algorithm 1).

    real, fake: (N, C, H, W). between: (N,) in [0, 1]. Differentiable again. D must judge each image by itself.
    """
    share = between.view(-1, 1, 1, 1)
    x = (share * real + (1 - share) * fake).detach().requires_grad_()
    (gradients,) = torch.autograd.grad(discriminator(x).sum(), x, create_graph=True)
    norms: Tensor = gradients.flatten(1).norm(dim=1)
    return (norms - 1).square().mean()


def _cross_entropy(real: Tensor, fake: Tensor, smoothing: float) -> Tensor:
    """−mean [(1 − s) log σ(real) + s log(1 − σ(real))] − mean log(1 − σ(fake)); 2 ln 2 where D can tell nothing
    (Goodfellow et al. 2014, eq. 1; one-sided smoothing: Salimans et al. 2016, section 3.4)."""
    loss = F.softplus(-real).mean() + F.softplus(fake).mean()
    return loss + smoothing * real.mean() if smoothing else loss


def _non_saturating(fake: Tensor) -> Tensor:
    """−mean log σ(fake) (Goodfellow et al. 2014, section 3); ln 2 where D can tell nothing."""
    return F.softplus(-fake).mean()


def _saturating(fake: Tensor) -> Tensor:
    """mean log(1 − σ(fake)) (Goodfellow et al. 2014, eq. 1); −ln 2 where D can tell nothing."""
    return -F.softplus(fake).mean()


def _least_squares(real: Tensor, fake: Tensor, _: float) -> Tensor:
    """½ mean (real − 1)² + ½ mean (fake + 1)² (Mao et al. 2017, eq. 2 with a = −1, b = 1); 1 where D says 0."""
    return ((real - 1).square().mean() + (fake + 1).square().mean()) / 2


def _least_squares_generator(fake: Tensor) -> Tensor:
    """½ mean (fake − 1)² (Mao et al. 2017, eq. 2 with c = 1)."""
    return (fake - 1).square().mean() / 2


def _hinge(real: Tensor, fake: Tensor, _: float) -> Tensor:
    """mean max(0, 1 − real) + mean max(0, 1 + fake) (Lim & Ye 2017, section 3); 2 where D says 0."""
    return F.relu(1 - real).mean() + F.relu(1 + fake).mean()


def _wasserstein(real: Tensor, fake: Tensor, _: float) -> Tensor:
    """mean fake − mean real: the negated estimate of the distance (Arjovsky, Chintala & Bottou 2017, eq. 3)."""
    return fake.mean() - real.mean()


def _raise_outputs(fake: Tensor) -> Tensor:
    """−mean fake."""
    return -fake.mean()


def _between_margins(output: Tensor) -> Tensor:
    """The targets −1 and 1 as 0 and 1, cut off beyond."""
    return ((output + 1) / 2).clamp(0, 1)


LOSSES = {
    "non_saturating": Loss(_cross_entropy, _non_saturating, torch.sigmoid),
    "saturating": Loss(_cross_entropy, _saturating, torch.sigmoid),
    "least_squares": Loss(_least_squares, _least_squares_generator, _between_margins),
    "hinge": Loss(_hinge, _raise_outputs, _between_margins),
    "wasserstein_clip": Loss(_wasserstein, _raise_outputs, None),
    "wasserstein_gp": Loss(_wasserstein, _raise_outputs, None),
}
