"""A DCGAN in the layout of PyTorch's tutorial, for greyscale images of 16 pixels, and what fits it to gansweep."""

import torch
from torch import nn

nc, nz, ngf, ndf = 1, 16, 4, 4


def weights_init(m):
    name = m.__class__.__name__
    if name.find("Conv") != -1:
        nn.init.normal_(m.weight.data, 0.0, 0.02)
    elif name.find("BatchNorm") != -1:
        nn.init.normal_(m.weight.data, 1.0, 0.02)
        nn.init.constant_(m.bias.data, 0)


class Generator(nn.Module):
    def __init__(self, ngpu):
        super().__init__()
        self.ngpu = ngpu
        self.main = nn.Sequential(
            nn.ConvTranspose2d(nz, ngf * 2, 4, 1, 0, bias=False),
            nn.BatchNorm2d(ngf * 2),
            nn.ReLU(True),
            nn.ConvTranspose2d(ngf * 2, ngf, 4, 2, 1, bias=False),
            nn.BatchNorm2d(ngf),
            nn.ReLU(True),
            nn.ConvTranspose2d(ngf, nc, 4, 2, 1, bias=False),
            nn.Tanh(),
        )

    def forward(self, input):
        return self.main(input)


class Discriminator(nn.Module):
    def __init__(self, ngpu):
        super().__init__()
        self.ngpu = ngpu
        self.main = nn.Sequential(
            nn.Conv2d(nc, ndf, 4, 2, 1, bias=False),
            nn.LeakyReLU(0.2, inplace=True),
            nn.Conv2d(ndf, ndf * 2, 4, 2, 1, bias=False),
            nn.BatchNorm2d(ndf * 2),
            nn.LeakyReLU(0.2, inplace=True),
            nn.Conv2d(ndf * 2, 1, 4, 1, 0, bias=False),
            nn.Sigmoid(),
        )

    def forward(self, input):
        return self.main(input)


# The adapter of docs/bring-your-own.md: the tutorial's initial weights, and D without its sigmoid.
def G(ngpu=0): return Generator(ngpu).apply(weights_init)
def D(ngpu=0): return Discriminator(ngpu).apply(weights_init).main[:-1]


def tutorial_step(net_g, net_d, adam_g, adam_d, real, noise):
    """One step of the tutorial's loop, on given images and noise; D without its sigmoid."""
    criterion = nn.BCEWithLogitsLoss()
    ones, zeros = torch.ones(len(real), dtype=real.dtype), torch.zeros(len(real), dtype=real.dtype)
    net_d.zero_grad()
    loss_real = criterion(net_d(real).view(-1), ones)
    loss_real.backward()
    fake = net_g(noise)
    loss_fake = criterion(net_d(fake.detach()).view(-1), zeros)
    loss_fake.backward()
    adam_d.step()
    net_g.zero_grad()
    loss_g = criterion(net_d(fake).view(-1), ones)
    loss_g.backward()
    adam_g.step()
    return (loss_real + loss_fake).item(), loss_g.item()
