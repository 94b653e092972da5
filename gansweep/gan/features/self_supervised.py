"""A network for sets without labels, trained to recognise an image by another crop of it.

The pretext task is instance discrimination with the loss of SimCLR (Chen et al. 2020, eq. 1). The task decides what
features are blind to: whatever its augmentations change. Here these are the place and scale of a crop and mirroring,
nothing else, so that blur, noise, JPEG, patterns, hue and the order of channels stay visible, and so do the
differences between images on which missing classes and small pools show. Other tasks were set aside: predicting
rotations (Gidaris et al. 2018) needs images with an upright direction, and may ignore colour; predicting how an image
was degraded would train on what the features are judged by, and need not tell contents apart; SimSiam and Barlow
Twins use the same augmentations, need no other images in the batch, and take longer to learn.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F

from gansweep.features import EMBEDDINGS
from gansweep.gan.batches import generator
from gansweep.gan.features import convnet
from gansweep.gan.features.base import Description, Embedding, Stored, UnsuitableError, one_thread
from gansweep.gan.features.convnet import ConvNet
from gansweep.gan.features.cost import multiply_adds_of, parameters_of
from gansweep.gan.features.projected import MOST_FITTED, Projected
from gansweep.gan.features.recipe import Request, Source

FEWEST = 200  # images: with fewer, each is seen some hundred times, and what is learned is which they are
BATCH, OUTPUTS = 96, 32
STEPS = 500  # whatever the size of the set
LEARNING_RATE = 2e-3
TEMPERATURE = 0.2
SMALLEST_CROP = 0.6


def make(request: Request) -> Embedding:
    """Return a trained network, with the principal components of its features of the images.

    Raises:
        UnsuitableError: Fewer than FEWEST images.
    """
    if len(request.pixels) < FEWEST:
        raise UnsuitableError(f"{len(request.pixels)} images are too few to train on, it takes {FEWEST}")
    network = convnet.new(request.channels, request.image_size, OUTPUTS, request.seed, names_classes=False)
    with one_thread():
        convnet.train(network, _loss(network, request), STEPS, LEARNING_RATE)
        description = Description(
            name="self_supervised",
            version=EMBEDDINGS["self_supervised"].version,
            resolution=network.side,
            dimensions=convnet.DIMENSIONS,
            parameters=parameters_of(network.body),
            multiply_adds=multiply_adds_of(network, request.pixels[:1]),
            device="cpu",
        )
        return Projected(network, 0, description).fit(request.some(MOST_FITTED))


def restore(stored: Stored, source: Source) -> Embedding:
    """Return the network that was stored."""
    facts = dict(stored.facts)
    classes, channels = facts.pop("classes"), stored.tensors["network.body.0.weight"].shape[1]
    network = ConvNet(channels, facts["resolution"], OUTPUTS, names_classes=False)
    return Projected(network, classes, Description.of(facts)).load(stored)


def _loss(network: ConvNet, request: Request) -> Callable[[], Tensor]:
    """Return the function that draws a batch and returns its loss."""
    order, jitter = generator(request.seed, "embedding batches"), generator(request.seed, "embedding jitter")

    def view(images: Tensor) -> Tensor:
        return convnet.crops(convnet.mirrored(images, jitter), SMALLEST_CROP, 0.0, jitter)

    def loss() -> Tensor:
        chosen = torch.randperm(len(request.pixels), generator=order)[:BATCH]
        images = network.scaled(request.pixels[chosen])
        return contrast(network.outputs(torch.cat([view(images), view(images)])))

    return loss


def contrast(outputs: Tensor) -> Tensor:
    """Return the normalised temperature-scaled cross-entropy (Chen et al. 2020, eq. 1).

    Args:
        outputs: (2 n, d), those of the second views of n images after those of the first.
    """
    unit = F.normalize(outputs, dim=1)
    likeness = unit @ unit.T / TEMPERATURE
    likeness.fill_diagonal_(-torch.inf)  # of an image with itself
    n = len(outputs) // 2
    others = torch.arange(2 * n).roll(n)
    return F.cross_entropy(likeness, others)
