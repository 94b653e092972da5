"""A classifier that is trained on the labels of the data set.

Grey images of at most 32 pixels are classified by the small network of version 0.1.0, whose features do not change.
For all others a larger network is trained, which sees colour and up to 64 pixels. Its augmentations (crops, mirroring,
rotations by a few degrees, small changes of brightness) preserve hue, the order of channels, sharpness and noise, so
that the features show errors of samples in these.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from gansweep.features import GREY_SIDE
from gansweep.gan.batches import generator
from gansweep.gan.data import FEATURES
from gansweep.gan.features import convnet, small, small_classifier
from gansweep.gan.features.base import Embedding, Stored, UnsuitableError, one_thread
from gansweep.gan.features.convnet import ConvNet
from gansweep.gan.features.projected import MOST_FITTED, Projected, described
from gansweep.gan.features.recipe import Request, Source

BATCH = 64
STEPS, IMAGES_A_STEP, MOST_STEPS = 600, 8, 2_400  # steps, and one more per 8 images, up to a limit
LEARNING_RATE = 3e-3
SMALLEST_CROP, TURN, BRIGHTNESS = 0.75, 6.0, 0.1
SMOOTHING = 0.05  # of labels
BOUND = 3.0  # standard deviations of a binomial: what chance exceeds in one set of 700
# A class counts as present with a tenth of its share of labels. Errors that spread over all classes give a missing one
# (1 - accuracy) of its share, so that below this accuracy they hide it.
GOOD_ACCURACY = 0.9


def make(request: Request) -> Embedding:
    """Return a classifier that is trained on the images and labels of a request.

    Raises:
        UnsuitableError: The set has fewer than two classes, has FEATURES images or fewer, or its labels cannot be
            learned.
    """
    if not request.classes:
        raise UnsuitableError("the images have one class")
    if len(request.pixels) <= FEATURES:
        raise UnsuitableError(f"{len(request.pixels)} images are too few for {FEATURES} components")
    with one_thread():
        if request.channels == 1 and request.image_size <= GREY_SIDE:
            return small_classifier.make(request, "classifier")
        return _large(request)


def restore(stored: Stored, source: Source) -> Embedding:
    """Restore a stored classifier, the small or the large one."""
    if stored.facts.get("network") == "small":
        return small.restore(stored)
    channels, description = stored.tensors["network.body.0.weight"].shape[1], stored.description
    network = ConvNet(channels, description.resolution, stored.classes, names_classes=True)
    return Projected(network, stored.classes, description).load(stored)


def _large(request: Request) -> Embedding:
    network = convnet.new(request.channels, request.image_size, request.classes, request.seed, names_classes=True)
    steps = min(MOST_STEPS, STEPS + len(request.pixels) // IMAGES_A_STEP)
    convnet.train(network, _loss(network, request), steps, LEARNING_RATE)
    description = described("classifier", network, network.side, request.pixels[:1], device="cpu")
    made = Projected(network, request.classes, description).fit(request.some(MOST_FITTED))
    made.description = replace(description, **_judged(made, request))
    return made


def _judged(made: Embedding, request: Request) -> dict[str, Any]:
    """Return the description's `accuracy`, measured on held-out images, and its `notices`.

    Raises:
        UnsuitableError: The accuracy does not exceed the agreement by chance by more than BOUND binomial standard
            deviations. This agreement (Cohen 1960) is the sum over classes of the share among the labels times the
            share among the predictions.
    """
    _, found = made.embed(request.held_out)
    accuracy, n = _accuracy(made, request), len(found)
    shares = [
        torch.bincount(labels, minlength=made.classes).double() / n for labels in (found, request.held_out_labels)
    ]
    chance = float(shares[0] @ shares[1])
    if accuracy <= chance + BOUND * math.sqrt(chance * (1 - chance) / n):
        raise UnsuitableError(
            f"the labels cannot be learned: {accuracy:.1%} of {n:,} unseen images are named correctly, {chance:.1%} by"
            " chance"
        )
    notice = (
        f"the classifier names {accuracy:.1%} of unseen real images correctly; below {GOOD_ACCURACY:.0%} its errors can"
        " hide missing classes, and verdicts that count classes are less reliable"
    )
    return {"accuracy": accuracy, "notices": (notice,) if accuracy < GOOD_ACCURACY else ()}


def _loss(network: ConvNet, request: Request) -> Callable[[], Tensor]:
    """Return a function that draws a batch, augments it and returns its cross-entropy."""
    order, jitter = generator(request.seed, "embedding batches"), generator(request.seed, "embedding jitter")

    def loss() -> Tensor:
        chosen = torch.randint(len(request.pixels), (BATCH,), generator=order)
        images = convnet.mirrored(network.scaled(request.pixels[chosen]), jitter)
        images = convnet.crops(images, SMALLEST_CROP, TURN, jitter)
        images = images + (torch.rand((BATCH, 1, 1, 1), generator=jitter) * 2 - 1) * BRIGHTNESS
        return F.cross_entropy(network.outputs(images), request.labels[chosen], label_smoothing=SMOOTHING)

    return loss


def _accuracy(made: Embedding, request: Request) -> float:
    _, found = made.embed(request.held_out)
    return float((found == request.held_out_labels).double().mean())
