"""Adaptive discriminator augmentation: its probability follows how far D overfits (Karras et al. 2020)."""

from __future__ import annotations

import torch
from torch import Tensor


class AdaptiveProbability:
    """Probability of augmentation, which rises while r_t = mean sign D(real) is above a target, and falls below it.

    See section 3.1 of "Training generative adversarial networks with limited data". Everything stays on the device.

    Attributes:
        p: The probability, a scalar in [0, 1], 0 at first. NaN once an output was NaN.

    Args:
        target: Target of r_t.
        interval: Number of batches over which r_t is averaged before each change of p.
        change: Amount by which p changes.
        device: Device of D's outputs.
    """

    def __init__(self, target: float, interval: int, change: float, device: torch.device) -> None:
        self._target, self._interval, self._change = target, interval, change
        self.p, self._signs, self._batches = (torch.zeros((), device=device) for _ in range(3))

    @torch.no_grad()
    def observe(self, real: Tensor) -> None:
        """Take D's outputs for a batch of real images, (N,), into account. Never waits for the device."""
        self._signs += real.sign().mean()
        self._batches += 1
        due = self._batches >= self._interval
        change = self._change * (self._signs / self._batches - self._target).sign()
        self.p.copy_(torch.where(due, (self.p + change).clamp(0, 1), self.p))
        self._signs.mul_(~due)
        self._batches.mul_(~due)

    def state(self) -> dict[str, Tensor]:
        """Return the state for a checkpoint."""
        return {"p": self.p, "signs": self._signs, "batches": self._batches}

    def load_state(self, state: dict[str, Tensor]) -> None:
        """Restore a state returned by `state`. Raises KeyError if a tensor is missing."""
        for name, tensor in self.state().items():
            tensor.copy_(state[name])
