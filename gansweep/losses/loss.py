"""The interface of a loss. Nothing in this package loads torch before a loss is computed, so that plans stay fast."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Literal

if TYPE_CHECKING:
    import torch
    from torch import Tensor


def option(default: float, description: str, **limits: float) -> Any:
    """A dataclass field that is a key of `training` in the sweep file.

    Args:
        limits: `gt`, `ge`, `lt` or `le`, as pydantic's Field takes them.
    """
    return field(default=default, metadata={"description": description, **limits})


@dataclass(frozen=True)
class Loss:
    """What D and G minimise, computed from the raw outputs of D. A subclass's fields are its options.

    NaN where an output is NaN; finite for any finite output unless a sum or a square overflows.

    Attributes:
        name: Value of `training.loss` that selects this loss.
        critic: Whether D's outputs are unbounded scores instead of a decision between real and fake.
        unit: Unit of the loss's values; losses with the same unit share an axis in reports. None: a unit of its own.
        penalises: What `penalty` depends on: each image by itself, which excludes batch norm from D, or a whole batch.
            None without a penalty.
    """

    name: ClassVar[str]
    critic: ClassVar[bool] = False
    unit: ClassVar[str | None] = None
    penalises: ClassVar[Literal["images", "batches"] | None] = None

    def discriminator(self, real: Tensor, fake: Tensor) -> Tensor:
        """Return D's loss, a scalar. real, fake: D's outputs, (N,) each."""
        raise NotImplementedError

    def generator(self, fake: Tensor, real: Callable[[], Tensor]) -> Tensor:
        """Return G's loss, a scalar.

        Args:
            fake: D's outputs for fakes, (N,).
            real: Returns D's outputs for the last real batch, (N,), without gradients. A forward pass of D: call it
                only where the loss compares fakes with real images.
        """
        raise NotImplementedError

    def probability(self, outputs: Tensor) -> Tensor:
        """Return the probability of being real that D's outputs stand for. Critics have none."""
        raise NotImplementedError

    def penalty(
        self, discriminator: Callable[[Tensor], Tensor], real: Tensor, fake: Tensor, rng: torch.Generator
    ) -> Tensor:
        """Return the weighted penalty that is added to D's loss. Called only where `penalises` is set.

        Args:
            discriminator: Maps images to outputs, (N,).
            real, fake: Images, (N, C, H, W).
            rng: The penalty's own random stream, on the images' device.
        """
        raise NotImplementedError

    def for_validation(self) -> Loss:
        """Return the loss that is recorded on held-out images: this one, unless options distort its value."""
        return self

    def constrain(self, weights: list[Tensor]) -> None:
        """Change D's parameters in place after each of its updates. Does nothing by default."""
