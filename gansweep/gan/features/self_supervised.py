"""A network for sets without labels, trained to recognise an image by another view of it.

The pretext task is instance discrimination with the loss of SimCLR (Chen et al. 2020, eq. 1). Features become blind to
whatever the task's augmentations change. Here these are moves by whole pixels and mirroring. Features therefore show
hue, the order of channels, blur, noise, JPEG and patterns, and also differences between images, by which missing
classes and generators that draw from a small pool are found. Resized crops, the usual augmentation, would change
sharpness and noise with the scale.

Colour alone tells most images apart, so the last layer represents little else. The features are therefore its outputs
together with the mean activations of the layers before it, which retain fine detail. All of them are standardised.

Other tasks were rejected. Predicting rotations (Gidaris et al. 2018) needs images with an upright direction, and may
ignore colour. Predicting how an image was degraded would train on the very degradations by which features are judged,
and need not tell contents apart. SimSiam and Barlow Twins use the same augmentations, and take longer to learn.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from gansweep.gan.batches import generator, stream_seed
from gansweep.gan.features import convnet
from gansweep.gan.features.base import Embedding, Stored, UnsuitableError, one_thread
from gansweep.gan.features.convnet import ConvNet
from gansweep.gan.features.cost import parameters_of
from gansweep.gan.features.projected import MOST_FITTED, Output, Projected, described
from gansweep.gan.features.recipe import Request, Source

FEWEST = 200  # images: with fewer, each is seen some hundred times, and what is learned is which they are
BATCH, OUTPUTS = 96, 32
STEPS = 500  # whatever the size of the set
LEARNING_RATE = 2e-3
TEMPERATURE = 0.2
MOST_MOVE = 0.25  # along each axis, relative to the side


def make(request: Request) -> Embedding:
    """Train a network, and return it followed by the principal components of its features of the set's images.

    Raises:
        UnsuitableError: The set has fewer than FEWEST images.
    """
    if len(request.pixels) < FEWEST:
        raise UnsuitableError(f"{len(request.pixels)} images are too few to train on, it takes {FEWEST}")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(stream_seed(request.seed, "embedding weights"))
        network = Layers(request.channels, convnet.side_of(request.image_size))
    with one_thread():
        convnet.train(network, _loss(network, request), STEPS, LEARNING_RATE)
        found = described("self_supervised", network, network.side, request.pixels[:1], device="cpu")
        description = replace(found, parameters=parameters_of(network.body))  # the head is for the pretext task only
        return Projected(network, 0, description).fit(request.some(MOST_FITTED), standardised=True)


def restore(stored: Stored, source: Source) -> Embedding:
    """Restore a stored embedding."""
    channels, description = stored.tensors["network.body.0.weight"].shape[1], stored.description
    return Projected(Layers(channels, description.resolution), stored.classes, description).load(stored)


class Layers(ConvNet):
    """A `ConvNet` whose features are the outputs of its last layer and the mean of each channel after each ReLU.

    Args:
        channels: Number of channels of the images.
        side: Side in pixels to which images are resized, SMALL or LARGE of convnet.py.
    """

    def __init__(self, channels: int, side: int) -> None:
        super().__init__(channels, side, OUTPUTS, names_classes=False)

    def forward(self, pixels: Tensor) -> Output:
        x, means = self.scaled(pixels), []
        for layer in self.body:
            x = layer(x)
            if isinstance(layer, nn.ReLU):
                means.append(x.mean((2, 3)))
        return Output(torch.cat([x, *means], 1))


def _loss(network: ConvNet, request: Request) -> Callable[[], Tensor]:
    """Return a function that draws a batch of images and returns the contrastive loss of two views of each."""
    order, jitter = generator(request.seed, "embedding batches"), generator(request.seed, "embedding jitter")

    def view(images: Tensor) -> Tensor:
        return convnet.shifted(convnet.mirrored(images, jitter), MOST_MOVE, jitter)

    def loss() -> Tensor:
        chosen = torch.randperm(len(request.pixels), generator=order)[:BATCH]
        images = network.scaled(request.pixels[chosen])
        return contrast(network.outputs(torch.cat([view(images), view(images)])))

    return loss


def contrast(outputs: Tensor) -> Tensor:
    """Return the normalised temperature-scaled cross-entropy (Chen et al. 2020, eq. 1).

    Args:
        outputs: Outputs for the first views of n images, then for the second views in the same order, (2n, d).
    """
    unit = F.normalize(outputs, dim=1)
    likeness = unit @ unit.T / TEMPERATURE
    likeness.fill_diagonal_(-torch.inf)  # of an image with itself
    n = len(outputs) // 2
    others = torch.arange(2 * n).roll(n)
    return F.cross_entropy(likeness, others)
