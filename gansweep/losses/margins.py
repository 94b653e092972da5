"""Losses whose targets for D's output are −1 for fakes and 1 for real images."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from gansweep.losses.loss import Loss

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class Margins(Loss):
    def probability(self, outputs: Tensor) -> Tensor:
        """Return the targets −1 and 1 as 0 and 1, cut off beyond."""
        return ((outputs + 1) / 2).clamp(0, 1)


@dataclass(frozen=True)
class LeastSquares(Margins):
    name = "least_squares"

    def discriminator(self, real: Tensor, fake: Tensor) -> Tensor:
        """½ mean (real − 1)² + ½ mean (fake + 1)² (Mao et al. 2017, eq. 2 with a = −1, b = 1); 1 where D is 0."""
        return ((real - 1).square().mean() + (fake + 1).square().mean()) / 2

    def generator(self, fake: Tensor, real: Callable[[], Tensor]) -> Tensor:
        """½ mean (fake − 1)² (Mao et al. 2017, eq. 2 with c = 1)."""
        return (fake - 1).square().mean() / 2


@dataclass(frozen=True)
class Hinge(Margins):
    name = "hinge"

    def discriminator(self, real: Tensor, fake: Tensor) -> Tensor:
        """mean max(0, 1 − real) + mean max(0, 1 + fake) (Lim & Ye 2017, section 3); 2 where D is 0."""
        return (1 - real).relu().mean() + (1 + fake).relu().mean()

    def generator(self, fake: Tensor, real: Callable[[], Tensor]) -> Tensor:
        """−mean fake."""
        return -fake.mean()
