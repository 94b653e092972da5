"""The interface of a recipe: a module that makes one kind of embedding, and restores it from stored data."""

from __future__ import annotations

import importlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol, cast

import torch
from torch import Tensor

from gansweep.config import FeaturesConfig
from gansweep.features import embedding_kind
from gansweep.gan.features.base import Embedding, Stored
from gansweep.usercode.code import Code


@dataclass(frozen=True)
class Source:
    """Specification of an embedding in a sweep file.

    Attributes:
        name: Name of the embedding, including the argument after a colon.
        weights: File of weights; None if the sweep file names none.
        code: The user's code, if the name is an import path.
    """

    name: str
    weights: Path | None = None
    code: Code = field(default_factory=Code)

    @classmethod
    def of(cls, features: FeaturesConfig, code: Code) -> Source:
        """Return the specification in the configuration of a trial."""
        return cls(features.name, Path(features.weights) if features.weights else None, code)

    @property
    def argument(self) -> str:
        """Return the part of the name after the colon; empty without a colon."""
        return self.name.partition(":")[2]


@dataclass(frozen=True)
class Request:
    """Specification of an embedding, and the images that it is made from.

    Attributes:
        source: Specification in the sweep file.
        pixels: Images of the evaluator's training half, (N, C, H, W) uint8, on the CPU.
        labels: Labels of `pixels`, (N,) int64.
        class_names: Names of the classes.
        held_out: Other images, (M, C, H, W) uint8. They are not trained on: the accuracy is measured on them.
        held_out_labels: Labels of `held_out`, (M,) int64.
        seed: Seed of weights and batches.
    """

    source: Source
    pixels: Tensor
    labels: Tensor
    class_names: tuple[str, ...]
    held_out: Tensor
    held_out_labels: Tensor
    seed: int = 0

    @property
    def classes(self) -> int:
        """Return the number of classes; 0 if there are fewer than two, since a single class is no label."""
        return len(self.class_names) if len(self.class_names) > 1 else 0

    @property
    def channels(self) -> int:
        return self.pixels.shape[1]

    @property
    def image_size(self) -> int:
        return self.pixels.shape[2]

    def some(self, count: int) -> Tensor:
        """Return at most `count` images, evenly spaced in `pixels`, since these may be sorted by class."""
        return self.pixels[self._chosen(count)]

    def some_labels(self, count: int) -> Tensor:
        """Return the labels of the images that `some(count)` returns."""
        return self.labels[self._chosen(count)]

    def _chosen(self, count: int) -> Tensor | slice:
        n = len(self.pixels)
        return slice(None) if n <= count else torch.linspace(0, n - 1, count).round().long()


class Recipe(Protocol):
    """Module that makes embeddings of one kind. The same request gives the same embedding, bit for bit."""

    def make(self, request: Request) -> Embedding:
        """Return an embedding for a set of images.

        Raises:
            UnsuitableError: The embedding cannot serve this set. The caller takes another one, and notifies the user.
            UserError: The weights or the user's code are missing or invalid.
        """
        ...

    def restore(self, stored: Stored, source: Source) -> Embedding:
        """Restore a stored embedding without training. Its features are the same as before, bit for bit.

        Raises:
            UserError: Weights or code that are not part of the stored data are missing, or differ from those that the
                embedding was made with.
            KeyError, RuntimeError, TypeError: The data were stored by another version.
        """
        ...


def recipe_of(name: str) -> Recipe:
    """Return the recipe that makes the embedding of a name. Raises ValueError if the name is unknown."""
    return cast(Recipe, importlib.import_module(f"gansweep.gan.features.{embedding_kind(name).recipe}"))
