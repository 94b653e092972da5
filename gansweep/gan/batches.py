"""Batches of real images: selection, order, and augmentation on the device."""

from __future__ import annotations

import hashlib
import math

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from gansweep.config import AugmentationConfig
from gansweep.gan.data import split_sizes

Batch = tuple[Tensor, Tensor | None]


def stream_seed(seed: int, stream: str) -> int:
    """Return the seed of a named random stream.

    Drawing more numbers from one stream does not affect the others.
    """
    return int.from_bytes(hashlib.sha256(f"{seed}:{stream}".encode()).digest()[:7], "little")


def generator(seed: int, stream: str, device: torch.device | str = "cpu") -> torch.Generator:
    """Return the torch generator of a named random stream."""
    return torch.Generator(device).manual_seed(stream_seed(seed, stream))


def augment(images: Tensor, config: AugmentationConfig, rng: torch.Generator) -> Tensor:
    """Return randomly changed images, (N, C, H, W). Pixels beyond the border repeat it.

    Args:
        images: (N, C, H, W), any range.
        config: The changes, and their maximum amounts.
        rng: Generator on the device of the images.
    """
    n, device = len(images), images.device

    def uniform(limit: float) -> Tensor:
        return (torch.rand(n, generator=rng, device=device) * 2 - 1) * limit

    if config.rotate or config.translate or config.scale:
        angle, scale = uniform(math.radians(config.rotate)), 1 + uniform(config.scale)
        cos, sin = torch.cos(angle) / scale, torch.sin(angle) / scale
        x, y = uniform(2 * config.translate), uniform(2 * config.translate)
        matrix = torch.stack([torch.stack([cos, -sin, x], 1), torch.stack([sin, cos, y], 1)], 1)
        where = F.affine_grid(matrix, list(images.shape), align_corners=False)
        images = F.grid_sample(images, where, padding_mode="border", align_corners=False)
    if config.flip:
        flipped = torch.rand(n, generator=rng, device=device) < 0.5
        images = torch.where(flipped[:, None, None, None], images.flip(3), images)
    return images


class Batches:
    """Real images in epochs: each epoch visits every training image at most once, in its own order.

    The order of an epoch depends on the seed and its number only, so that only the position must be saved. Incomplete
    last batches are dropped. A batch is a pair of images and labels, or of images and None.

    Args:
        pixels: (images, C, H, W) uint8.
        batch_size: Images per batch.
        seed: Seed of the trial.
        device: Device of the batches.
        augmentation: Random changes to training images.
        validation: Share held out. The held-out images are the same for every seed.
        labels: (images,) int64, if classes are used.

    Raises:
        ValueError: The training images do not fill a batch.
    """

    def __init__(
        self,
        pixels: NDArray[np.uint8],
        batch_size: int,
        seed: int,
        device: torch.device,
        augmentation: AugmentationConfig,
        validation: float = 0.0,
        labels: NDArray[np.int64] | None = None,
    ) -> None:
        self.position = 0
        self.labels = None if labels is None else torch.from_numpy(labels).to(device)
        self.augmentation_rng = generator(seed, "augmentation", device)
        self._augmentation, self._seed, self._size = augmentation, seed, batch_size
        self._pixels = torch.from_numpy(pixels)
        if device.type != "cpu":
            self._pixels = self._pixels.to(device)
        split = torch.randperm(len(pixels), generator=generator(0, "validation split"))
        _, held_out = split_sizes(len(pixels), validation)
        self._validation, self._training = split[:held_out], split[held_out:].sort().values
        self.per_epoch = len(self._training) // batch_size
        if self.per_epoch == 0:
            raise ValueError(f"{len(self._training)} training images do not fill a batch of {batch_size}")
        self._epoch, self._order = -1, self._training

    def next(self) -> Batch:
        """Return the next batch: images (batch_size, C, H, W) in [-1, 1], float32, and their labels."""
        epoch, batch = divmod(self.position, self.per_epoch)
        if epoch != self._epoch:
            order = torch.randperm(len(self._training), generator=generator(self._seed, f"epoch {epoch}"))
            self._epoch, self._order = epoch, self._training[order]
        self.position += 1
        images, labels = self._gather(self._order[batch * self._size : (batch + 1) * self._size])
        return augment(_scaled(images), self._augmentation, self.augmentation_rng), labels

    def validation(self) -> Batch | None:
        """Return the first held-out batch, not augmented; None without a split or with fewer than two images."""
        chosen = self._validation[: self._size]
        if len(chosen) < 2:
            return None
        images, labels = self._gather(chosen)
        return _scaled(images), labels

    def probe(self, count: int) -> tuple[Batch, Batch | None]:
        """Return `count` fixed training images and held-out images (None without a split), uint8, not augmented."""
        chosen, unseen = self._training[:: max(1, len(self._training) // count)][:count], self._validation[:count]
        return self._gather(chosen), self._gather(unseen) if len(unseen) >= 2 else None

    def _gather(self, indices: Tensor) -> Batch:
        indices = indices.to(self._pixels.device)
        return self._pixels[indices], None if self.labels is None else self.labels[indices]


def _scaled(pixels: Tensor) -> Tensor:
    return pixels.to(torch.float32).div_(127.5).sub_(1)
