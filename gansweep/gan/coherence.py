"""Coherence of the gradients that D gives to single samples of G."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from gansweep.gan.batches import Batch
from gansweep.losses.loss import Loss


def outputs_and_coherence(
    loss: Loss, discriminator: Callable[[Tensor, Tensor | None], Tensor], fakes: Batch, real: Tensor, size: int
) -> tuple[Tensor, Tensor]:
    """Return D's outputs for samples, (N,) float64, and the mean cosine between ∂L_G/∂x of two samples x.

    The cosine is that of the first batch, whose pairs suffice; gradients of all samples would double the cost of D. For
    n unit vectors u the mean cosine is (|Σu|² − n) / (n · (n − 1)), a float64 scalar between −1 and 1. NaN if the
    gradient of a sample is zero or not finite, or if the batch has one sample.

    Args:
        loss: Loss of G.
        discriminator: Maps images (N, C, H, W) in [-1, 1] and their classes to outputs, (N,).
        fakes: (batches · size, C, H, W) uint8 samples, and their classes.
        real: (size,) outputs of D for a batch of real images, which some losses compare with.
        size: Batch size; D normalises each batch separately.
    """
    pixels, labels = fakes
    asked = [None] * (len(pixels) // size) if labels is None else torch.split(labels, size)
    (first, *others), (of_first, *of_others) = torch.split(pixels, size), asked
    with torch.enable_grad():
        x = _scaled(first).requires_grad_()
        outputs = discriminator(x, of_first).float()
        (gradients,) = torch.autograd.grad(loss.generator(outputs, lambda: real.float()), x)
    with torch.no_grad():
        rest = [discriminator(_scaled(batch), of).float() for batch, of in zip(others, of_others, strict=True)]
    return torch.cat([outputs.detach(), *rest]).double(), _mean_cosine(gradients.flatten(1).double())


def _scaled(pixels: Tensor) -> Tensor:
    return pixels.to(torch.float32).div(127.5).sub(1)


def _mean_cosine(rows: Tensor) -> Tensor:
    """Return the mean cosine between two of n rows."""
    units, n = rows / rows.norm(dim=1, keepdim=True), len(rows)
    return (units.sum(dim=0).square().sum() - n) / (n * (n - 1)) if n > 1 else rows.new_full((), torch.nan)
