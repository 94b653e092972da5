"""Registry of architectures. Does not load torch.

To add an architecture, write a module of blocks like dcgan.py, or a class with the interface `Architecture`, and add it
to ARCHITECTURES here or from your own package. No other module refers to architectures by name.
"""

from __future__ import annotations

from gansweep.networks import dcgan, dcgan_mnist28, projected
from gansweep.networks.architecture import Architecture, Design, NetworkConfig
from gansweep.networks.chain import Chains

ARCHITECTURES: dict[str, Architecture] = {
    "dcgan": Chains(dcgan),
    "dcgan_mnist28": Chains(dcgan_mnist28),
    "projected": Chains(projected),
}
PLAIN = NetworkConfig()


def generator_design(
    latent_dim: int, feature_maps: int, image_size: int, channels: int, config: NetworkConfig = PLAIN
) -> Design:
    """Return the design of G. Raises KeyError for an unknown architecture or an unsupported image size."""
    return _architecture(config, image_size).generator(latent_dim, feature_maps, image_size, channels, config)


def discriminator_design(
    feature_maps: int, image_size: int, channels: int, config: NetworkConfig = PLAIN, *, grown: bool = True
) -> Design:
    """Return the design of D, or with `grown` False that of D before it grows. Raises as `generator_design`."""
    return _architecture(config, image_size).discriminator(feature_maps, image_size, channels, config, grown=grown)


def _architecture(config: NetworkConfig, image_size: int) -> Architecture:
    found = ARCHITECTURES[config.architecture]
    if image_size not in found.image_sizes:
        raise KeyError(image_size)
    return found
