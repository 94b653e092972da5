"""Losses by the cross-entropy of D's classification as real or fake (Goodfellow et al. 2014)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from gansweep.losses.loss import Loss, option

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class CrossEntropy(Loss):
    """Base of the cross-entropy losses. D's outputs are logits."""

    unit = "nats"
    logits = True
    label_smoothing: float = option(0.0, "D's target for real images is 1 minus this value (one-sided)", ge=0, lt=0.5)

    def discriminator(self, real: Tensor, fake: Tensor) -> Tensor:
        """Return −mean [(1 − s) log σ(real) + s log(1 − σ(real))] − mean log(1 − σ(fake)).

        s is `label_smoothing`. The loss is 2 ln 2 if D outputs 0 for all images. See Goodfellow et al. 2014, eq. 1; for
        one-sided smoothing, Salimans et al. 2016, section 3.4.
        """
        from torch.nn import functional as F

        loss = F.softplus(-real).mean() + F.softplus(fake).mean()
        return loss + self.label_smoothing * real.mean() if self.label_smoothing else loss

    def for_validation(self) -> Loss:
        return replace(self, label_smoothing=0.0)

    def probability(self, outputs: Tensor) -> Tensor:
        return outputs.sigmoid()


@dataclass(frozen=True)
class NonSaturating(CrossEntropy):
    name = "non_saturating"

    def generator(self, fake: Tensor, real: Callable[[], Tensor]) -> Tensor:
        """Return −mean log σ(fake) (Goodfellow et al. 2014, section 3); ln 2 if D outputs 0 for all fakes."""
        from torch.nn import functional as F

        return F.softplus(-fake).mean()


@dataclass(frozen=True)
class Saturating(CrossEntropy):
    name = "saturating"

    def generator(self, fake: Tensor, real: Callable[[], Tensor]) -> Tensor:
        """Return mean log(1 − σ(fake)) (Goodfellow et al. 2014, eq. 1); −ln 2 if D outputs 0 for all fakes."""
        from torch.nn import functional as F

        return -F.softplus(fake).mean()
