"""D on images that it was never trained on."""

import copy

import numpy as np
import torch

from gansweep import sample

COUNT = 1_536  # real images, and fresh samples; all real images, if there are fewer


def measured(trainer, images, labels):
    """Return D's AUC, mean σ for fresh samples, and mean σ of the difference, on images that it was not trained on.

    Computed on the CPU. D normalises by batch statistics, in batches of the training size.

    Args:
        images: (N, C, H, W) uint8.
        labels: (N,) their classes, which are also those of the samples of a conditional model.
    """
    size = trainer.config.batch_size
    chosen = np.random.default_rng(0).permutation(len(images))[: min(COUNT, len(images)) // size * size]
    asked = torch.from_numpy(labels[chosen]) if trainer.config.networks.classes else None
    rng = torch.Generator().manual_seed(77)
    z = torch.randn(len(chosen), trainer.config.latent_dim, generator=rng)
    generator, judge = (copy.deepcopy(network).cpu() for network in (trainer.generator, trainer.discriminator))
    real = outputs(judge, images[chosen], asked, size)
    fake = outputs(judge, sample(generator, z, asked), asked, size)
    difference = real[:, None] - fake[None]
    found = {
        "auc": float(((difference > 0) + 0.5 * (difference == 0)).mean()),
        "sigma": float(sigmoid(fake).mean()),
        "difference": float(sigmoid(difference).mean()),
    }
    return {name: float(f"{value:.4g}") for name, value in found.items()}


@torch.no_grad()
def outputs(discriminator, pixels, labels, size):
    """Return (N,) outputs of D, a whole number of batches."""
    asked = [None] * (len(pixels) // size) if labels is None else torch.split(labels, size)
    batches = zip(torch.split(torch.from_numpy(pixels), size), asked, strict=True)
    return np.concatenate([discriminator(x.float().div(127.5).sub(1), of).double().numpy() for x, of in batches])


def sigmoid(x):
    return 0.5 * (1 + np.tanh(x / 2))
