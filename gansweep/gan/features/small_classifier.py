"""The classifier of images reduced to 16 px, with which version 0.1.0 judged all images with labels."""

from __future__ import annotations

from gansweep.gan import embedding
from gansweep.gan.features import small
from gansweep.gan.features.base import Embedding, Stored, UnsuitableError, one_thread
from gansweep.gan.features.recipe import Request, Source


def make(request: Request, name: str = "small_classifier") -> Embedding:
    """Return a classifier of at least two classes.

    Args:
        request: What it is made for.
        name: Its name in records.

    Raises:
        UnsuitableError: The set has fewer than two classes.
    """
    if not request.classes:
        raise UnsuitableError("the images have one class")
    shape = embedding.Shape(request.channels, request.classes)
    with one_thread():
        made = small.Small(embedding.train_classifier(request.pixels, request.labels, shape, request.seed), name)
        _, found = made.embed(request.held_out)
    return made.with_accuracy(float((found == request.held_out_labels).double().mean()))


def restore(stored: Stored, source: Source) -> Embedding:
    """Return the classifier that was stored."""
    return small.restore(stored)
