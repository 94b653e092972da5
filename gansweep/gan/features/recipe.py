"""The interface of a recipe: a module that makes one kind of embedding, and restores it from what is stored."""

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
    """What a sweep file says of an embedding.

    Attributes:
        name: Its name, with the argument after a colon.
        weights: File of weights, if it needs one.
        code: The user's code, if the name is an import path.
    """

    name: str
    weights: Path | None = None
    code: Code = field(default_factory=Code)

    @classmethod
    def of(cls, features: FeaturesConfig, code: Code) -> Source:
        """Return the source that the configuration of a trial stands for."""
        return cls(features.name, Path(features.weights) if features.weights else None, code)

    @property
    def argument(self) -> str:
        """Return the part of the name after the colon."""
        return self.name.partition(":")[2]


@dataclass(frozen=True)
class Request:
    """What an embedding is made for.

    Attributes:
        source: What the sweep file says of it.
        pixels: (N, C, H, W) uint8 images of the evaluator's training half, on the CPU.
        labels: (N,) int64 their labels.
        class_names: Names of the classes.
        held_out: (M, C, H, W) uint8 other images, which it is never trained on: its accuracy is measured on them.
        held_out_labels: (M,) int64 their labels.
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
        """Return the number of classes; 0 if there are fewer than two, which is as good as no labels."""
        return len(self.class_names) if len(self.class_names) > 1 else 0

    @property
    def channels(self) -> int:
        return self.pixels.shape[1]

    @property
    def image_size(self) -> int:
        return self.pixels.shape[2]

    def some(self, count: int) -> Tensor:
        """Return at most `count` of the images at even distances in their order, which may be that of the classes."""
        return self.pixels[self._chosen(count)]

    def some_labels(self, count: int) -> Tensor:
        """Return the labels of `some(count)`."""
        return self.labels[self._chosen(count)]

    def _chosen(self, count: int) -> Tensor | slice:
        n = len(self.pixels)
        return slice(None) if n <= count else torch.linspace(0, n - 1, count).round().long()


class Recipe(Protocol):
    """Module that makes embeddings of one kind. The same input gives the same bits."""

    def make(self, request: Request) -> Embedding:
        """Return an embedding for a set of images.

        Raises:
            UnsuitableError: It cannot serve this set: the caller takes another embedding, and says so.
            UserError: Its weights or the user's code are missing, or are not what they should be.
        """
        ...

    def restore(self, stored: Stored, source: Source) -> Embedding:
        """Return the embedding that was stored, without training. Its features have the same bits.

        Raises:
            UserError: Weights or code that lie elsewhere are missing, or differ from those it was made with.
            KeyError, RuntimeError, TypeError: What is stored is that of another version.
        """
        ...


def recipe_of(name: str) -> Recipe:
    """Return the recipe of an embedding's name. Raises ValueError if the name is unknown."""
    return cast(Recipe, importlib.import_module(f"gansweep.gan.features.{embedding_kind(name).recipe}"))
