"""Regularisation of D that goes with every loss: gradient penalties centred at zero."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from gansweep.losses.loss import input_gradients

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class Regularizer:
    """R1 and R2 (Mescheder, Geiger & Nowozin 2018, eqs. 9 and 10), which are added to D's loss.

    Attributes:
        r1: Weight of R1, γ in γ/2 · mean ‖∇D(x)‖² over real images x; 0 for none.
        r2: Weight of R2, the same over fakes; 0 for none.
        interval: Steps from one computation of the penalties to the next. Their weights are multiplied by it, so that
            their mean over steps does not depend on it (lazy regularisation: Karras et al. 2020, StyleGAN2, section
            3.1).
    """

    r1: float = 0.0
    r2: float = 0.0
    interval: int = 1

    @property
    def penalises(self) -> bool:
        """Whether this regularizer adds a penalty to D's loss."""
        return self.r1 > 0 or self.r2 > 0

    def is_due(self, step: int) -> bool:
        """Whether the penalties, if any, are computed in a step, counted from 0: at multiples of `interval`."""
        return self.penalises and step % self.interval == 0

    def penalty(self, discriminator: Callable[[Tensor], Tensor], real: Tensor, fake: Tensor) -> Tensor:
        """Return the weighted sum of the penalties, a differentiable scalar. At least one weight must be above 0.

        Args:
            discriminator: Maps images to outputs, (N,); each output depends on one image only.
            real, fake: Images as D sees them, (N, C, H, W).
        """
        weighted = [(self.r1, real), (self.r2, fake)]
        terms = [weight / 2 * _squared(discriminator, images) for weight, images in weighted if weight]
        total: Tensor = sum(terms[1:], terms[0]) * self.interval
        return total


def _squared(discriminator: Callable[[Tensor], Tensor], images: Tensor) -> Tensor:
    """Return mean ‖∇D(x)‖² over images."""
    return input_gradients(discriminator, images).square().sum(1).mean()
