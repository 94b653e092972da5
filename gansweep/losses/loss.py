"""Interface of losses. The built-in losses load torch only when a loss is computed, so that planning stays fast."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Literal

if TYPE_CHECKING:
    import torch
    from torch import Tensor


def option(default: float, description: str, **limits: float) -> Any:
    """Return a dataclass field that becomes a key of `training` in the sweep file.

    Args:
        default: Default of the option.
        description: Meaning of the option, for the schema and the template.
        limits: Range as `gt`, `ge`, `lt` or `le`, as in pydantic's Field.
    """
    return field(default=default, metadata={"description": description, **limits})


@dataclass(frozen=True)
class Loss:
    """Losses of D and G, computed from the raw outputs of D. The fields of a subclass are its options.

    A loss is NaN if an output is NaN, and finite for finite outputs unless a sum or a square overflows.

    Attributes:
        name: Value of `training.loss` that selects this loss.
        critic: Whether D's outputs are unbounded scores instead of a decision between real and fake.
        compares: Whether only differences between D's outputs for real images and fakes count: σ of a difference is
            then the probability that the real image is more real.
        logits: Whether D's outputs are logits of a cross-entropy between real images and fakes, so that σ of an output
            is the probability that an image is real.
        unit: Unit of the values; losses with the same unit share an axis in reports. None: the loss has its own unit.
        penalises: "images" if `penalty` treats each image by itself, which excludes batch norm from D; "batches" if it
            depends on a batch as a whole; None if there is no penalty.
    """

    name: ClassVar[str]
    critic: ClassVar[bool] = False
    compares: ClassVar[bool] = False
    logits: ClassVar[bool] = False
    unit: ClassVar[str | None] = None
    penalises: ClassVar[Literal["images", "batches"] | None] = None

    def discriminator(self, real: Tensor, fake: Tensor) -> Tensor:
        """Return D's loss, a scalar.

        Args:
            real: D's outputs for real images, (N,).
            fake: D's outputs for fakes, (N,).
        """
        raise NotImplementedError

    def generator(self, fake: Tensor, real: Callable[[], Tensor]) -> Tensor:
        """Return G's loss, a scalar.

        Args:
            fake: D's outputs for fakes, (N,).
            real: Returns D's outputs for the last real batch, (N,), without gradients. Each call is a forward pass of
                D, so call it only if the loss compares fakes with real images.
        """
        raise NotImplementedError

    def probability(self, outputs: Tensor) -> Tensor:
        """Return the probability that each image is real, in [0, 1] and in the shape of D's outputs.

        Critics do not implement this method.
        """
        raise NotImplementedError

    def penalty(
        self, discriminator: Callable[[Tensor], Tensor], real: Tensor, fake: Tensor, rng: torch.Generator
    ) -> Tensor:
        """Return the weighted penalty that is added to D's loss, a scalar. Called only if `penalises` is not None.

        Args:
            discriminator: Maps images to outputs, (N,).
            real, fake: Images, (N, C, H, W).
            rng: Random stream of the penalty, on the device of the images.
        """
        raise NotImplementedError

    def for_validation(self) -> Loss:
        """Return the loss that is recorded on held-out images. By default, this one.

        Override it if an option, such as label smoothing, distorts the value.
        """
        return self

    def constrain(self, weights: list[Tensor]) -> None:
        """Change D's parameters in place. Called after each update of D; does nothing by default."""


def input_gradients(discriminator: Callable[[Tensor], Tensor], images: Tensor) -> Tensor:
    """Return the gradients of D's outputs with respect to images, (N, C · H · W). They can be differentiated again.

    Args:
        discriminator: Maps images to outputs, (N,); each output depends on one image only.
        images: (N, C, H, W).
    """
    import torch

    x = images.detach().requires_grad_()
    (gradients,) = torch.autograd.grad(discriminator(x).sum(), x, create_graph=True)
    return gradients.flatten(1)
