"""Registry of architectures. Does not load torch.

To add an architecture, write a module of blocks like dcgan.py, or a class with the interface `Architecture`, and add it
to ARCHITECTURES here or from your own package. No other module refers to architectures by name.
"""

from __future__ import annotations

from gansweep.networks import dcgan, dcgan_mnist28, projected
from gansweep.networks.architecture import Architecture, Design, NetworkConfig
from gansweep.networks.chain import Chains
from gansweep.networks.own import Own, named_network
from gansweep.usercode.code import Code

ARCHITECTURES: dict[str, Architecture] = {
    "dcgan": Chains(dcgan),
    "dcgan_mnist28": Chains(dcgan_mnist28),
    "projected": Chains(projected),
}
PLAIN, NO_CODE = NetworkConfig(), Code()


def generator_design(
    latent_dim: int,
    feature_maps: int,
    image_size: int,
    channels: int,
    config: NetworkConfig = PLAIN,
    code: Code = NO_CODE,
) -> Design:
    """Return the design of G. Raises KeyError for an unknown architecture or an unsupported image size.

    Args:
        code: The user's code, for networks that are named by an import path.
    """
    return _architecture(config, image_size, code).generator(latent_dim, feature_maps, image_size, channels, config)


def discriminator_design(
    feature_maps: int,
    image_size: int,
    channels: int,
    config: NetworkConfig = PLAIN,
    code: Code = NO_CODE,
    *,
    grown: bool = True,
) -> Design:
    """Return the design of D after its growth, or with `grown` False before it.

    Raises:
        KeyError: As in `generator_design`.
    """
    return _architecture(config, image_size, code).discriminator(
        feature_maps, image_size, channels, config, grown=grown
    )


def architecture_of(config: NetworkConfig, code: Code = NO_CODE) -> Architecture:
    """Return the architecture of both networks. Raises KeyError if it is unknown."""
    own = [named_network(config, network) is not None for network in ("generator", "discriminator")]
    other = None if all(own) else ARCHITECTURES[config.architecture]
    return Own(other, code) if other is None or any(own) else other


def _architecture(config: NetworkConfig, image_size: int, code: Code) -> Architecture:
    found = architecture_of(config, code)
    if image_size not in found.image_sizes:
        raise KeyError(image_size)
    return found
