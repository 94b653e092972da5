"""Adaptive discriminator augmentation: its probability rises while D overfits (Karras et al. 2020)."""

from __future__ import annotations

import torch
from torch import Tensor


class AdaptiveProbability:
    """Probability of augmentation, which rises while r_t = mean sign D(real) is above a target, and falls below it.

    See section 3.1 of "Training generative adversarial networks with limited data". All state stays on the device.

    Attributes:
        p: The probability, a scalar tensor in [0, 1]. It starts at 0, and is NaN after D has returned NaN.

    Args:
        target: Target of r_t.
        interval: Number of batches over which r_t is averaged before each change of p.
        change: Amount by which p rises or falls at each change.
        device: Device of D's outputs.
    """

    def __init__(self, target: float, interval: int, change: float, device: torch.device) -> None:
        self._target, self._interval, self._change = target, interval, change
        self.p, self._signs, self._batches = (torch.zeros((), device=device) for _ in range(3))

    @torch.no_grad()
    def observe(self, real: Tensor) -> None:
        """Update r_t, and p after `interval` batches, by D's outputs for real images, (N,). Never waits for the GPU."""
        self._signs += real.sign().mean()
        self._batches += 1
        due = self._batches >= self._interval
        change = self._change * (self._signs / self._batches - self._target).sign()
        self.p.copy_(torch.where(due, (self.p + change).clamp(0, 1), self.p))
        self._signs.mul_(~due)
        self._batches.mul_(~due)

    def state(self) -> dict[str, Tensor]:
        """Return the tensors to be saved in a checkpoint, by name. They are not copied."""
        return {"p": self.p, "signs": self._signs, "batches": self._batches}

    def load_state(self, state: dict[str, Tensor]) -> None:
        """Restore a state returned by `state`. Raises KeyError if a tensor is missing."""
        for name, tensor in self.state().items():
            tensor.copy_(state[name])
