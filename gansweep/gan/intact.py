"""A network that tells whether images are intact, for the metric `intact` of grey images with labels.

The network classifies images by the data set's labels and one additional class, spoiled images (gan/spoiled.py). It
thus learns from real images alone what people look for in a grid of samples: whether each one is recognisable.
Distances between features do not measure this: a sample can be far from the data and legible, or near and illegible.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from gansweep.features import intact_side
from gansweep.gan.batches import generator, stream_seed
from gansweep.gan.features import convnet
from gansweep.gan.features.base import CHUNK, one_thread
from gansweep.gan.features.recipe import Request
from gansweep.gan.features.resize import resized, to_float
from gansweep.gan.spoiled import DRAWN, SPOILS, worn

WIDTH = 16  # channels of the first layers
STEPS, BATCH, SPOILED = 600, 32, 4  # updates, real images in each, and spoiled ones of each kind
CHECKED = 0.2  # share of the evaluator's unseen images that `of_real` is measured on: small sets have none to spare
LEARNING_RATE, SMOOTHING = 3e-3, 0.05


class Intact(nn.Module):
    """A frozen network from images to the probability that they are intact.

    Args:
        side: Side in pixels to which images are resized.
        classes: Number of labels.

    Attributes:
        of_real: Mean probability of real images on which the network was not trained; NaN before training.
    """

    def __init__(self, side: int, classes: int) -> None:
        super().__init__()
        self.side, self.classes, self.of_real = side, classes, math.nan
        widths = (1, WIDTH, 2 * WIDTH, 4 * WIDTH)
        layers = [layer for before, after in itertools.pairwise(widths) for layer in _block(before, after)]
        self.body = nn.Sequential(*layers, nn.Flatten(), nn.Linear(4 * WIDTH * (side // 8) ** 2, classes + 1))
        self.to(memory_format=torch.channels_last)  # a restored network computes as it did when it was trained

    def scaled(self, pixels: Tensor) -> Tensor:
        """Return uint8 images, (N, 1, H, W), scaled to [-1, 1] and resized to (N, 1, side, side)."""
        images = resized(to_float(pixels).div_(127.5).sub_(1), self.side)
        return images.contiguous(memory_format=torch.channels_last)

    @torch.no_grad()
    def forward(self, pixels: Tensor) -> Tensor:
        """Return the probability that each image is intact, (N,) float32. `pixels` are (N, 1, H, W) uint8."""
        logits = torch.cat([self.body(self.scaled(chunk)) for chunk in torch.split(pixels, CHUNK)])
        return 1 - logits.softmax(1)[:, -1]

    def facts(self) -> dict[str, Any]:
        """Return the numbers that `restored` needs in addition to the state dict."""
        return {"side": self.side, "classes": self.classes, "of_real": self.of_real}


def trained(request: Request) -> Intact | None:
    """Return a trained network for a data set; None if `intact_side` returns None for it.

    The same images and seed give the same weights.
    """
    side = intact_side(request.channels, request.image_size, request.classes, len(request.pixels))
    if side is None:
        return None
    checked = round(CHECKED * len(request.held_out))
    pixels = torch.cat([request.pixels, request.held_out[checked:]])
    labels = torch.cat([request.labels, request.held_out_labels[checked:]])
    with one_thread():
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(stream_seed(request.seed, "intact weights"))
            network = Intact(side, request.classes)
        rng = generator(request.seed, "intact batches")
        convnet.train(network, lambda: _loss(network, pixels, labels, rng), STEPS, LEARNING_RATE)
        network.requires_grad_(False)
        network.of_real = float(network(request.held_out[:checked]).double().mean())
    return network


def restored(tensors: Mapping[str, Tensor], facts: Mapping[str, Any]) -> Intact:
    """Return a network from its stored state dict and facts.

    Raises KeyError, RuntimeError or TypeError if another version has stored them.
    """
    network = Intact(facts["side"], facts["classes"])
    network.load_state_dict(dict(tensors))
    network.of_real = float(facts["of_real"])
    network.eval().requires_grad_(False)
    return network


def _loss(network: Intact, pixels: Tensor, labels: Tensor, rng: torch.Generator) -> Tensor:
    """Return the cross-entropy, a scalar, for a random batch of real images and of spoiled ones made from others.

    The target of a real image is its label. The target of a spoiled image is the additional class, the last one.
    """
    sizes = [BATCH, *[DRAWN * SPOILED] * len(SPOILS)]
    chosen = torch.randint(len(pixels), (sum(sizes),), generator=rng)
    real, *others = torch.split(network.scaled(pixels[chosen]), sizes)
    drawn = [one.reshape(DRAWN, SPOILED, *one.shape[1:]) for one in others]
    spoiled = [spoil(one, rng) for spoil, one in zip(SPOILS, drawn, strict=True)]
    images = torch.cat([worn(real, rng), worn(torch.cat(spoiled), rng)]).contiguous(memory_format=torch.channels_last)
    wanted = torch.cat([labels[chosen[:BATCH]], torch.full((len(SPOILS) * SPOILED,), network.classes)])
    return F.cross_entropy(network.body(images), wanted, label_smoothing=SMOOTHING)


def _block(before: int, after: int) -> list[nn.Module]:
    return [
        nn.Conv2d(before, after, 3, 2, 1, bias=False), nn.BatchNorm2d(after), nn.ReLU(),
        nn.Conv2d(after, after, 3, 1, 1, bias=False), nn.BatchNorm2d(after), nn.ReLU(),
    ]  # fmt: skip
