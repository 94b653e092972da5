"""Parts shared by formats of exported generators: wrappers, example inputs, and descriptions."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from gansweep.errors import CheckpointError
from gansweep.gan.restore import Restored
from gansweep.networks.module import GanModule

DESCRIPTION = "gansweep.json"  # name of the description in a file


class Called(GanModule):
    """A generator that is computed by a function, such as an exported program.

    Args:
        function: Takes z, (N, latent_dim), and for a conditional generator the classes, (N,). Returns images.
    """

    def __init__(self, function: Callable[..., Tensor]) -> None:
        super().__init__()
        self._function = function

    def forward(self, x: Tensor, labels: Tensor | None = None, groups: int = 1) -> Tensor:
        return self._function(x) if labels is None else self._function(x, labels)


class Exportable(nn.Module):
    """An unconditional generator, wrapped for export. Its only input is called `z` in the exported file."""

    def __init__(self, generator: nn.Module) -> None:
        super().__init__()
        self.generator = generator

    def forward(self, z: Tensor) -> Tensor:
        images: Tensor = self.generator(z)
        return images


class ExportableWithClasses(Exportable):
    """A conditional generator, wrapped for export. Its inputs are called `z` and `labels`."""

    def forward(self, z: Tensor, labels: Tensor) -> Tensor:  # type: ignore[override]
        images: Tensor = self.generator(z, labels)
        return images


def exportable(found: Restored) -> Exportable:
    """Return a copy of a generator, wrapped for export, in eval mode and without gradients."""
    wrapper = ExportableWithClasses if found.classes else Exportable
    return wrapper(copy.deepcopy(found.generator)).eval().requires_grad_(False)


def inputs(found: Restored, count: int) -> dict[str, Tensor]:
    """Return `count` example inputs by name: random z, and for a conditional generator labels, each class in turn."""
    z = torch.randn(count, found.latent_dim, generator=torch.Generator().manual_seed(count))
    return {"z": z, "labels": torch.arange(count) % len(found.classes)} if found.classes else {"z": z}


def dynamic_batch(given: dict[str, Tensor]) -> dict[str, Any]:
    """Return the `dynamic_shapes` of an export: the first dimension of each input, the batch, may have any size."""
    return {name: {0: torch.export.Dim.DYNAMIC} for name in given}


def described(text: str | None, function: Callable[..., Tensor], path: Path) -> Restored:
    """Return the generator in an exported file, which is described by the text in the file.

    Args:
        text: The description, JSON; None if the file has none.
        function: Function that computes the images.
        path: The file, for messages.

    Raises:
        CheckpointError: The description is missing, or is not one that `gansweep save` writes.
    """
    try:
        meta = json.loads(text or "")
        found = Restored(Called(function), int(meta["step"]), meta["settings"])
        sizes = found.latent_dim, int(found.settings["image_size"]), int(found.settings["channels"])
        if min(sizes) < 1 or not all(isinstance(name, str) for name in found.classes):
            raise ValueError
    except (AttributeError, KeyError, TypeError, ValueError):
        raise CheckpointError(f"{path}: was not written by `gansweep save`") from None
    return found
