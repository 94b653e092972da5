"""Choice of the embedding that the evaluations of a trial use. Does not load torch."""

from __future__ import annotations

import functools
import hashlib
import importlib.util
from collections.abc import Callable, Iterator
from pathlib import Path

from gansweep.config import FeaturesConfig
from gansweep.errors import UserError
from gansweep.features import AUTO, GREY_SIDE, INTACT_MAKING, embedding_kind, intact_side
from gansweep.gan.data import ImageSet, evaluation_split, first_features
from gansweep.planning.source import place
from gansweep.sweepfile.schema import Evaluation

# What `auto` chooses where version 0.1.0 would reduce images to 16 px: docs/features.md. Its rankings agree best with
# the eye, it needs no package, and it costs little.
BEST = "self_supervised"


def choose(evaluation: Evaluation, images: ImageSet, has_begun: Callable[[FeaturesConfig], bool]) -> FeaturesConfig:
    """Return the embedding of a trial.

    With `auto`, a trial that has begun with the embedding of version 0.1.0 keeps it.

    Args:
        evaluation: Section `evaluation` of the sweep file.
        images: Images of the trial.
        has_begun: Function that returns whether the trial has begun with a given embedding.

    Raises:
        UserError: The embedding needs labels, weights or a package that are missing.
    """
    offered = [*_offered(evaluation, images)]
    chosen = next((one for one in offered[1:] if has_begun(one)), offered[0])
    _check(chosen, images)
    return chosen


def identity(features: FeaturesConfig, images: ImageSet) -> str:
    """Return the text that identifies an embedding in the id of a trial; empty for the embedding of version 0.1.0."""
    if features.name == first_features(images):
        return ""
    return "/".join(filter(None, (features.name, str(embedding_kind(features.name).version), features.digest)))


def making_s(features: FeaturesConfig, images: ImageSet) -> float:
    """Return the approximate time in seconds that one CPU core takes to make an embedding of an image set.

    The time to train the network that measures `intact` is included, if one is trained.
    """
    kind = embedding_kind(features.name)
    small = images.channels == 1 and images.image_size <= GREY_SIDE
    making = kind.making_small if small and kind.making_small else kind.making
    seen, _ = evaluation_split(images.images)
    side = intact_side_of(images)
    return making.of(seen) + (INTACT_MAKING[side].of(seen) if side else 0.0)


def intact_side_of(images: ImageSet) -> int | None:
    """Return the side in pixels of the images that the network for `intact` receives; None if none is trained."""
    seen, _ = evaluation_split(images.images)
    return intact_side(images.channels, images.image_size, len(images.classes), seen)


def _offered(evaluation: Evaluation, images: ImageSet) -> Iterator[FeaturesConfig]:
    """Yield the embeddings that the section `evaluation` allows for images, the best first."""
    before = first_features(images)
    if not evaluation.per_run:
        yield FeaturesConfig(before)
    elif evaluation.features != AUTO:
        yield _with_weights(evaluation)
    else:
        yield from map(FeaturesConfig, (before,) if before == "classifier" else (BEST, before))


def _with_weights(evaluation: Evaluation) -> FeaturesConfig:
    kind = embedding_kind(evaluation.features)
    if not kind.weights or evaluation.weights is None:
        return FeaturesConfig(evaluation.features)
    path = place(evaluation.weights, "evaluation.weights") or ""
    try:
        digest = _checksum(path)
    except OSError as error:
        what = f"evaluation.weights: {path}: cannot be read ({error.strerror})"
        raise UserError(f"{what}; name a file of weights") from None
    return FeaturesConfig(evaluation.features, path, digest)


@functools.cache
def _checksum(path: str) -> str:
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _is_installed(features: FeaturesConfig) -> bool:
    module = embedding_kind(features.name).module
    return not module or importlib.util.find_spec(module) is not None


def _check(features: FeaturesConfig, images: ImageSet) -> None:
    """Raise UserError if the images have too few classes for an embedding, or a package that it needs is missing."""
    kind, where = embedding_kind(features.name), f"evaluation.features: {features.name}"
    if kind.labels and len(images.classes) < 2:
        raise UserError(f"{where} is trained on labels, and the images have one class; set evaluation.features: auto")
    if not _is_installed(features):
        raise UserError(f"{where} needs a package; run pip install 'gansweep[{kind.extra}]', or set other features")
