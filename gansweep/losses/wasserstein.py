"""The Wasserstein distance, estimated by a critic that is kept smooth in one of two ways."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from gansweep.losses.loss import Loss, input_gradients, option

if TYPE_CHECKING:
    import torch
    from torch import Tensor


@dataclass(frozen=True)
class Wasserstein(Loss):
    """Base of the Wasserstein losses: the losses of the critic and of G."""

    critic = True

    def discriminator(self, real: Tensor, fake: Tensor) -> Tensor:
        """Return mean fake − mean real, the negative estimated distance (Arjovsky, Chintala & Bottou 2017, eq. 3)."""
        return fake.mean() - real.mean()

    def generator(self, fake: Tensor, real: Callable[[], Tensor]) -> Tensor:
        """Return G's loss, −mean(fake), where `fake` are D's outputs for fakes."""
        return -fake.mean()


@dataclass(frozen=True)
class WassersteinClip(Wasserstein):
    """Wasserstein loss with weight clipping (Arjovsky, Chintala & Bottou 2017, algorithm 1)."""

    name = "wasserstein_clip"
    clip: float = option(0.01, "limit on the absolute value of the critic's weights", gt=0, le=10)

    def constrain(self, weights: list[Tensor]) -> None:
        import torch

        with torch.no_grad():
            torch._foreach_clamp_max_(weights, self.clip)
            torch._foreach_clamp_min_(weights, -self.clip)


@dataclass(frozen=True)
class WassersteinGP(Wasserstein):
    """Wasserstein loss with a gradient penalty (Gulrajani et al. 2017, algorithm 1)."""

    name = "wasserstein_gp"
    penalises = "images"
    gradient_penalty: float = option(10.0, "weight of the gradient penalty", gt=0)

    def penalty(
        self, discriminator: Callable[[Tensor], Tensor], real: Tensor, fake: Tensor, rng: torch.Generator
    ) -> Tensor:
        import torch

        between = torch.rand(len(real), generator=rng, device=real.device)
        return self.gradient_penalty * gradient_penalty(discriminator, real, fake, between)


def gradient_penalty(discriminator: Callable[[Tensor], Tensor], real: Tensor, fake: Tensor, between: Tensor) -> Tensor:
    """Return mean (‖∇D(x)‖ − 1)² at points x on the lines between real and fake images. Differentiable.

    Args:
        discriminator: Maps images to outputs, (N,); each output depends on one image only.
        real, fake: Images, (N, C, H, W).
        between: Position of x on each line, (N,) in [0, 1]: 0 is fake, 1 is real.
    """
    share = between.view(-1, 1, 1, 1)
    norms: Tensor = input_gradients(discriminator, share * real + (1 - share) * fake).norm(dim=1)
    return (norms - 1).square().mean()
