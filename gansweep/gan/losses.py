"""Losses on logits."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F


def discriminator_loss(real_logits: Tensor, fake_logits: Tensor) -> Tensor:
    """−mean log σ(real) − mean log(1 − σ(fake)); 2 ln 2 where D can tell nothing (Goodfellow et al. 2014, eq. 1).

    real_logits, fake_logits: (N,). NaN where a logit is NaN; finite for any finite logit.
    """
    return F.softplus(-real_logits).mean() + F.softplus(fake_logits).mean()


def generator_loss(fake_logits: Tensor) -> Tensor:
    """−mean log σ(fake), the non-saturating form (Goodfellow et al. 2014, section 3); ln 2 where D can tell nothing."""
    return F.softplus(-fake_logits).mean()
