"""The embeddings of the registry, with the unseen real images of a set in each."""

import sys
from dataclasses import replace

import torch

from gansweep import EMBEDDINGS, FeaturesConfig, reference_of


def names():
    """Return the names of the embeddings that need no file of weights."""
    return [name for name, kind in EMBEDDINGS.items() if not kind.weights]


def reference(images, name):
    """Return the reference of a set in an embedding; None if the embedding cannot serve the set.

    Classes are counted only in embeddings that are trained on labels, as was decided before anything was measured.
    """
    found, notices = reference_of(images, FeaturesConfig(name))
    if found.embedding.description.name != name:
        print(*notices, sep="\n", file=sys.stderr)
        return None
    return replace(found, class_names=found.class_names if EMBEDDINGS[name].labels else ())


def embed(found):
    """Return the function that returns features and labels of images as arrays."""

    def of(pixels):
        features, labels = found.embedding.embed(torch.from_numpy(pixels))
        return features.numpy(), labels.numpy()

    return of
