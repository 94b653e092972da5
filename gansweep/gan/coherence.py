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
    """Return D's outputs for samples, and the mean cosine between the gradients ∂L_G/∂x of two samples x.

    Gradients are computed for the first batch only, which has enough pairs; for all samples they would double the cost
    of D. For n unit vectors u the mean cosine is (|Σu|² − n) / (n · (n − 1)).

    Args:
        loss: Loss of the training; its part for G is used.
        discriminator: Maps images (N, C, H, W) in [-1, 1] and their classes to outputs, (N,).
        fakes: (batches · size, C, H, W) uint8 samples, and their classes.
        real: (size,) outputs of D for a batch of real images. Some losses compare the outputs for samples with them.
        size: Batch size; D normalises each batch separately.

    Returns:
        (N,) float64 outputs, and the mean cosine, a float64 scalar in [−1, 1]. The cosine is NaN if the gradient of a
        sample is zero or not finite, or if the batch has one sample.
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
    """Return the mean cosine between two different rows, a scalar; NaN for a single row."""
    units, n = rows / rows.norm(dim=1, keepdim=True), len(rows)
    return (units.sum(dim=0).square().sum() - n) / (n * (n - 1)) if n > 1 else rows.new_full((), torch.nan)
