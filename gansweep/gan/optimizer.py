"""Adam with torch's fused kernel.

torch.optim.Adam uses the same kernel, but importing it loads torch._dynamo, 1.9 s in every trial process.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from gansweep.config import OptimizerConfig


class Adam:
    """Adam (Kingma & Ba 2015, algorithm 1) with epsilon 1e-8. State and parameters change in place.

    Args:
        parameters: Tensors to optimise.
        learning_rate: > 0.
        beta1: In [0, 1).
        beta2: In [0, 1).
    """

    def __init__(self, parameters: Sequence[Tensor], learning_rate: float, beta1: float, beta2: float) -> None:
        self.parameters = list(parameters)
        self.learning_rate, self.beta1, self.beta2 = learning_rate, beta1, beta2
        self.means = [torch.zeros_like(p) for p in self.parameters]
        self.squares = [torch.zeros_like(p) for p in self.parameters]
        self.steps = [torch.zeros((), dtype=torch.float32, device=p.device) for p in self.parameters]

    @classmethod
    def of(cls, parameters: Sequence[Tensor], config: OptimizerConfig) -> Adam:
        """Return an optimizer of these parameters with the options of `config`."""
        return cls(parameters, config.learning_rate, config.beta1, config.beta2)

    @torch.no_grad()
    def step(self, gradients: Sequence[Tensor]) -> None:
        """Perform one update with gradients in the order of the parameters."""
        # The kernel uses raw memory, and the layout of a gradient of autograd.grad may differ from that of its
        # parameter.
        pairs = zip(self.parameters, gradients, strict=True)
        alike = [g if g.stride() == p.stride() else torch.empty_like(p).copy_(g) for p, g in pairs]
        torch._foreach_add_(self.steps, 1)
        torch._fused_adam_(
            self.parameters, alike, self.means, self.squares, [], self.steps,
            lr=self.learning_rate, beta1=self.beta1, beta2=self.beta2, weight_decay=0.0, eps=1e-8,
            amsgrad=False, maximize=False,
        )  # fmt: skip

    def copy_moments(self, to: int, other: Adam, at: int) -> None:
        """Copy the moments and the step count of parameter number `at` of another Adam to parameter number `to`."""
        for mine, theirs in ((self.means, other.means), (self.squares, other.squares), (self.steps, other.steps)):
            mine[to].copy_(theirs[at])

    def state(self) -> dict[str, Tensor]:
        """Return the state by name: `mean.i`, `square.i` and `step.i` of parameter number i, not copied."""
        named = {"mean": self.means, "square": self.squares, "step": self.steps}
        return {f"{name}.{i}": t for name, tensors in named.items() for i, t in enumerate(tensors)}

    def load_state(self, state: dict[str, Tensor]) -> None:
        """Restore a state returned by `state`. Raises KeyError if a tensor is missing."""
        for name, tensor in self.state().items():
            tensor.copy_(state[name])
