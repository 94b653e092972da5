"""Reference data of all evaluations on a data set: an embedding, and statistics of real images in it.

Computed once per set, stored with the decoded images under the data's fingerprint, and shared by all
trials. Half of the images train the embedding; samples are compared with the other half, which it has not seen.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from gansweep.errors import CheckpointError
from gansweep.gan import checkpoint
from gansweep.gan.batches import generator
from gansweep.gan.data import FEATURES, MOST_UNSEEN, ImageSet, evaluation_split
from gansweep.gan.embedding import Embedding, Shape, principal_components, train_classifier
from gansweep.health import quality
from gansweep.health.evidence import Images, RealSide
from gansweep.health.metrics import STATISTICS
from gansweep.health.quality import Bins, Gaussian, Histogram
from gansweep.records import lock

WAIT_S = 300.0  # maximum wait for another trial that computes it
BINS = 20  # maximum for NDB: a dozen samples each at 256; fewer with fewer than ten real images per bin
DRAWS = 10  # pairs of real samples, for the FD that ratios are relative to
DIGITS = tuple("0123456789")
GOOD_ACCURACY = 0.95


@dataclass(frozen=True)
class Reference:
    """Real images of a data set in the embedding.

    Attributes:
        embedding: The embedding.
        features: (unseen, FEATURES) features of unseen real images, in random order.
        labels: (unseen,) their labels.
        histogram: Labels of all images.
        accuracy: The classifier's accuracy on unseen images; NaN without classes.
        statistics: Values of the `STATISTICS` of metrics, by name, for the unseen images.
        class_names: Empty if the images have one class.
    """

    embedding: Embedding
    features: NDArray[np.float32]
    labels: NDArray[np.int64]
    histogram: Histogram
    accuracy: float
    statistics: Mapping[str, Any]
    class_names: tuple[str, ...]

    @property
    def classes(self) -> int:
        return self.embedding.shape.classes

    def at(self, samples: int) -> RealSide:
        """Return the statistics that `samples` generated images are compared with.

        Raises:
            TooFewSamplesError: At most FEATURES samples.
        """
        real = self.features[:samples]
        rng = np.random.default_rng(0)
        draws = [rng.permutation(len(self.features)) for _ in range(DRAWS)]
        pairs = [(self.features[d[:samples]], self.features[d[samples : 2 * samples]]) for d in draws]
        baseline = [quality.frechet_distance(Gaussian.of(a), Gaussian.of(b)) for a, b in pairs]
        return RealSide(
            gaussian=Gaussian.of(real),
            features=real,
            radii=quality.neighbour_radii(real),
            radii_of_3=quality.neighbour_radii(real, 3),
            bins=Bins.of(self.features, min(BINS, len(self.features) // 10)),
            duplicate_distance=quality.duplicate_distance(real),
            baseline=float(np.mean(baseline)),
            unseen=self.features,
            labels=self.labels,
            histogram=self.histogram,
            class_names=self.class_names,
            statistics=self.statistics,
        )


def reference_of(images: ImageSet) -> tuple[Reference, list[str]]:
    """Return the reference of a data set, computed if it is missing, and notices for the user."""
    path = images.reference
    with contextlib.suppress(CheckpointError):  # missing, damaged or of another version: computed again
        return _load(path, images), []
    with lock.acquire(path.with_suffix(".lock"), wait_s=WAIT_S):
        try:
            return _load(path, images), []  # another trial has computed it
        except CheckpointError:
            notices = _make(images, path)
    return _load(path, images), notices


def halves(images: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the indices of the images that train the embedding, and of all others, each in a fixed random order."""
    order = torch.randperm(images, generator=generator(0, "evaluation split")).numpy()
    seen, _ = evaluation_split(images)
    return order[:seen], order[seen:]


def unseen_images(images: ImageSet, count: int) -> NDArray[np.uint8]:
    """Return (count, C, H, W) uint8 real images that samples are compared with, which the embedding has not seen."""
    _, unseen = halves(images.images)
    return images.load()[unseen[:count]]


def _make(images: ImageSet, path: Path) -> list[str]:
    classes = len(images.classes) if len(images.classes) > 1 else 0
    shape, pixels = Shape(images.channels, classes), images.load()
    labels = torch.from_numpy(images.labels())
    seen, unseen = (torch.from_numpy(half) for half in halves(images.images))
    training, held_out = seen.sort().values, unseen[:MOST_UNSEEN]
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # the weights must not depend on a trial's number of threads
    try:
        chosen = torch.from_numpy(pixels[training.numpy()])
        embedding = (
            train_classifier(chosen, labels[training], shape)
            if classes
            else principal_components(chosen, images.channels)
        )
        real = pixels[held_out.numpy()]
        features, found = embedding.embed(torch.from_numpy(real))
    finally:
        torch.set_num_threads(threads)
    accuracy = float((found == labels[held_out]).double().mean()) if classes else float("nan")
    tensors = {**embedding.state_dict(), "features": features, "histogram": torch.bincount(labels, minlength=classes)}
    unseen_images = Images(real, features.numpy(), labels[held_out].numpy())
    statistics = {one.name: one.compute(unseen_images) for one in STATISTICS}
    checkpoint.save(path, tensors, {**statistics, "accuracy": accuracy if classes else None})
    return _notices(images, accuracy)


def _notices(images: ImageSet, accuracy: float) -> list[str]:
    if len(images.classes) < 2:
        return ["the images have one class: they are evaluated without labels (no missing classes, no label entropy)"]
    if images.classes == DIGITS and accuracy < GOOD_ACCURACY:
        return [
            f"the evaluator classifies only {accuracy:.1%} of unseen real digits correctly;"
            " verdicts that count classes are less reliable"
        ]
    return []


def _load(path: Path, images: ImageSet) -> Reference:
    """Return the reference that a file holds.

    Raises:
        CheckpointError: The file is missing or damaged, or its content is that of another version.
    """
    tensors, meta = checkpoint.load(path)
    try:
        return _from_file(tensors, meta, images)
    except (KeyError, RuntimeError) as error:  # lacks an array or a value; weights of another embedding
        raise CheckpointError(f"{path}: of another version ({type(error).__name__}: {error})") from None


def _from_file(tensors: dict[str, Tensor], meta: Mapping[str, Any], images: ImageSet) -> Reference:
    features, counts = tensors.pop("features"), tensors.pop("histogram")
    classes = len(images.classes) if len(images.classes) > 1 else 0
    embedding = Embedding(Shape(images.channels, classes)).requires_grad_(False)
    embedding.load_state_dict(tensors)
    assert features.shape[1] == FEATURES
    accuracy = meta["accuracy"]
    _, unseen = halves(images.images)
    return Reference(
        embedding=embedding,
        features=features.numpy(),
        labels=images.labels()[unseen[:MOST_UNSEEN]],
        histogram=Histogram(counts.numpy()),
        accuracy=float("nan") if accuracy is None else accuracy,
        statistics={one.name: _plain(meta[one.name]) for one in STATISTICS},
        class_names=images.classes if classes else (),
    )


def _plain(value: Any) -> Any:
    """Return a number as it is and a list of numbers, the form of a tuple in JSON, as a tuple."""
    return tuple(value) if isinstance(value, list) else value
