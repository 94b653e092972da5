"""Check of a user's loss on a tiny batch: what a loss must return so that D and G can be trained with it."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from gansweep.errors import UserError
from gansweep.losses.loss import Loss
from gansweep.losses.own import OwnLoss

BATCH = 4


def check(own: OwnLoss) -> None:
    """Call all methods of a user's loss that training calls, and check their results.

    Raises:
        UserError: The loss cannot be created, a method fails, a loss or penalty is not a finite scalar with gradients,
            or a probability is not in [0, 1].
    """
    loss, rng = own.create(), torch.Generator().manual_seed(0)
    outputs, images = torch.randn(2, BATCH, generator=rng), torch.randn(2, BATCH, 1, 4, 4, generator=rng)
    real, fake = (one.clone().requires_grad_() for one in outputs)
    weight = torch.ones((), requires_grad=True)
    _scalar(own, "discriminator", lambda: loss.discriminator(real, fake), (real, fake))
    _scalar(own, "generator", lambda: loss.generator(fake, lambda: outputs[0]), (fake,))
    if loss.penalises:
        _scalar(
            own, "penalty", lambda: loss.penalty(lambda x: _outputs(x, weight), images[0], images[1], rng), (weight,)
        )
    _scalar(own, "for_validation", lambda: loss.for_validation().discriminator(real, fake), (real, fake))
    _check_rest(own, loss, outputs[0])


def _outputs(images: Tensor, weight: Tensor) -> Tensor:
    """Return the outputs of a D with one parameter."""
    return (weight * images).square().flatten(1).sum(1)


def _scalar(own: OwnLoss, method: str, compute: Callable[[], Tensor], inputs: tuple[Tensor, ...]) -> None:
    """Raise UserError unless `compute` returns a finite scalar with gradients for `inputs`. `method` is its name."""
    try:
        value = compute()
        if not isinstance(value, Tensor) or value.shape != () or not value.isfinite():
            raise own.error(f"its {method} returns {value!r:.80}, expected a finite tensor of one number, as of mean()")
        torch.autograd.grad(value, inputs)
    except UserError:
        raise
    except Exception as error:
        raise own.error(f"its {method} fails: {own.code.failure(error)}") from None


def _check_rest(own: OwnLoss, loss: Loss, outputs: Tensor) -> None:
    try:
        loss.constrain([outputs.clone()])
        found = None if loss.critic else loss.probability(outputs)
    except Exception as error:
        raise own.error(f"its constrain or probability fails: {own.code.failure(error)}") from None
    if found is not None and (found.shape != outputs.shape or not ((found >= 0) & (found <= 1)).all()):
        raise own.error(f"its probability returns {found!r:.80}, expected a number in [0, 1] for each output")
