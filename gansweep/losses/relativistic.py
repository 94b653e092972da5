"""The relativistic pairing loss: only differences between a real image and a fake count."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from gansweep.losses.loss import Loss

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class Relativistic(Loss):
    """Cross-entropy of the difference of D's outputs for a real image and a fake (Jolicoeur-Martineau 2019).

    With R1 and R2 (`Regularizer`) it is the loss of R3GAN (Huang et al. 2024, eq. 3). A constant added to all outputs
    changes nothing, so an output by itself is not a decision between real and fake: D is a critic.
    """

    name = "relativistic"
    critic = True
    compares = True
    unit = "nats"

    def discriminator(self, real: Tensor, fake: Tensor) -> Tensor:
        """Return mean log(1 + exp(fake − real)) over pairs (real image, fake); ln 2 if all outputs are equal."""
        from torch.nn import functional as F

        return F.softplus(fake - real).mean()

    def generator(self, fake: Tensor, real: Callable[[], Tensor]) -> Tensor:
        """Return mean log(1 + exp(real − fake)) over pairs (real image, fake); ln 2 if all outputs are equal."""
        from torch.nn import functional as F

        return F.softplus(real() - fake).mean()
