"""A network for sets without labels, trained to recognise an image by another view of it.

The pretext task is instance discrimination with the loss of SimCLR (Chen et al. 2020, eq. 1). The task decides what
features are blind to: whatever its augmentations change. Here these are moves by whole pixels and mirroring, so that
hue, the order of channels, blur, noise, JPEG and patterns stay visible, and so do the differences between images on
which missing classes and small pools show. Crops that are resized, the usual augmentation, change sharpness and
noise with the scale. Colour alone tells most images apart, so that the last layer has little else: the features are its
outputs and the mean activations of the layers before, in which fine detail is left, all to the same scale.

Other tasks were set aside: predicting rotations (Gidaris et al. 2018) needs images with an upright direction, and may
ignore colour; predicting how an image was degraded would train on what the features are judged by, and need not tell
contents apart; SimSiam and Barlow Twins use the same augmentations, and take longer to learn.
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
    """Return a trained network, with the principal components of its features of the images.

    Raises:
        UnsuitableError: Fewer than FEWEST images.
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
    """Return the network that was stored."""
    channels, description = stored.tensors["network.body.0.weight"].shape[1], stored.description
    return Projected(Layers(channels, description.resolution), stored.classes, description).load(stored)


class Layers(ConvNet):
    """A network whose features are those of its last layer and the mean activations of all before.

    Args:
        channels: Of the images.
        side: That of the images it sees.
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
    """Return the function that draws a batch and returns its loss."""
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
        outputs: (2 n, d), those of the second views of n images after those of the first.
    """
    unit = F.normalize(outputs, dim=1)
    likeness = unit @ unit.T / TEMPERATURE
    likeness.fill_diagonal_(-torch.inf)  # of an image with itself
    n = len(outputs) // 2
    others = torch.arange(2 * n).roll(n)
    return F.cross_entropy(likeness, others)
