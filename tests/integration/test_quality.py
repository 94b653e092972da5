"""The main job's good setting (learning rate 1e-3, beta1 0.5) makes digits, many kinds of them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from bench import empty_home
from numpy.typing import NDArray
from scenes import train
from sklearn.model_selection import train_test_split
from sklearn.svm import SVC

from gansweep.gan import checkpoint
from gansweep.gan.data import prepare
from gansweep.gan.reader import Source
from gansweep.gan.sampling import sample
from gansweep.networks.network import Network
from gansweep.networks.registry import generator_design
from gansweep.records.layout import TrialFolder

SAMPLES, LEAST_CLASSES, LEAST_SHARE = 500, 8, 0.01


def classify(images: NDArray[np.uint8], cache: Path) -> NDArray[np.int64]:
    """Labels by a support vector machine that knows the real digits (and is right on ≥ 97 % of unseen ones)."""
    digits = prepare(Source("digits", 32), cache)
    pixels, labels = digits.load().reshape(digits.images, -1) / 255.0, digits.labels()
    train, test, train_labels, test_labels = train_test_split(pixels, labels, test_size=0.25, random_state=0)
    machine = SVC(gamma="scale").fit(train, train_labels)
    assert machine.score(test, test_labels) >= 0.97
    found: NDArray[np.int64] = machine.predict(images.reshape(len(images), -1) / 255.0)
    return found


def samples(trial: TrialFolder) -> NDArray[np.uint8]:
    """Fresh images of a trial's last generator: of the main job's shape."""
    tensors, _ = checkpoint.load(trial.all_checkpoints()[-1])
    generator = Network(generator_design(100, 16, 32, 1))
    generator.load_state_dict(
        {k.removeprefix("generator."): v for k, v in tensors.items() if k.startswith("generator.")}
    )
    return sample(generator, torch.randn(SAMPLES, 100, generator=torch.Generator().manual_seed(0)))


@pytest.mark.slow
def test_a_classifier_finds_most_digits_in_the_samples(tmp_path: Path, checkout: Path) -> None:
    home = empty_home(tmp_path / "home")
    settings = [
        "search=null",
        "training.steps=600",
        "training.learning_rate=1e-3",
        "training.beta1=0.5",
        "evaluation.per_run=0",
    ]
    (trial,) = train(home, checkout / "sweeps" / "lr_grid.yaml", *settings).planned()
    counts = np.bincount(classify(samples(trial), home.cache), minlength=10)
    print(f"of {SAMPLES} samples, by class: {counts.tolist()}")
    assert (counts >= LEAST_SHARE * SAMPLES).sum() >= LEAST_CLASSES
