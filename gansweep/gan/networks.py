"""Generator and discriminator as torch modules, in their fastest exact form.

Weights have the shapes of nn.ConvTranspose2d (inputs, outputs, k, k) and nn.Conv2d (outputs, inputs, k, k),
so a state dict loads into a plainly written DCGAN. The arithmetic is arranged otherwise where that was
measured faster on a CPU (tests/benchmarks/bare_loop.py) and equals the plain form up to rounding:

- from z and to the logit, one matrix product;
- at the image, whose few channels leave the 4×4 stride-2 kernel at a tenth of the peak, a convolution with
  2×2 kernels on images whose 2×2 blocks are folded into channels.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from gansweep.gan.architecture import Layer, discriminator_layers, generator_layers

SLOPE = 0.2  # of LeakyReLU, Radford et al. 2016


class Generator(nn.Module):
    """z: (N, latent_dim) → images: (N, channels, image_size, image_size) in [-1, 1]."""

    def __init__(self, latent_dim: int, feature_maps: int, image_size: int, channels: int) -> None:
        super().__init__()
        self.layers = generator_layers(latent_dim, feature_maps, image_size, channels)
        self.weights = nn.ParameterList([_weight(x.inputs, x.outputs, x.kernel) for x in self.layers])
        self.norms = nn.ModuleList([nn.BatchNorm2d(x.outputs) for x in self.layers if x.batch_norm])
        _initialise(self)

    def forward(self, z: Tensor) -> Tensor:
        first = self.layers[0]
        # (N, latent) @ (latent, outputs·k·k): a transposed convolution from 1×1 is a matrix product.
        weight = self.weights[0].permute(0, 2, 3, 1).reshape(first.inputs, -1)
        x = (z @ weight).view(-1, first.kernel, first.kernel, first.outputs).permute(0, 3, 1, 2)
        for i, weight in enumerate(self.weights[1:], 1):
            x = F.relu(self.norms[i - 1](x))
            last = i == len(self.layers) - 1
            x = _transposed_to_image(x, weight) if last else F.conv_transpose2d(x, weight, stride=2, padding=1)
        images: Tensor = torch.tanh(x)
        return images


class Discriminator(nn.Module):
    """images: (N, channels, image_size, image_size) in [-1, 1] → logits: (N,).

    groups: the batch is so many batches of equal size one after another; each is normalised by its own
    statistics, and updates the running ones, as if it had been passed alone.
    """

    def __init__(self, feature_maps: int, image_size: int, channels: int) -> None:
        super().__init__()
        self.layers = discriminator_layers(feature_maps, image_size, channels)
        self.weights = nn.ParameterList([_weight(x.outputs, x.inputs, x.kernel) for x in self.layers])
        self.norms = nn.ModuleList([nn.BatchNorm2d(x.outputs) for x in self.layers if x.batch_norm])
        _initialise(self)

    def forward(self, images: Tensor, groups: int = 1) -> Tensor:
        x = F.leaky_relu(_image_convolution(images, self.weights[0]), SLOPE)
        for weight, norm in zip(self.weights[1:-1], self.norms, strict=True):
            x = F.conv2d(x, weight, stride=2, padding=1)
            x = torch.cat([norm(part) for part in x.chunk(groups)]) if groups > 1 else norm(x)
            x = F.leaky_relu(x, SLOPE)
        head = self.weights[-1]
        logits: Tensor = x.permute(0, 2, 3, 1).flatten(1) @ head.permute(0, 2, 3, 1).flatten(1).t()
        return logits.squeeze(1)


def _weight(first: int, second: int, kernel: int) -> nn.Parameter:
    # channels_last: convolutions on channels_last activations take such weights without copying them.
    return nn.Parameter(torch.empty(first, second, kernel, kernel).to(memory_format=torch.channels_last))


def _initialise(network: nn.Module) -> None:
    """N(0, .02) for weights, N(1, .02) for the scale of batch norms (Radford et al. 2016)."""
    for name, parameter in network.named_parameters():
        if name.startswith("weights"):
            nn.init.normal_(parameter, 0.0, 0.02)
        elif name.endswith("weight"):
            nn.init.normal_(parameter, 1.0, 0.02)
        else:
            nn.init.zeros_(parameter)


def _image_convolution(images: Tensor, weight: Tensor) -> Tensor:
    """conv2d(images, weight, stride=2, padding=1) for 4×4 kernels, by folding 2×2 blocks into channels."""
    n, c, h, w = images.shape
    blocks = F.pad(images, (1, 1, 1, 1)).view(n, c, h // 2 + 1, 2, w // 2 + 1, 2)
    blocks = blocks.permute(0, 2, 4, 1, 3, 5).reshape(n, h // 2 + 1, w // 2 + 1, 4 * c).permute(0, 3, 1, 2)
    outputs = weight.shape[0]
    folded = weight.view(outputs, c, 2, 2, 2, 2).permute(0, 1, 3, 5, 2, 4).reshape(outputs, 4 * c, 2, 2)
    return F.conv2d(blocks, folded.contiguous(memory_format=torch.channels_last))


def _transposed_to_image(x: Tensor, weight: Tensor) -> Tensor:
    """conv_transpose2d(x, weight, stride=2, padding=1) for 4×4 kernels, one 2×2 convolution for all phases.

    Output pixel (2a − 1 + p, 2b − 1 + q), p, q ∈ {0, 1}, sums x over the 2×2 window that ends at (a, b):
    a convolution with padding 1 gives all four phases as channels of a (h + 1)×(w + 1) map; unfolded into
    a (2h + 2)×(2w + 2) image, the answer is all but its outermost pixels.
    """
    n, _, h, w = x.shape
    inputs, c = weight.shape[:2]
    # weight[..., 2·t + p, 2·u + q]: tap t of phase p; the window runs backwards, hence the flip.
    taps = weight.view(inputs, c, 2, 2, 2, 2).flip(2, 4).permute(1, 3, 5, 0, 2, 4).reshape(4 * c, inputs, 2, 2)
    phases = F.conv2d(x, taps.contiguous(memory_format=torch.channels_last), padding=1)
    image = phases.view(n, c, 2, 2, h + 1, w + 1).permute(0, 1, 4, 2, 5, 3).reshape(n, c, 2 * h + 2, 2 * w + 2)
    return image[:, :, 1:-1, 1:-1]


__all__ = ["Discriminator", "Generator", "Layer"]
