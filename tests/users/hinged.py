"""Losses of a user, for tests: a hinge loss with another margin, and a critic's."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from gansweep.losses.loss import Loss, input_gradients


@dataclass(frozen=True)
class Hinged(Loss):
    margin: float = 1.0

    def discriminator(self, real: Tensor, fake: Tensor) -> Tensor:
        return (self.margin - real).relu().mean() + (self.margin + fake).relu().mean()

    def generator(self, fake: Tensor, real: Callable[[], Tensor]) -> Tensor:
        return -fake.mean()

    def probability(self, outputs: Tensor) -> Tensor:
        return ((outputs + self.margin) / (2 * self.margin)).clamp(0, 1)


@dataclass(frozen=True)
class Smooth(Hinged):
    """With a penalty on each image, and outputs that are no decisions."""

    critic = True
    penalises = "images"

    def penalty(
        self, discriminator: Callable[[Tensor], Tensor], real: Tensor, fake: Tensor, rng: torch.Generator
    ) -> Tensor:
        return self.margin * input_gradients(discriminator, real).square().mean()


class Vector(Hinged):
    def generator(self, fake: Tensor, real: Callable[[], Tensor]) -> Tensor:
        return -fake


class Detached(Hinged):
    def discriminator(self, real: Tensor, fake: Tensor) -> Tensor:
        return super().discriminator(real.detach(), fake.detach())


class Unsure(Hinged):
    def probability(self, outputs: Tensor) -> Tensor:
        return outputs


def fails(fake: Tensor) -> Tensor:
    raise KeyError("weights")


class Failing(Hinged):
    def generator(self, fake: Tensor, real: Callable[[], Tensor]) -> Tensor:
        return fails(fake)


def no_loss() -> int:
    return 3
