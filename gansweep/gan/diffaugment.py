"""Differentiable augmentation of the images that D is shown (Zhao et al. 2020, DiffAugment).

Each operator is a pure function of images, (N, C, H, W), and of `u`, (N, 2), two random numbers in [0, 1) per image.
The backward passes of all operators are deterministic on GPUs, unlike that of `grid_sample`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

Operator = Callable[[Tensor, Tensor], Tensor]
SHIFT, CUT = 0.125, 0.5  # shares of the side


def brightness(images: Tensor, u: Tensor) -> Tensor:
    """Add a number in [−½, ½) to all pixels."""
    return images + (_of_image(u) - 0.5)


def saturation(images: Tensor, u: Tensor) -> Tensor:
    """Multiply differences from the mean of a pixel's channels by a factor in [0, 2). Grey images do not change."""
    mean = images.mean(1, keepdim=True)
    return mean + (images - mean) * (2 * _of_image(u))


def contrast(images: Tensor, u: Tensor) -> Tensor:
    """Multiply differences from the mean of the image by a factor in [½, 3/2)."""
    mean = images.mean((1, 2, 3), keepdim=True)
    return mean + (images - mean) * (_of_image(u) + 0.5)


def translation(images: Tensor, u: Tensor) -> Tensor:
    """Shift vertically and horizontally by whole pixels, each by up to 1/8 of the side. Uncovered pixels become 0."""
    rows, columns = (_shifts(side, u[:, axis]).to(images.dtype) for axis, side in enumerate(images.shape[2:]))
    return rows @ images @ columns.mT  # products with zeros and a single one are exact


def cutout(images: Tensor, u: Tensor) -> Tensor:
    """Set a square of half the image's side to 0. Its centre is anywhere in the image; parts outside are cut off."""
    rows, columns = (_cut(side, u[:, axis]) for axis, side in enumerate(images.shape[2:]))
    inside = rows[:, None, :, None] & columns[:, None, None, :]
    return images.masked_fill(inside, 0.0)


OPERATORS: dict[str, tuple[Operator, ...]] = {
    "color": (brightness, saturation, contrast),
    "translation": (translation,),
    "cutout": (cutout,),
}


class DiffAugment:
    """Random augmentation by several operators, one after another, with separate random numbers for each image.

    Args:
        policy: Keys of OPERATORS, in the order in which they are applied.
        rng: Random stream, on the device of the images.
    """

    def __init__(self, policy: Sequence[str], rng: torch.Generator) -> None:
        self._operators = [operator for name in policy for operator in OPERATORS[name]]
        self._rng = rng

    def __call__(self, images: Tensor, probability: Tensor | None = None) -> Tensor:
        """Return augmented images, (N, C, H, W), from images in [−1, 1].

        Args:
            images: (N, C, H, W).
            probability: Scalar; each operator is applied to each image with this probability. None: always.
        """
        for operator in self._operators:
            u = torch.rand(len(images), 3, generator=self._rng, device=images.device)
            augmented = operator(images, u[:, :2])
            if probability is None:
                images = augmented
            else:
                images = torch.where((u[:, 2] < probability).view(-1, 1, 1, 1), augmented, images)
        return images


def _of_image(u: Tensor) -> Tensor:
    """Return the first random number of each image, (N, 1, 1, 1)."""
    return u[:, :1, None, None]


def _shifts(side: int, u: Tensor) -> Tensor:
    """Return boolean matrices, (N, 1, side, side), by which a product shifts images along one axis.

    Args:
        side: Length of the axis in pixels.
        u: (N,) random numbers in [0, 1), which determine the shifts.
    """
    most = int(side * SHIFT + 0.5)
    shifts = (u * (2 * most + 1)).floor() - most
    places = torch.arange(side, device=u.device)
    return places[:, None] - places == shifts.view(-1, 1, 1, 1)


def _cut(side: int, u: Tensor) -> Tensor:
    """Return which positions along one axis are cut out, boolean, (N, side).

    Args:
        side: Length of the axis in pixels.
        u: (N,) random numbers in [0, 1), which determine the positions.
    """
    size = int(side * CUT + 0.5)
    first = (u * (side + 1 - size % 2)).floor() - size // 2
    places = torch.arange(side, device=u.device) - first[:, None]
    return (places >= 0) & (places < size)
