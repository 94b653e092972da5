"""The small embeddings behind the interface: a classifier or principal components, both of images reduced to 16 px."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from gansweep.features import EMBEDDINGS
from gansweep.gan import embedding
from gansweep.gan.data import FEATURES
from gansweep.gan.features.base import Description, Embedding, Stored
from gansweep.gan.features.cost import multiply_adds_of, parameters_of


class Small(Embedding):
    """An embedding of gansweep.gan.embedding.

    Args:
        network: The embedding.
        name: As in the sweep file.
    """

    def __init__(self, network: embedding.Embedding, name: str) -> None:
        image = torch.zeros(1, network.shape.channels, embedding.SIDE, embedding.SIDE)
        description = Description(
            name=name,
            version=EMBEDDINGS[name].version,
            resolution=embedding.SIDE,
            dimensions=FEATURES,
            parameters=parameters_of(network),
            multiply_adds=multiply_adds_of(network, image),
            device="cpu",
        )
        super().__init__(network.shape.classes, description)
        self.network = network
        self.frozen()

    def features(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        return self.network.embed(pixels)

    def stored(self) -> Stored:
        found = super().stored()
        facts = {"network": "small", "channels": self.network.shape.channels, **found.facts}
        return Stored(self.network.state_dict(), facts)

    def with_accuracy(self, accuracy: float, *notices: str) -> Small:
        """Return it, its accuracy on held-out images known."""
        self.description = replace(self.description, accuracy=accuracy, notices=notices)
        return self


def restore(stored: Stored) -> Small:
    """Return the embedding that was stored. Raises KeyError, RuntimeError or TypeError for another version's."""
    facts = dict(stored.facts)
    network = embedding.Embedding(embedding.Shape(facts.pop("channels"), facts.pop("classes")))
    network.load_state_dict(dict(stored.tensors))
    del facts["network"]
    found = Small(network, facts["name"])
    found.description = Description.of(facts)
    return found
