"""A residual G and D with spectral norm, attention and dropout."""

from torch import nn

from .blocks import Attention, Down, Up


class G(nn.Module):
    def __init__(self, latent_dim, channels, width=4):
        super().__init__()
        self.width = width
        self.first = nn.Linear(latent_dim, 16 * width)
        self.blocks = nn.Sequential(Up(width, width), Up(width, width), nn.BatchNorm2d(width), nn.ReLU())
        self.last = nn.Conv2d(width, channels, 3, 1, 1)

    def forward(self, z):
        return self.last(self.blocks(self.first(z).view(-1, self.width, 4, 4))).tanh()


class D(nn.Module):
    def __init__(self, channels, width=4, dropout=0.2):
        super().__init__()
        self.blocks = nn.Sequential(Down(channels, width), Attention(width), Down(width, width), nn.ReLU())
        self.dropout = nn.Dropout(dropout)
        self.last = nn.utils.spectral_norm(nn.Linear(width, 1))

    def forward(self, x):
        return self.last(self.dropout(self.blocks(x).sum((2, 3))))
