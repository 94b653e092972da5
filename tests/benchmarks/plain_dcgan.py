"""The DCGAN as the PyTorch tutorial writes it, at 32×32×1: what gansweep is compared with.

https://docs.pytorch.org/tutorials/beginner/dcgan_faces_tutorial.html (Inkawhich). Nothing is crippled or tuned.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import torch
import torchvision
from torch import Tensor, nn
from torch.utils.data import DataLoader
from torchvision import transforms

IMAGE_SIZE, LATENT_DIM, BATCH_SIZE = 32, 100, 64


def initialise(module: nn.Module) -> None:
    name = type(module).__name__
    if "Conv" in name:
        nn.init.normal_(module.weight, 0.0, 0.02)
    elif "BatchNorm" in name:
        nn.init.normal_(module.weight, 1.0, 0.02)
        nn.init.zeros_(module.bias)


def make_generator(maps: int) -> nn.Module:
    """z: (N, 100, 1, 1) → images: (N, 1, 32, 32)."""
    return nn.Sequential(
        nn.ConvTranspose2d(LATENT_DIM, maps * 4, 4, 1, 0, bias=False),
        nn.BatchNorm2d(maps * 4),
        nn.ReLU(True),
        nn.ConvTranspose2d(maps * 4, maps * 2, 4, 2, 1, bias=False),
        nn.BatchNorm2d(maps * 2),
        nn.ReLU(True),
        nn.ConvTranspose2d(maps * 2, maps, 4, 2, 1, bias=False),
        nn.BatchNorm2d(maps),
        nn.ReLU(True),
        nn.ConvTranspose2d(maps, 1, 4, 2, 1, bias=False),
        nn.Tanh(),
    )


def make_discriminator(maps: int) -> nn.Module:
    """images: (N, 1, 32, 32) → probabilities: (N, 1, 1, 1)."""
    return nn.Sequential(
        nn.Conv2d(1, maps, 4, 2, 1, bias=False),
        nn.LeakyReLU(0.2, inplace=True),
        nn.Conv2d(maps, maps * 2, 4, 2, 1, bias=False),
        nn.BatchNorm2d(maps * 2),
        nn.LeakyReLU(0.2, inplace=True),
        nn.Conv2d(maps * 2, maps * 4, 4, 2, 1, bias=False),
        nn.BatchNorm2d(maps * 4),
        nn.LeakyReLU(0.2, inplace=True),
        nn.Conv2d(maps * 4, 1, 4, 1, 0, bias=False),
        nn.Sigmoid(),
    )


def batches(data: str | Path, device: str = "cpu", workers: int = 0) -> Iterator[Tensor]:
    """Real images on a device, epoch after epoch: (64, 1, 32, 32) in [-1, 1].

    Args:
        data: Root of torchvision's MNIST.
        device: Device of the batches.
        workers: Processes that load; the tutorial has 2.
    """
    dataset = torchvision.datasets.MNIST(
        root=str(data),
        download=False,
        transform=transforms.Compose(
            [transforms.Resize(IMAGE_SIZE), transforms.ToTensor(), transforms.Normalize((0.5,), (0.5,))]
        ),
    )
    loader = DataLoader(dataset, batch_size=BATCH_SIZE, shuffle=True, drop_last=True, num_workers=workers)
    while True:
        for images, _ in loader:
            yield images.to(device)


class PlainDcgan:
    """Both networks and the tutorial's step."""

    def __init__(self, maps: int, learning_rate: float, beta1: float, device: str = "cpu") -> None:
        self.device = device
        self.generator, self.discriminator = make_generator(maps).to(device), make_discriminator(maps).to(device)
        self.generator.apply(initialise)
        self.discriminator.apply(initialise)
        self.criterion = nn.BCELoss()
        self.fixed_noise = torch.randn(64, LATENT_DIM, 1, 1, device=device)
        self.adam_d = torch.optim.Adam(self.discriminator.parameters(), lr=learning_rate, betas=(beta1, 0.999))
        self.adam_g = torch.optim.Adam(self.generator.parameters(), lr=learning_rate, betas=(beta1, 0.999))

    def step(self, real: Tensor) -> dict[str, float]:
        # D: maximise log(D(x)) + log(1 - D(G(z)))
        self.discriminator.zero_grad()
        label = torch.full((real.size(0),), 1.0, device=self.device)
        output = self.discriminator(real).view(-1)
        loss_d_real = self.criterion(output, label)
        loss_d_real.backward()
        d_real = output.mean().item()

        fake = self.generator(torch.randn(real.size(0), LATENT_DIM, 1, 1, device=self.device))
        label.fill_(0.0)
        output = self.discriminator(fake.detach()).view(-1)
        loss_d_fake = self.criterion(output, label)
        loss_d_fake.backward()
        d_fake = output.mean().item()
        self.adam_d.step()

        # G: maximise log(D(G(z)))
        self.generator.zero_grad()
        label.fill_(1.0)
        output = self.discriminator(fake).view(-1)
        loss_g = self.criterion(output, label)
        loss_g.backward()
        self.adam_g.step()
        return {
            "loss_d": (loss_d_real + loss_d_fake).item(),
            "loss_g": loss_g.item(),
            "d_real": d_real,
            "d_fake": d_fake,
        }
