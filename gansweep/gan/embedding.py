"""Image features for the evaluation of samples, without downloaded weights.

They come from a small classifier trained on the data's own labels, or from principal components if there are none.
Metrics computed on them must not be called FID.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from gansweep.config import AugmentationConfig
from gansweep.gan.batches import augment, generator, stream_seed
from gansweep.gan.data import FEATURES
from gansweep.gan.optimizer import Adam

SIDE = 16  # images are reduced to this side: enough to distinguish digits and faces, and cheap
STEPS, IMAGES_A_STEP = 1_500, 10  # training steps, and one more per 10 images: digits 4 s, MNIST 9 s on one core
BATCH = 64
LEARNING_RATE = 2e-3
JITTER = AugmentationConfig(rotate=8, translate=0.06, scale=0.08)
CHUNK = 256  # images at a time


@dataclass(frozen=True)
class Shape:
    """Shape of an embedding. `classes` is 0 for one without labels."""

    channels: int
    classes: int


class Embedding(nn.Module):
    """Embedding of images (N, channels, H, W) in [-1, 1] of any size → features (N, FEATURES) and logits.

    Without classes the second output equals the first.
    """

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.shape = shape
        if shape.classes:
            self.body = nn.Sequential(
                nn.Conv2d(shape.channels, 16, 5, stride=2, padding=2), nn.ReLU(),
                nn.Conv2d(16, 32, 3, stride=2, padding=1), nn.ReLU(),
                nn.Flatten(), nn.Linear(32 * (SIDE // 4) ** 2, FEATURES),
            )  # fmt: skip
            self.head: nn.Module = nn.Sequential(nn.ReLU(), nn.Linear(FEATURES, shape.classes))
        else:
            self.body = nn.Sequential(nn.Flatten(), nn.Linear(shape.channels * SIDE**2, FEATURES))
            self.head = nn.Identity()

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        features: Tensor = self.body(F.adaptive_avg_pool2d(images, SIDE))
        return features, self.head(features)

    @torch.no_grad()
    def embed(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        """Return features (N, FEATURES) and labels (N,) of images (N, C, H, W) uint8; labels are 0 without classes."""
        parts = [self(chunk.to(torch.float32).div(127.5).sub(1)) for chunk in torch.split(pixels, CHUNK)]
        features = torch.cat([features for features, _ in parts])
        if not self.shape.classes:
            return features, torch.zeros(len(features), dtype=torch.int64, device=features.device)
        return features, torch.cat([logits for _, logits in parts]).argmax(1)


def train_classifier(pixels: Tensor, labels: Tensor, shape: Shape, seed: int = 0) -> Embedding:
    """Train a classifier. The same images and seed give the same weights.

    Args:
        pixels: (N, C, H, W) uint8.
        labels: (N,), below shape.classes.
        shape: Channels and classes.
        seed: Seed of the weights and batches.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(stream_seed(seed, "embedding weights"))
        embedding = Embedding(shape)
    parameters = list(embedding.parameters())
    adam = Adam(parameters, LEARNING_RATE, 0.9, 0.999)
    order, jitter = generator(seed, "embedding batches"), generator(seed, "embedding jitter")
    shrunk = torch.cat([_shrink(chunk) for chunk in torch.split(pixels, CHUNK)])
    for _ in range(STEPS + len(labels) // IMAGES_A_STEP):
        chosen = torch.randint(len(labels), (BATCH,), generator=order)
        _, logits = embedding(augment(shrunk[chosen], JITTER, jitter))
        loss = F.cross_entropy(logits, labels[chosen])
        adam.step(torch.autograd.grad(loss, parameters))
    return embedding.requires_grad_(False)


def principal_components(pixels: Tensor, channels: int) -> Embedding:
    """Return the embedding onto the first FEATURES principal components (Pearson 1901).

    Args:
        pixels: (N, C, H, W) uint8, N > FEATURES.
        channels: C.
    """
    embedding = Embedding(Shape(channels, 0)).requires_grad_(False)
    x = torch.cat([_shrink(chunk) for chunk in torch.split(pixels, CHUNK)]).flatten(1).double()
    mean = x.mean(0)
    _, vectors = torch.linalg.eigh(torch.cov((x - mean).T))
    axes = vectors[:, -FEATURES:].T
    signs = axes.gather(1, axes.abs().argmax(1, keepdim=True)).sign()  # the sign of an eigenvector is arbitrary
    linear = embedding.body[1]
    assert isinstance(linear, nn.Linear)
    linear.weight.copy_(axes * signs)
    linear.bias.copy_(-(axes * signs) @ mean)
    return embedding


def _shrink(pixels: Tensor) -> Tensor:
    return F.adaptive_avg_pool2d(pixels.to(torch.float32).div(127.5).sub(1), SIDE)
