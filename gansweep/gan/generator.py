"""Generators loaded from files, for other programs. This module needs only torch and safetensors."""

from __future__ import annotations

import os
from pathlib import Path

from torch import Tensor, nn

from gansweep.errors import CheckpointError, UserError
from gansweep.gan.formats import registry
from gansweep.gan.restore import Restored


class Generator(nn.Module):
    """A generator loaded from a file, on the CPU, in eval mode and without gradients of its weights.

    Attributes:
        network: The wrapped network.
        latent_dim: Length of z.
        image_size: Side of the images in pixels.
        channels: Channels of the images, 1 or 3.
        classes: Names of the classes of a conditional generator, in the order of the labels; else empty.
        step: Number of trained steps.
    """

    def __init__(self, found: Restored) -> None:
        super().__init__()
        self.network = found.generator.eval().requires_grad_(False)
        self.latent_dim, self.classes, self.step = found.latent_dim, found.classes, found.step
        self.image_size, self.channels = int(found.settings["image_size"]), int(found.settings["channels"])

    def forward(self, z: Tensor, labels: Tensor | None = None) -> Tensor:
        """Return images in [-1, 1], (N, channels, image_size, image_size).

        Args:
            z: Standard normal noise, (N, latent_dim).
            labels: Index into `classes` of each image, (N,) int64, for a conditional generator.
        """
        images: Tensor = self.network(z, labels)
        return images


def load_generator(path: str | os.PathLike[str]) -> Generator:
    """Return the generator of a checkpoint, or of a file or folder that `gansweep save` has written.

    Args:
        path: A .safetensors, .pt2 or .onnx file, or a folder with a model card.

    Raises:
        UserError: The file is missing, damaged, or holds no generator.
    """
    try:
        return Generator(registry.read(Path(path)))
    except CheckpointError as error:
        raise UserError(str(error)) from None
