"""Reference data of all evaluations on a data set: an embedding, and statistics of real images in it.

The reference is computed once per data set, stored with the decoded images under the fingerprint of the data, and
shared by all trials. Half of the images train the embedding. Samples are compared with the other half, which the
embedding has not seen.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from gansweep.config import FeaturesConfig
from gansweep.errors import CheckpointError
from gansweep.gan import checkpoint, intact
from gansweep.gan.batches import generator
from gansweep.gan.data import MOST_SEEN, MOST_UNSEEN, ImageSet, evaluation_split, first_features
from gansweep.gan.features.base import Embedding, Stored, UnsuitableError, one_thread
from gansweep.gan.features.labelled import Labelled, discriminants
from gansweep.gan.features.recipe import Request, Source, recipe_of
from gansweep.gan.intact import Intact
from gansweep.gan.real_statistics import RealStatistics, real_statistics
from gansweep.health.evidence import Images, RealSide
from gansweep.health.memorised import TrainingImages
from gansweep.health.metrics import STATISTICS
from gansweep.health.quality import Histogram
from gansweep.records import lock
from gansweep.usercode.code import Code

FALLBACKS = ("self_supervised", "principal_components")  # for images that an embedding cannot serve, the best first
EMBEDDING, INTACT = "embedding.", "intact."  # begin the names of a network's tensors in a file
MOST_MULTIPLY_ADDS = 1_600_000_000_000  # for features of training images: a minute or two on a CPU
MOST_LABELLED = 4_000  # images whose labels an embedding without classes learns
NO_CODE = Code()
WAIT_S = 1_800.0  # maximum wait for another trial that computes it
DIGITS = tuple("0123456789")
GOOD_ACCURACY = 0.95


@dataclass(frozen=True)
class Reference:
    """Real images of a data set in the embedding.

    Attributes:
        embedding: The embedding.
        features: (unseen, k) features, k at most FEATURES, of unseen real images, in random order.
        training: Images of the half that trains the embedding. GANs train on them too, except on those held out by
            dataset.validation.
        labels: (unseen,) labels of the unseen real images.
        histogram: Labels of all images.
        accuracy: The classifier's accuracy on unseen images; NaN without classes.
        statistics: Values of the `STATISTICS` of metrics, by name, for the unseen images.
        class_names: Empty if the images have one class.
        intact: Network that tells intact images from spoiled ones; None for images that it cannot serve.
        file: File that the reference was read from. `at` stores its statistics beside it; None: it stores nothing.
    """

    embedding: Embedding
    features: NDArray[np.float32]
    training: TrainingImages
    labels: NDArray[np.int64]
    histogram: Histogram
    accuracy: float
    statistics: Mapping[str, Any]
    class_names: tuple[str, ...]
    intact: Intact | None = None
    file: Path | None = None

    @property
    def classes(self) -> int:
        return self.embedding.classes

    def at(self, samples: int) -> RealSide:
        """Return the real images and statistics that `samples` generated images are compared with.

        If `file` is set, the statistics are computed once for each data set and number of samples.

        Raises:
            TooFewSamplesError: There are too few samples for a statistic. A Fréchet distance needs at least k + 1.
        """
        if self.file is None:
            found = RealStatistics.of(self.features, samples)
        else:
            found = real_statistics(self.features, samples, self.file)
        return RealSide(
            **vars(found),
            features=self.features[:samples],
            training=self.training,
            unseen=self.features,
            labels=self.labels,
            histogram=self.histogram,
            class_names=self.class_names,
            statistics=self.statistics,
            intact=math.nan if self.intact is None else self.intact.of_real,
        )


def reference_of(
    images: ImageSet, features: FeaturesConfig | None = None, code: Code = NO_CODE
) -> tuple[Reference, list[str]]:
    """Return the reference of a data set, computed if it is missing, and notices for the user.

    Args:
        images: The data set.
        features: The embedding; by default that of version 0.1.0.
        code: The user's code, if the embedding is an import path.

    Raises:
        UserError: Weights or code of the embedding are missing, or are not the expected ones.
    """
    features = features or FeaturesConfig(first_features(images))
    source, path = Source.of(features, code), images.reference(features.key(code))
    with contextlib.suppress(CheckpointError):  # missing, damaged or of another version: computed again
        return _load(path, images, source), []
    with lock.acquire(path.with_suffix(".lock"), wait_s=WAIT_S):
        try:
            return _load(path, images, source), []  # another trial has computed it
        except CheckpointError:
            notices = _make(images, source, path)
    return _load(path, images, source), notices


def halves(images: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the indices of the images that train the embedding, and of all others, each in a fixed random order."""
    order = torch.randperm(images, generator=generator(0, "evaluation split")).numpy()
    seen, _ = evaluation_split(images)
    return order[:seen], order[seen:]


def unseen_images(images: ImageSet, count: int) -> NDArray[np.uint8]:
    """Return (count, C, H, W) uint8 real images that samples are compared with, which the embedding has not seen."""
    _, unseen = halves(images.images)
    return images.load()[unseen[:count]]


def _make(images: ImageSet, source: Source, path: Path) -> list[str]:
    """Compute the reference of a data set, store it in the file `path`, and return notices for the user."""
    pixels, labels = images.load(), torch.from_numpy(images.labels())
    seen, unseen = (torch.from_numpy(half) for half in halves(images.images))
    training, held_out = seen.sort().values, unseen[:MOST_UNSEEN]
    real = pixels[held_out.numpy()]
    request = Request(
        source,
        torch.from_numpy(pixels[training.numpy()]),
        labels[training],
        images.classes,
        torch.from_numpy(real),
        labels[held_out],
    )
    embedding, notices = _suitable(request)
    tensors = {f"{EMBEDDING}{name}": tensor for name, tensor in embedding.stored().tensors.items()}
    with one_thread():
        if request.classes and not embedding.classes:
            found, _ = embedding.embed(request.some(MOST_LABELLED))
            weight, bias = discriminants(found, request.some_labels(MOST_LABELLED), request.classes)
            tensors |= {"labels.weight": weight, "labels.bias": bias}
            labelled: Embedding = Labelled(embedding, weight, bias)
        else:
            labelled = embedding
        features, found = labelled.embed(request.held_out)
        trained, _ = embedding.embed(request.some(_affordable(embedding)))
    compared = TrainingImages.of(trained.numpy(), features.numpy())
    accuracy = float((found == labels[held_out]).double().mean()) if request.classes else None
    unseen_images = Images(real, features.numpy(), labels[held_out].numpy())
    statistics = {one.name: one.compute(unseen_images) for one in STATISTICS}
    counts = torch.bincount(labels, minlength=request.classes)
    tensors |= {"features": features, "training": torch.from_numpy(compared.features), "histogram": counts}
    facts = {"accuracy": accuracy, "embedding": dict(embedding.stored().facts), "memorised": compared.distance}
    if network := intact.trained(request):
        tensors |= {f"{INTACT}{name}": tensor for name, tensor in network.state_dict().items()}
    checkpoint.save(path, tensors, {**statistics, **facts, "intact": network and network.facts()})
    return [*notices, *embedding.description.notices, *_notices(images, accuracy)]


def _affordable(embedding: Embedding) -> int:
    """Return the number of training images whose features are stored, between MOST_UNSEEN and MOST_SEEN.

    The more the features of an image cost, the fewer; if the cost is not known, MOST_UNSEEN.
    """
    cost = embedding.description.multiply_adds
    return max(MOST_UNSEEN, min(MOST_SEEN, MOST_MULTIPLY_ADDS // cost if cost else 0))


def _suitable(request: Request) -> tuple[Embedding, list[str]]:
    """Return the embedding that was asked for, or else the first of FALLBACKS that serves the images, and notices."""
    notices: list[str] = []
    for name in dict.fromkeys((request.source.name, *FALLBACKS)):
        try:
            return recipe_of(name).make(replace(request, source=replace(request.source, name=name))), notices
        except UnsuitableError as reason:
            notices.append(f"evaluation.features: {name} cannot serve these images: {reason}; the next best is used")
    raise AssertionError("principal components serve every set that can be evaluated")


def _notices(images: ImageSet, accuracy: float | None) -> list[str]:
    if len(images.classes) < 2:
        return ["the images have one class: they are evaluated without labels (no missing classes, no label entropy)"]
    if images.classes == DIGITS and accuracy is not None and accuracy < GOOD_ACCURACY:
        return [
            f"the evaluator classifies only {accuracy:.1%} of unseen real digits correctly;"
            " verdicts that count classes are less reliable"
        ]
    return []


def _load(path: Path, images: ImageSet, source: Source) -> Reference:
    """Return the reference that a file holds.

    Raises:
        CheckpointError: The file is missing or damaged, or its content is that of another version.
        UserError: Weights or code that the file does not hold are missing, or are not those it was made with.
    """
    tensors, meta = checkpoint.load(path)
    try:
        return replace(_from_file(tensors, meta, images, source), file=path)
    except (KeyError, RuntimeError, TypeError) as error:  # lacks an array or a value; weights of another embedding
        raise CheckpointError(f"{path}: of another version ({type(error).__name__}: {error})") from None


def _from_file(tensors: dict[str, Tensor], meta: Mapping[str, Any], images: ImageSet, source: Source) -> Reference:
    features, counts, facts = tensors["features"], tensors["histogram"], meta["embedding"]
    used = replace(source, name=facts["name"])
    embedding = recipe_of(used.name).restore(Stored(_named(tensors, EMBEDDING), facts), used)
    if "labels.weight" in tensors:
        embedding = Labelled(embedding, tensors["labels.weight"], tensors["labels.bias"])
    accuracy = meta["accuracy"]
    _, unseen = halves(images.images)
    return Reference(
        embedding=embedding,
        features=features.numpy(),
        training=TrainingImages(tensors["training"].numpy(), meta["memorised"]),
        labels=images.labels()[unseen[:MOST_UNSEEN]],
        histogram=Histogram(counts.numpy()),
        accuracy=float("nan") if accuracy is None else accuracy,
        statistics={one.name: _plain(meta[one.name]) for one in STATISTICS},
        class_names=images.classes if embedding.classes else (),
        intact=intact.restored(_named(tensors, INTACT), meta["intact"]) if meta["intact"] else None,
    )


def _named(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """Return the tensors whose names begin with a prefix, by the rest of their names."""
    return {name.removeprefix(prefix): one for name, one in tensors.items() if name.startswith(prefix)}


def _plain(value: Any) -> Any:
    """Return a list as a tuple, because JSON stores tuples as lists, and any other value unchanged."""
    return tuple(value) if isinstance(value, list) else value
