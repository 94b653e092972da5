"""The embeddings of the registry, with the unseen real images of a set in each."""

import sys
from dataclasses import replace

import torch

from gansweep import (
    EMBEDDINGS,
    EmbeddingRequest,
    EmbeddingSource,
    UnsuitableError,
    evaluation_halves,
    recipe_of,
    reference_of,
)


def names():
    """Return the names of the embeddings that need no file of weights."""
    return [name for name, kind in EMBEDDINGS.items() if not kind.weights]


def reference(images, name):
    """Return the reference of a set in an embedding; None if the embedding cannot serve the set."""
    found, _ = reference_of(images)
    seen, unseen = (torch.from_numpy(half) for half in evaluation_halves(images.images))
    seen, unseen = seen.sort().values, unseen[: len(found.features)]
    pixels, labels = torch.from_numpy(images.load()[:]), torch.from_numpy(images.labels())
    request = EmbeddingRequest(
        EmbeddingSource(name), pixels[seen], labels[seen], images.classes, pixels[unseen], labels[unseen]
    )
    try:
        embedding = recipe_of(name).make(request)
    except UnsuitableError as error:
        print(f"{name}: {error}", file=sys.stderr)
        return None
    features, _ = embedding.embed(pixels[unseen])
    names_of = found.class_names if embedding.classes else ()
    return replace(found, embedding=embedding, features=features.numpy(), class_names=names_of)


def embed(found):
    """Return the function that returns features and labels of images as arrays."""

    def of(pixels):
        features, labels = found.embedding.embed(torch.from_numpy(pixels))
        return features.numpy(), labels.numpy()

    return of
