"""The classifier of version 0.1.0, which sees images reduced to 16 px."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor
from torch.nn import functional as F

from gansweep.config import AugmentationConfig
from gansweep.gan.batches import augment, generator, stream_seed
from gansweep.gan.features import small
from gansweep.gan.features.base import Embedding, Stored, UnsuitableError, one_thread
from gansweep.gan.features.recipe import Request, Source
from gansweep.gan.features.small import Small
from gansweep.gan.optimizer import Adam

NAME = "small_classifier"
STEPS, IMAGES_A_STEP = 1_500, 10  # training steps, and one more per 10 images: digits 4 s, MNIST 9 s on one core
BATCH = 64
LEARNING_RATE = 2e-3
JITTER = AugmentationConfig(rotate=8, translate=0.06, scale=0.08)


def make(request: Request, name: str = NAME) -> Embedding:
    """Return a classifier that is trained on the images and labels of a request.

    Args:
        request: The images and labels.
        name: Name of the embedding in records.

    Raises:
        UnsuitableError: The set has fewer than two classes.
    """
    if not request.classes:
        raise UnsuitableError("the images have one class")
    with one_thread():
        made = train(request.pixels, request.labels, request.classes, request.seed, name)
        _, found = made.embed(request.held_out)
    accuracy = float((found == request.held_out_labels).double().mean())
    made.description = replace(made.description, accuracy=accuracy)
    return made


def restore(stored: Stored, source: Source) -> Embedding:
    """Restore a stored classifier."""
    return small.restore(stored)


def train(pixels: Tensor, labels: Tensor, classes: int, seed: int = 0, name: str = NAME) -> Small:
    """Train a classifier. The same images and seed give the same weights.

    Args:
        pixels: (N, C, H, W) uint8.
        labels: (N,) int64, from 0 to classes − 1.
        classes: Number of classes.
        seed: Seed of the weights and batches.
        name: Name of the embedding in records.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(stream_seed(seed, "embedding weights"))
        network = Small(pixels.shape[1], classes, name)
    parameters = list(network.parameters())
    adam = Adam(parameters, LEARNING_RATE, 0.9, 0.999)
    order, jitter = generator(seed, "embedding batches"), generator(seed, "embedding jitter")
    images = small.reduced(pixels)
    for _ in range(STEPS + len(labels) // IMAGES_A_STEP):
        chosen = torch.randint(len(labels), (BATCH,), generator=order)
        _, logits = network(augment(images[chosen], JITTER, jitter))
        loss = F.cross_entropy(logits, labels[chosen])
        adam.step(torch.autograd.grad(loss, parameters))
    network.frozen()
    return network
