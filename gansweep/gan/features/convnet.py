"""A small convolutional network that is trained on one core within minutes, and its training loop.

Images of at most 32 pixels are resized to 32, all others to 64. Only those above 64 pixels lose resolution.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from gansweep.gan.batches import stream_seed
from gansweep.gan.features.projected import Output
from gansweep.gan.features.resize import resized, to_float
from gansweep.gan.optimizer import Adam

SMALL, LARGE = 32, 64
DIMENSIONS = 64
WARM_UP = 50  # steps of rising learning rate


def side_of(image_size: int) -> int:
    """Return the side in pixels to which images of a size are resized: SMALL or LARGE."""
    return SMALL if image_size <= SMALL else LARGE


class ConvNet(nn.Module):
    """Four convolutions and a linear layer, without pooling: features depend on positions in the image.

    Args:
        channels: Number of channels of the images.
        side: Side in pixels to which images are resized, SMALL or LARGE.
        outputs: Number of outputs of the head, whose input are the features: classes, or dimensions of a pretext task.
        names_classes: Whether the outputs are logits of classes.
    """

    def __init__(self, channels: int, side: int, outputs: int, *, names_classes: bool) -> None:
        super().__init__()
        self.side, self.names_classes = side, names_classes
        self.body = nn.Sequential(
            nn.Conv2d(channels, 32, 4, 2, 1, bias=False), nn.BatchNorm2d(32), nn.ReLU(),
            nn.Conv2d(32, 64, 3, side // SMALL, 1, bias=False), nn.BatchNorm2d(64), nn.ReLU(),
            nn.Conv2d(64, 96, 3, 2, 1, bias=False), nn.BatchNorm2d(96), nn.ReLU(),
            nn.Conv2d(96, 128, 3, 2, 1, bias=False), nn.BatchNorm2d(128), nn.ReLU(),
            nn.Flatten(), nn.Linear(128 * 16, DIMENSIONS),
        )  # fmt: skip
        self.head = nn.Sequential(nn.BatchNorm1d(DIMENSIONS), nn.ReLU(), nn.Linear(DIMENSIONS, outputs))
        self.to(memory_format=torch.channels_last)  # a restored network computes as it did when it was trained

    def forward(self, pixels: Tensor) -> Output:
        features = self.body(self.scaled(pixels))
        return Output(features, self.head(features) if self.names_classes else None)

    def scaled(self, pixels: Tensor) -> Tensor:
        """Return uint8 images as float32 in [-1, 1], resized to the side of the network."""
        images = resized(to_float(pixels).div_(127.5).sub_(1), self.side)
        return images.contiguous(memory_format=torch.channels_last)

    def outputs(self, images: Tensor) -> Tensor:
        """Return the outputs of the head for images that `scaled` has returned."""
        found: Tensor = self.head(self.body(images))
        return found


def new(channels: int, image_size: int, outputs: int, seed: int, *, names_classes: bool) -> ConvNet:
    """Return a network with weights drawn from a seed."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(stream_seed(seed, "embedding weights"))
        return ConvNet(channels, side_of(image_size), outputs, names_classes=names_classes)


def train(network: nn.Module, loss_of: Callable[[], Tensor], steps: int, learning_rate: float) -> None:
    """Train a network with Adam: the learning rate rises for WARM_UP steps, then falls to 0 along a cosine.

    Args:
        network: The network. It is in eval mode afterwards.
        loss_of: Function that draws a batch and returns its loss.
        steps: Number of updates.
        learning_rate: Largest learning rate.
    """
    parameters = list(network.parameters())
    adam = Adam(parameters, learning_rate, 0.9, 0.999)
    network.train()
    for step in range(steps):
        fall = 0.5 * (1 + math.cos(math.pi * step / steps))
        adam.learning_rate = learning_rate * min(1.0, (step + 1) / WARM_UP) * fall
        adam.step(torch.autograd.grad(loss_of(), parameters))
    network.eval()


def mirrored(images: Tensor, rng: torch.Generator) -> Tensor:
    """Mirror each image horizontally with probability one half."""
    chosen = torch.rand(len(images), generator=rng) < 0.5
    return torch.where(chosen[:, None, None, None], images.flip(3), images)


def crops(images: Tensor, smallest: float, turn: float, rng: torch.Generator) -> Tensor:
    """Crop each image at a random side, place and angle, and resize the crop to the side of the image.

    Pixels outside an image repeat its border.

    Args:
        images: (N, C, H, W).
        smallest: Smallest side of a crop, relative to the image.
        turn: Largest angle in degrees.
        rng: Random stream.
    """
    n = len(images)
    scale = smallest + (1 - smallest) * torch.rand(n, generator=rng)
    angle = (torch.rand(n, generator=rng) * 2 - 1) * math.radians(turn)
    x, y = ((torch.rand(2, n, generator=rng) * 2 - 1) * (1 - scale)).unbind()
    cos, sin = torch.cos(angle) * scale, torch.sin(angle) * scale
    matrix = torch.stack([torch.stack([cos, -sin, x], 1), torch.stack([sin, cos, y], 1)], 1)
    where = F.affine_grid(matrix, list(images.shape), align_corners=False)
    return F.grid_sample(images, where, padding_mode="border", align_corners=False)


def shifted(images: Tensor, most: float, rng: torch.Generator) -> Tensor:
    """Move each image by random numbers of whole pixels. Uncovered pixels repeat the border.

    Args:
        images: (N, C, H, W).
        most: Largest move along each axis, relative to the side.
        rng: Random stream.
    """
    n, side = len(images), images.shape[2]
    pixels = round(most * side)
    moves = torch.randint(-pixels, pixels + 1, (2, n, 1), generator=rng)
    rows, columns = (torch.arange(side) + moves).clamp(0, side - 1)
    last = images.permute(0, 2, 3, 1)  # as they lie in memory
    return last[torch.arange(n)[:, None, None], rows[:, :, None], columns[:, None]].permute(0, 3, 1, 2)
