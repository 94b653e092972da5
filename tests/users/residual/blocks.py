"""Residual blocks with spectral norm and a self-attention layer."""

import torch
from torch import nn
from torch.nn import functional as F
from torch.nn.utils import spectral_norm


class Up(nn.Module):
    """Doubles the side; batch norm and ReLU before each convolution."""

    def __init__(self, inputs, outputs):
        super().__init__()
        self.norms = nn.ModuleList([nn.BatchNorm2d(inputs), nn.BatchNorm2d(outputs)])
        self.convs = nn.ModuleList([nn.Conv2d(inputs, outputs, 3, 1, 1), nn.Conv2d(outputs, outputs, 3, 1, 1)])
        self.shortcut = nn.Conv2d(inputs, outputs, 1)

    def forward(self, x):
        h = F.interpolate(F.relu(self.norms[0](x)), scale_factor=2)
        h = self.convs[1](F.relu(self.norms[1](self.convs[0](h))))
        return h + self.shortcut(F.interpolate(x, scale_factor=2))


class Down(nn.Module):
    """Halves the side; ReLU before each convolution."""

    def __init__(self, inputs, outputs):
        super().__init__()
        self.conv1 = spectral_norm(nn.Conv2d(inputs, outputs, 3, 1, 1))
        self.conv2 = spectral_norm(nn.Conv2d(outputs, outputs, 3, 1, 1))
        self.shortcut = spectral_norm(nn.Conv2d(inputs, outputs, 1))

    def forward(self, x):
        h = self.conv2(F.relu(self.conv1(F.relu(x))))
        return F.avg_pool2d(h, 2) + F.avg_pool2d(self.shortcut(x), 2)


class Attention(nn.Module):
    """Every position attends to all others; the first weight is 0."""

    def __init__(self, maps):
        super().__init__()
        self.query, self.key, self.value = (spectral_norm(nn.Conv2d(maps, maps, 1)) for _ in range(3))
        self.weight = nn.Parameter(torch.zeros(()))

    def forward(self, x):
        q, k, v = (layer(x).flatten(2) for layer in (self.query, self.key, self.value))
        scores = (q.transpose(1, 2) @ k / q.shape[1] ** 0.5).softmax(-1)
        return x + self.weight * (v @ scores.transpose(1, 2)).view_as(x)
