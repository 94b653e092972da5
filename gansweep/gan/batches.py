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
    """Return the seed of a named random stream, derived from the seed of a trial.

    Streams are independent: drawing more numbers from one does not affect the others.
    """
    return int.from_bytes(hashlib.sha256(f"{seed}:{stream}".encode()).digest()[:7], "little")


def generator(seed: int, stream: str, device: torch.device | str = "cpu") -> torch.Generator:
    """Return a new torch generator on `device` at the beginning of a named random stream."""
    return torch.Generator(device).manual_seed(stream_seed(seed, stream))


def augment(images: Tensor, config: AugmentationConfig, rng: torch.Generator) -> Tensor:
    """Return randomly transformed images, (N, C, H, W). Pixels from beyond the border take the nearest value.

    Args:
        images: (N, C, H, W), any range.
        config: The transformations, and their maximum amounts.
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
    """Batches of real images in epochs: each epoch visits every training image at most once, in an order of its own.

    The order depends only on the seed and on the number of the epoch, so a checkpoint needs only the position (the
    number of batches so far). The incomplete last batch of an epoch is dropped. A batch is a pair of images and labels,
    or of images and None.

    `load` runs on the host and chooses the next batches. `get` runs on the device and reads only tensors that `load`
    has written, so it can be captured in a CUDA graph.

    Args:
        pixels: (images, C, H, W) uint8.
        batch_size: Images per batch.
        seed: Seed of the trial.
        device: Device of the batches.
        augmentation: Random changes to training images.
        validation: Share of the images that is held out. The held-out images are the same for every seed.
        labels: (images,) int64, if classes are used.
        most: Largest number of batches that are loaded at once, at least 1.
        resident: Whether all images are copied to the device at once. If False, each batch is copied when it is loaded.

    Raises:
        ValueError: There are fewer training images than `batch_size`.
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
        """Return the first held-out batch, not augmented; None if fewer than two images are held out."""
        return self._held_out

    def probe(self, count: int) -> tuple[Batch, Batch | None]:
        """Return one fixed batch of training and one of held-out images, uint8, not augmented, up to `count` each.

        The second batch is None if fewer than two images are held out.
        """
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
    """All images of the data set, kept on the device."""

    def __init__(self, pixels: Tensor, _: tuple[int, int], device: torch.device) -> None:
        self._pixels = pixels if device.type == "cpu" else pixels.to(device)

    def load(self, chosen: Sequence[Tensor]) -> None:
        """Do nothing, as all images are on the device already."""

    def batch(self, at: int, chosen: Tensor) -> Tensor:
        """Return the images with the indices `chosen`, a tensor on the device, uint8. `at` is not used."""
        return self._pixels[chosen]

    def gather(self, indices: Tensor) -> Tensor:
        """Return the images with the given indices, a tensor on the host, as uint8 on the device."""
        return self._pixels[indices.to(self._pixels.device)]


class Streamed:
    """All images of a data set that is too large for the device, memory-mapped on the host.

    Each batch is copied to the device when it is loaded.

    Args:
        pixels: (images, C, H, W) uint8, on the host.
        batches: Largest number of batches loaded at once, and number of images per batch.
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
        """Start to copy batches to the device. `chosen` holds each batch's image indices, tensors on the host."""
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
        """Return the images of loaded batch number `at`, uint8, on the device. `chosen` is not used."""
        return self._loaded[at]

    def gather(self, indices: Tensor) -> Tensor:
        """Return the images with the given indices, a tensor on the host, as uint8 on the device."""
        return self._pixels[indices].to(self._device)


def _staged(tensor: Tensor, device: torch.device) -> Tensor:
    """Return a host tensor, in pinned memory if the device is a GPU, so that copying it there is asynchronous."""
    return tensor.pin_memory() if device.type == "cuda" else tensor


def _scaled(pixels: Tensor) -> Tensor:
    return pixels.to(torch.float32).div_(127.5).sub_(1)
