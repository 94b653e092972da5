"""The interface of built networks."""

from __future__ import annotations

from torch import Tensor, nn


class GanModule(nn.Module):
    """A generator, from z, (N, latent_dim), to images in [-1, 1], (N, C, H, W), or a discriminator, from images to
    outputs, (N,)."""

    def forward(self, x: Tensor, labels: Tensor | None = None, groups: int = 1) -> Tensor:
        """Return images or outputs.

        Args:
            labels: Classes, (N,), of a conditional network.
            groups: Number of batches of equal size that x consists of. Each is normalised by its own statistics, and
                updates the running ones, as if it had been passed alone.
        """
        raise NotImplementedError

    def body(self) -> dict[str, Tensor]:
        """Return the part of a discriminator's state that its successor takes over when it grows."""
        raise NotImplementedError
