"""Losses with targets of −1 for fakes and 1 for real images."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from gansweep.losses.loss import Loss

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class Margins(Loss):
    """Base of the losses with targets of −1 and 1."""

    def probability(self, outputs: Tensor) -> Tensor:
        """Return D's outputs mapped linearly so that −1 becomes 0 and 1 becomes 1, and clamped to [0, 1]."""
        return ((outputs + 1) / 2).clamp(0, 1)


@dataclass(frozen=True)
class LeastSquares(Margins):
    name = "least_squares"

    def discriminator(self, real: Tensor, fake: Tensor) -> Tensor:
        """Return ½ mean (real − 1)² + ½ mean (fake + 1)²; 1 if D is 0 (Mao et al. 2017, eq. 2 with a = −1, b = 1)."""
        return ((real - 1).square().mean() + (fake + 1).square().mean()) / 2

    def generator(self, fake: Tensor, real: Callable[[], Tensor]) -> Tensor:
        """Return ½ mean (fake − 1)² (Mao et al. 2017, eq. 2 with c = 1)."""
        return (fake - 1).square().mean() / 2


@dataclass(frozen=True)
class Hinge(Margins):
    name = "hinge"

    def discriminator(self, real: Tensor, fake: Tensor) -> Tensor:
        """Return mean max(0, 1 − real) + mean max(0, 1 + fake); 2 if D is 0 (Lim & Ye 2017, section 3)."""
        return (1 - real).relu().mean() + (1 + fake).relu().mean()

    def generator(self, fake: Tensor, real: Callable[[], Tensor]) -> Tensor:
        """Return −mean fake."""
        return -fake.mean()
