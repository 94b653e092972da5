"""Embeddings of users: functions from images to features, named by an import path.

`mypkg.features:embed` is called with images, a NumPy array (N, C, H, W) of uint8, and returns features, (N, d).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from gansweep.errors import UserError
from gansweep.features import OWN
from gansweep.gan.features.base import Description, Embedding, Stored
from gansweep.gan.features.projected import MOST_FITTED, Output, Projected
from gansweep.gan.features.recipe import Request, Source
from gansweep.usercode.path import ImportPath

KEY = "evaluation.features"
BATCH = 16  # images of a check


class Function(nn.Module):
    """A user's function, wrapped as a torch module.

    Args:
        source: Import path of the function, and the code that defines it.

    Raises:
        UserError: The function cannot be imported.
    """

    def __init__(self, source: Source) -> None:
        super().__init__()
        self.source = source
        try:
            self.call: Callable[..., Any] = source.code.load(ImportPath.parse(source.name))
        except UserError as error:
            raise UserError(f"{KEY}: {error}") from None

    def forward(self, pixels: Tensor) -> Output:
        """Return the features of images.

        Raises:
            UserError: The function fails, or does not return finite numbers of the shape (N, d).
        """
        images = pixels.cpu().numpy()
        images.flags.writeable = False
        try:
            found = np.asarray(self.call(images))
        except Exception as error:  # the code is somebody else's
            raise self.error(f"fails: {self.source.code.failure(error)}") from None
        return Output(torch.from_numpy(self._checked(found, len(images))).to(pixels.device))

    def error(self, what: str) -> UserError:
        """Return an error whose message names the function."""
        return UserError(f"{KEY}: {self.source.name}: {what}")

    def _checked(self, found: NDArray[Any], count: int) -> NDArray[np.float32]:
        if found.dtype.kind not in "iuf" or found.ndim != 2 or len(found) != count or not found.shape[1]:
            what = f"{found.dtype} of shape {found.shape}"
            raise self.error(f"returns {what} for {count} images, expected numbers of shape ({count}, features)")
        with np.errstate(over="ignore"):
            features = found.astype(np.float32)
        if not np.isfinite(features).all():
            raise self.error("returns NaN or infinite features; return finite numbers")
        return features


def check(source: Source, channels: int, image_size: int) -> int:
    """Run a user's function on random images, and return the number of features.

    Raises:
        UserError: The function cannot be imported, fails, does not return finite numbers of the shape (N, d), or
            returns different features when it is called with the same images again.
    """
    function = Function(source)
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (BATCH, channels, image_size, image_size), np.uint8)
    one, other = (function(torch.from_numpy(images.copy())).features for _ in range(2))
    if not torch.equal(one, other):
        raise function.error("returns other features when it is called again; it must depend on the images alone")
    return int(one.shape[1])


def make(request: Request) -> Embedding:
    """Return the user's function, followed by the principal components of its features of the set's images.

    Raises:
        UnsuitableError: The set has FEATURES images or fewer.
        UserError: The function does not pass `check`.
    """
    source = request.source
    dimensions = check(source, request.channels, request.image_size)
    description = Description(
        name=source.name,
        version=OWN.version,
        resolution=request.image_size,
        dimensions=dimensions,
        parameters=0,
        multiply_adds=0,
        checksum=source.code.digest,
    )
    made = Projected(Function(source), 0, description, weights_elsewhere=True)
    return made.fit(request.some(MOST_FITTED))


def restore(stored: Stored, source: Source) -> Embedding:
    """Restore a stored embedding. The function is imported from the user's code.

    Raises:
        UserError: The function cannot be imported, or its code is not the code that the embedding was made with.
    """
    if source.code.digest != stored.description.checksum:
        raise UserError(f"{KEY}: {source.name}: the code is not that which the features were computed with")
    return Projected(Function(source), stored.classes, stored.description, weights_elsewhere=True).load(stored)
