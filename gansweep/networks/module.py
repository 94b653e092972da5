"""Interface of built networks."""

from __future__ import annotations

from torch import Tensor, nn


class GanModule(nn.Module):
    """A generator or a discriminator.

    A generator maps z, (N, latent_dim), to images in [-1, 1], (N, C, H, W). A discriminator maps images to outputs,
    (N,).
    """

    def forward(self, x: Tensor, labels: Tensor | None = None, groups: int = 1) -> Tensor:
        """Return images or outputs.

        Args:
            x: z or images.
            labels: Classes, (N,), for a conditional network.
            groups: Number of batches of equal size in x. Each is normalised by its own statistics and updates the
                running ones, as in separate calls.
        """
        raise NotImplementedError

    def body(self) -> dict[str, Tensor]:
        """Return the part of a discriminator's state that is kept when it grows."""
        raise NotImplementedError
