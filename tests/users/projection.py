"""A conditional pair: class-conditional batch norm in G, and a projection D (Miyato & Koyama 2018)."""

import torch
from torch import nn
from torch.nn import functional as F


class ConditionalNorm(nn.Module):
    def __init__(self, maps, classes):
        super().__init__()
        self.norm = nn.BatchNorm2d(maps, affine=False)
        self.scale, self.shift = nn.Embedding(classes, maps), nn.Embedding(classes, maps)
        nn.init.ones_(self.scale.weight)

    def forward(self, x, labels):
        return self.norm(x) * self.scale(labels)[:, :, None, None] + self.shift(labels)[:, :, None, None]


class G(nn.Module):
    def __init__(self, latent_dim, channels, classes, width=4):
        super().__init__()
        self.first = nn.ConvTranspose2d(latent_dim, width, 4)
        self.norms = nn.ModuleList([ConditionalNorm(width, classes) for _ in range(2)])
        self.second = nn.ConvTranspose2d(width, width, 4, 2, 1)
        self.last = nn.ConvTranspose2d(width, channels, 4, 2, 1)

    def forward(self, z, labels):
        x = F.relu(self.norms[0](self.first(z), labels))
        return torch.tanh(self.last(F.relu(self.norms[1](self.second(x), labels))))


class D(nn.Module):
    def __init__(self, channels, classes, width=4):
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(channels, width, 4, 2, 1), nn.LeakyReLU(0.2), nn.Conv2d(width, width, 4, 2, 1), nn.LeakyReLU(0.2)
        )
        self.last, self.classes = nn.Linear(width, 1), nn.Embedding(classes, width)

    def forward(self, x, labels):
        features = self.features(x).sum((2, 3))
        return self.last(features).squeeze(1) + (self.classes(labels) * features).sum(1)


class Pair:
    """Both networks under one name, as model.architecture takes them."""

    generator, discriminator = G, D
