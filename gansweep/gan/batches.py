"""Batches of real images: selection, order, and augmentation on the device."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from gansweep.config import AugmentationConfig
from gansweep.gan.data import split_sizes

Batch = tuple[Tensor, Tensor | None]
STAGING_BUFFERS = 3  # one is filled while the copies of the others wait for their steps


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

    `load` is the host's part: it chooses the next batches. `get` is the device's: it reads tensors that `load` has
    written, so that it can be captured in a CUDA graph.

    Args:
        pixels: (images, C, H, W) uint8.
        batch_size: Images per batch.
        seed: Seed of the trial.
        device: Device of the batches.
        augmentation: Random changes to training images.
        validation: Share held out. The held-out images are the same for every seed.
        labels: (images,) int64, if classes are used.
        most: Largest number of batches that are loaded at once, at least 1.
        resident: Whether all images are copied to the device; else each batch is.

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
        *,
        most: int = 1,
        resident: bool = True,
    ) -> None:
        self.position = 0
        self.labels = None if labels is None else torch.from_numpy(labels).to(device)
        self.augmentation_rng = generator(seed, "augmentation", device)
        self._augmentation, self._seed, self._size, self._device = augmentation, seed, batch_size, device
        split = torch.randperm(len(pixels), generator=generator(0, "validation split"))
        _, held_out = split_sizes(len(pixels), validation)
        self._validation, self._training = split[:held_out], split[held_out:].sort().values
        self.per_epoch = len(self._training) // batch_size
        if self.per_epoch == 0:
            raise ValueError(f"{len(self._training)} training images do not fill a batch of {batch_size}")
        self._images = (Resident if resident else Streamed)(torch.from_numpy(pixels), (most, batch_size), device)
        held, its_labels = self._gather(self._validation[:batch_size])
        self._held_out = (_scaled(held), its_labels) if len(held) >= 2 else None
        self._epoch, self._order = -1, self._training
        self._chosen = torch.empty((most, batch_size), dtype=torch.int64, device=device)

    def load(self, count: int) -> None:
        """Choose the next `count` batches for `get`."""
        chosen = [self._choose() for _ in range(count)]
        self._chosen[:count].copy_(_staged(torch.stack(chosen), self._device), non_blocking=True)
        self._images.load(chosen)

    def get(self, at: int) -> Batch:
        """Return loaded batch number `at`: images (batch_size, C, H, W) in [-1, 1], float32, and their labels."""
        chosen = self._chosen[at]
        images = augment(_scaled(self._images.batch(at, chosen)), self._augmentation, self.augmentation_rng)
        return images, None if self.labels is None else self.labels[chosen]

    def next(self) -> Batch:
        """Load the next batch and return it."""
        self.load(1)
        return self.get(0)

    def validation(self) -> Batch | None:
        """Return the first held-out batch, not augmented; None without a split or with fewer than two images."""
        return self._held_out

    def probe(self, count: int) -> tuple[Batch, Batch | None]:
        """Return `count` fixed training images and held-out images (None without a split), uint8, not augmented."""
        chosen, unseen = self._training[:: max(1, len(self._training) // count)][:count], self._validation[:count]
        return self._gather(chosen), self._gather(unseen) if len(unseen) >= 2 else None

    def _choose(self) -> Tensor:
        """Return the indices of the next batch, (batch_size,), on the host."""
        epoch, batch = divmod(self.position, self.per_epoch)
        if epoch != self._epoch:
            order = torch.randperm(len(self._training), generator=generator(self._seed, f"epoch {epoch}"))
            self._epoch, self._order = epoch, self._training[order]
        self.position += 1
        return self._order[batch * self._size : (batch + 1) * self._size]

    def _gather(self, indices: Tensor) -> Batch:
        labels = None if self.labels is None else self.labels[indices.to(self._device)]
        return self._images.gather(indices), labels


class Resident:
    """Images on the device."""

    def __init__(self, pixels: Tensor, _: tuple[int, int], device: torch.device) -> None:
        self._pixels = pixels if device.type == "cpu" else pixels.to(device)

    def load(self, chosen: Sequence[Tensor]) -> None:
        """Do nothing: the indices are all that a batch needs."""

    def batch(self, at: int, chosen: Tensor) -> Tensor:
        """Return the images of a batch, uint8, by their indices on the device."""
        return self._pixels[chosen]

    def gather(self, indices: Tensor) -> Tensor:
        """Return images by their indices on the host."""
        return self._pixels[indices.to(self._pixels.device)]


class Streamed:
    """Images on the host, memory-mapped, for sets too large for the device. Each batch is copied to the device.

    Args:
        pixels: (images, C, H, W) uint8, on the host.
        batches: Largest number of batches per load, and images per batch.
        device: Device of the batches.
    """

    def __init__(self, pixels: Tensor, batches: tuple[int, int], device: torch.device) -> None:
        shape = (*batches, *pixels.shape[1:])
        self._pixels, self._device = pixels, device
        self._loaded = torch.empty(shape, dtype=torch.uint8, device=device)
        pinned = device.type == "cuda"
        self._staging = [torch.empty(shape, dtype=torch.uint8, pin_memory=pinned) for _ in range(STAGING_BUFFERS)]
        self._copied: list[torch.cuda.Event | None] = [None] * STAGING_BUFFERS
        self._turn = 0

    def load(self, chosen: Sequence[Tensor]) -> None:
        """Start to copy the batches of these indices, on the host, to the device."""
        turn, self._turn = self._turn, (self._turn + 1) % STAGING_BUFFERS
        if copied := self._copied[turn]:
            copied.synchronize()  # its last copy is two steps old, so that this seldom waits
        staging = self._staging[turn][: len(chosen)]
        for indices, batch in zip(chosen, staging, strict=True):
            torch.index_select(self._pixels, 0, indices, out=batch)
        self._loaded[: len(chosen)].copy_(staging, non_blocking=True)
        if self._device.type == "cuda":
            self._copied[turn] = copied = torch.cuda.Event()  # type: ignore[no-untyped-call]
            copied.record()

    def batch(self, at: int, chosen: Tensor) -> Tensor:
        """Return the images of loaded batch number `at`, uint8."""
        return self._loaded[at]

    def gather(self, indices: Tensor) -> Tensor:
        """Return images by their indices on the host."""
        return self._pixels[indices].to(self._device)


def _staged(tensor: Tensor, device: torch.device) -> Tensor:
    """Return a tensor of the host in memory from which a copy to the device is not waited for."""
    return tensor.pin_memory() if device.type == "cuda" else tensor


def _scaled(pixels: Tensor) -> Tensor:
    return pixels.to(torch.float32).div_(127.5).sub_(1)
