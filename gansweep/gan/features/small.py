"""The embeddings of version 0.1.0, which see images reduced to 16 px.

They are a small classifier that is trained on the labels of the data set, and principal components of pixels. Their
features must stay the same, so that they can be compared with those on record.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from gansweep.features import embedding_kind
from gansweep.gan.data import FEATURES
from gansweep.gan.features.base import CHUNK, Description, Embedding, Stored, no_labels
from gansweep.gan.features.cost import multiply_adds_of, parameters_of

SIDE = 16  # images are reduced to this side: enough to distinguish digits and faces, and cheap


class Small(Embedding):
    """An embedding of images reduced to SIDE: two convolutions and a linear layer; without classes a linear layer.

    Args:
        channels: Number of channels of the images.
        classes: Number of classes; 0 without labels.
        name: Name of the embedding in the sweep file.
    """

    def __init__(self, channels: int, classes: int, name: str) -> None:
        if classes:
            body = nn.Sequential(
                nn.Conv2d(channels, 16, 5, stride=2, padding=2), nn.ReLU(),
                nn.Conv2d(16, 32, 3, stride=2, padding=1), nn.ReLU(),
                nn.Flatten(), nn.Linear(32 * (SIDE // 4) ** 2, FEATURES),
            )  # fmt: skip
            head: nn.Module = nn.Sequential(nn.ReLU(), nn.Linear(FEATURES, classes))
        else:
            body = nn.Sequential(nn.Flatten(), nn.Linear(channels * SIDE**2, FEATURES))
            head = nn.Identity()
        network = nn.Sequential(body, head)
        description = Description(
            name=name,
            version=embedding_kind(name).version,
            resolution=SIDE,
            dimensions=FEATURES,
            parameters=parameters_of(network),
            multiply_adds=multiply_adds_of(network, torch.zeros(1, channels, SIDE, SIDE)),
            device="cpu",
        )
        super().__init__(classes, description)
        self.channels, self.body, self.head = channels, body, head

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Return features, (N, FEATURES), and logits, (N, classes). Without classes the features are returned twice.

        Args:
            images: (N, C, H, W) in [-1, 1].
        """
        features: Tensor = self.body(F.adaptive_avg_pool2d(images, SIDE))
        return features, self.head(features)

    def features(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        features, logits = self(_scaled(pixels))
        return features, logits.argmax(1) if self.classes else no_labels(pixels)

    def stored(self) -> Stored:
        found = super().stored()
        return Stored(found.tensors, {"network": "small", "channels": self.channels, **found.facts})


def restore(stored: Stored) -> Small:
    """Restore a stored embedding.

    Raises:
        KeyError, RuntimeError, TypeError: The data were stored by another version.
    """
    found = Small(stored.facts["channels"], stored.classes, stored.facts["name"])
    found.load_state_dict(dict(stored.tensors))
    found.description = stored.description
    found.frozen()
    return found


def reduced(pixels: Tensor) -> Tensor:
    """Return images, (N, C, H, W) uint8, reduced to (N, C, SIDE, SIDE), float32 in [-1, 1]."""
    return torch.cat([F.adaptive_avg_pool2d(_scaled(chunk), SIDE) for chunk in torch.split(pixels, CHUNK)])


def _scaled(pixels: Tensor) -> Tensor:
    return pixels.to(torch.float32).div(127.5).sub(1)
