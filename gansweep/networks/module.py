"""Interface of built networks."""

from __future__ import annotations

from torch import Tensor, nn


class GanModule(nn.Module):
    """A generator or a discriminator.

    A generator maps z, (N, latent_dim), to images in [-1, 1], (N, C, H, W). A discriminator maps images to outputs,
    (N,).
    """

    def forward(self, x: Tensor, labels: Tensor | None = None, groups: int = 1) -> Tensor:
        """Return the images of a generator, or the outputs of a discriminator.

        Args:
            x: z for a generator, images for a discriminator.
            labels: Classes, (N,), for a conditional network.
            groups: Number of batches of equal size that x consists of. Batch norm treats each as in a separate call:
                it normalises it by its own statistics and updates the running statistics.
        """
        raise NotImplementedError

    def body(self) -> dict[str, Tensor]:
        """Return the part of a discriminator's state dict that is kept when it grows."""
        raise NotImplementedError
