"""A small U-Net as D: one score for the image and one for each pixel, averaged."""

import torch
from torch import nn
from torch.nn import functional as F


class D(nn.Module):
    def __init__(self, channels, width=4):
        super().__init__()
        self.down = nn.ModuleList([nn.Conv2d(channels, width, 4, 2, 1), nn.Conv2d(width, 2 * width, 4, 2, 1)])
        self.up = nn.ModuleList([nn.ConvTranspose2d(2 * width, width, 4, 2, 1), nn.ConvTranspose2d(2 * width, 1, 4, 2, 1)])
        self.norm = nn.InstanceNorm2d(width, affine=True)
        self.score = nn.Linear(2 * width, 1)

    def forward(self, x):
        half = F.leaky_relu(self.norm(self.down[0](x)), 0.2)
        quarter = F.leaky_relu(self.down[1](half), 0.2)
        pixels = self.up[1](torch.cat([F.leaky_relu(self.up[0](quarter), 0.2), half], 1))
        return self.score(quarter.mean((2, 3))).squeeze(1) + pixels.mean((1, 2, 3))
