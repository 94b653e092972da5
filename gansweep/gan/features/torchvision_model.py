"""Classification models of torchvision, `torchvision:resnet50`, with the user's file of weights.

Features are the input of the last linear layer. Images are resized to the side that torchvision's own weights of the
model expect, and normalised with the mean and standard deviation that belong to these weights.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from gansweep.errors import UserError
from gansweep.gan.features.base import Embedding, Stored, one_thread
from gansweep.gan.features.projected import MOST_FITTED, Output, Projected, described
from gansweep.gan.features.recipe import Request, Source
from gansweep.gan.features.resize import in_colour, resized, to_float
from gansweep.gan.features.weights import checksum, load_into, read

KEY = "evaluation.features"
FEWEST = 500  # images that components are fitted to on the CPU: large models take a second for a few images


class Model(nn.Module):
    """A model whose last linear layer is removed.

    Args:
        name: torchvision's name of the model.

    Raises:
        UserError: torchvision has no such model, or the model has no linear layer.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, name: str) -> None:
        super().__init__()
        self.model, presets = _built(name)
        linear = [part for part, layer in self.model.named_modules() if isinstance(layer, nn.Linear)]
        if not linear:
            raise UserError(f"{KEY}: torchvision:{name}: the model has no linear layer; name another one")
        self.head = linear[-1]
        self.model.set_submodule(self.head, nn.Identity())
        self.side: int = presets.crop_size[0]
        for statistic in ("mean", "std"):
            values = torch.tensor(getattr(presets, statistic)).reshape(1, 3, 1, 1)
            self.register_buffer(statistic, values, persistent=False)

    def forward(self, pixels: Tensor) -> Output:
        images = (to_float(in_colour(pixels)) / 255 - self.mean) / self.std
        return Output(self.model(resized(images, self.side)).flatten(1))


def make(request: Request) -> Embedding:
    """Return the model, followed by the principal components of its features of the set's images.

    Raises:
        UnsuitableError: The set has FEATURES images or fewer.
        UserError: torchvision has no such model or the model has no linear layer, or the file of weights is missing,
            cannot be read, or belongs to another model.
    """
    source = request.source
    network, digest = _loaded(source)
    with one_thread():
        description = described(source.name, network, network.side, request.pixels[:1], checksum=digest)
        fitted = request.some(min(MOST_FITTED, FEWEST))
        return Projected(network, 0, description, weights_elsewhere=True).fit(fitted)


def restore(stored: Stored, source: Source) -> Embedding:
    """Restore a stored embedding. The weights of the model are loaded from the user's file.

    Raises:
        UserError: The file is missing, or is not the one that the embedding was made with.
    """
    network, digest = _loaded(source)
    if digest != (recorded := stored.description.checksum):
        raise UserError(
            f"{KEY}: {source.weights}: is not the file that the features were computed with (SHA-256 {digest[:12]}…,"
            f" recorded {recorded[:12]}…); restore it, or delete the stored reference"
        )
    return Projected(network, stored.classes, stored.description, weights_elsewhere=True).load(stored)


def _loaded(source: Source) -> tuple[Model, str]:
    """Return the model with the weights in the user's file, and the SHA-256 of the file."""
    if source.weights is None:
        raise UserError(f"{KEY}: {source.name}: needs the model's weights; give weights: PATH of a state dict")
    path: Path = source.weights
    digest = checksum(path, KEY)
    network = Model(source.argument).eval()
    # The head is not used: it may have been trained for other classes.
    weights = {name: tensor for name, tensor in read(path, KEY).items() if not name.startswith(f"{network.head}.")}
    load_into(network.model, weights, path, KEY, source.name)
    return network.to(memory_format=torch.channels_last), digest


def _built(name: str) -> tuple[nn.Module, Any]:
    """Return a model, whose weights are still to be loaded, and torchvision's preprocessing of its images."""
    from torchvision import models

    if name not in models.list_models(module=models):
        raise UserError(f"{KEY}: torchvision:{name}: torchvision has no such classification model; see its list_models")
    # Two old models warn unless they are told whether to draw weights.
    options = {"init_weights": False} if name in ("inception_v3", "googlenet") else {}
    with torch.random.fork_rng(devices=[]):
        model: nn.Module = models.get_model(name, weights=None, **options)
    return model, models.get_model_weights(name).DEFAULT.transforms()
