"""Principal components of pixels of images reduced to 16 px: the embedding that serves any set, if poorly."""

from __future__ import annotations

from gansweep.gan import embedding
from gansweep.gan.data import FEATURES
from gansweep.gan.features import small
from gansweep.gan.features.base import Embedding, Stored, UnsuitableError, one_thread
from gansweep.gan.features.recipe import Request, Source


def make(request: Request) -> Embedding:
    """Return the components of the images.

    Raises:
        UnsuitableError: At most FEATURES images.
    """
    if len(request.pixels) <= FEATURES:
        raise UnsuitableError(f"{len(request.pixels)} images are too few for {FEATURES} components")
    with one_thread():
        return small.Small(embedding.principal_components(request.pixels, request.channels), "principal_components")


def restore(stored: Stored, source: Source) -> Embedding:
    """Return the components that were stored."""
    return small.restore(stored)
