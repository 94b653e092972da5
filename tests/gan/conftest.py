"""Tiny networks and images that the tests of gan/ share."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scenes
import torch

from gansweep.config import OptimizerConfig, TrainingConfig
from gansweep.gan import intact
from gansweep.gan.data import ImageSet, Pixels, prepare
from gansweep.gan.evaluator import Evaluator
from gansweep.gan.reader import Source
from gansweep.gan.reference import Reference, reference_of
from gansweep.gan.training import Trainer

CPU = torch.device("cpu")
TINY = TrainingConfig(
    latent_dim=5,
    generator_maps=4,
    discriminator_maps=4,
    image_size=16,
    channels=1,
    batch_size=8,
    generator=OptimizerConfig(2e-3, 0.5, 0.999),
    discriminator=OptimizerConfig(2e-3, 0.5, 0.999),
)


@pytest.fixture(scope="session")
def make_pixels() -> Callable[..., Pixels]:
    """(images=20, side=16, channels=1) → uint8 noise, (images, channels, side, side), always the same."""

    def make(images: int = 20, side: int = 16, channels: int = 1) -> Pixels:
        return np.random.default_rng(0).integers(0, 256, (images, channels, side, side), np.uint8)

    return make


@pytest.fixture(scope="session")
def make_settings() -> Callable[..., TrainingConfig]:
    """16 px, 4 maps, batches of 8; keywords change fields."""

    def make(**changes: Any) -> TrainingConfig:
        return replace(TINY, **changes)

    return make


@pytest.fixture(scope="session")
def make_trainer(make_pixels: Callable[..., Pixels]) -> Callable[..., Trainer]:
    """A trainer of tiny networks on 20 images of noise; keywords change its settings."""

    def make(**changes: Any) -> Trainer:
        settings = replace(TINY, **changes)
        return Trainer(settings, make_pixels(20, settings.image_size, settings.channels), CPU)

    return make


@pytest.fixture(scope="session")
def digits(tmp_path_factory: pytest.TempPathFactory) -> ImageSet:
    """The embedded digits at 32 px."""
    cache: Path = tmp_path_factory.mktemp("cache")
    return prepare(Source("digits", 32), cache)


@pytest.fixture(scope="session")
def reference(digits: ImageSet) -> Reference:
    """What real digits look like. Its classifier is trained once for all tests, what tells intact ones for a moment."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(intact, "STEPS", 3)
        return reference_of(digits)[0]


@pytest.fixture(scope="session")
def evaluator(reference: Reference) -> Evaluator:
    """An evaluator with 256 samples of digits."""
    return Evaluator(reference, 256, seed=0)


@pytest.fixture
def make_set(tmp_path: Path) -> Callable[..., ImageSet]:
    """(pixels, labels, classes=("a", "b")) → a prepared set."""

    def make(pixels: Pixels, labels: Sequence[int], classes: Sequence[str] = ("a", "b")) -> ImageSet:
        np.save(tmp_path / "0123.npy", pixels)
        np.save(tmp_path / "0123.labels.npy", np.array(labels, np.int64))
        n, channels, side, _ = pixels.shape
        return ImageSet(str(tmp_path / "0123.npy"), "0123", n, channels, side, tuple(classes))

    return make


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Networks that judge samples know little."""
    scenes.judge_at_once(monkeypatch)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A folder for images."""
    folder = tmp_path / "images"
    folder.mkdir()
    return folder


@pytest.fixture
def prepared(root: Path, tmp_path: Path) -> Callable[..., ImageSet]:
    """Prepare the folder at 16 px; keywords change the source."""

    def prepare_root(**changes: object) -> ImageSet:
        return prepare(
            Source(**{"name": "image_folder", "image_size": 16, "path": str(root), **changes}), tmp_path / "c"
        )  # type: ignore[arg-type]

    return prepare_root
