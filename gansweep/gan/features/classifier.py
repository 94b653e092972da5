"""A classifier that is trained on the labels of the set."""

from __future__ import annotations

from gansweep.gan import embedding
from gansweep.gan.features import small
from gansweep.gan.features.base import Embedding, Stored, UnsuitableError, one_thread
from gansweep.gan.features.recipe import Request, Source


def make(request: Request) -> Embedding:
    """Return a classifier.

    Raises:
        UnsuitableError: The set has fewer than two classes.
    """
    if not request.classes:
        raise UnsuitableError("the images have one class")
    shape = embedding.Shape(request.channels, request.classes)
    with one_thread():
        made = small.Small(
            embedding.train_classifier(request.pixels, request.labels, shape, request.seed), "classifier"
        )
        _, found = made.embed(request.held_out)
    return made.with_accuracy(float((found == request.held_out_labels).double().mean()))


def restore(stored: Stored, source: Source) -> Embedding:
    """Return the classifier that was stored."""
    return small.restore(stored)
